"""Weights of classes: scikit-learn's formula, torch's loss, and the places where they count."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

import tiny
from morphogen.bilevel.optimisers import SGD
from morphogen.core.errors import ConfigError
from morphogen.engine.search.job import task_of
from morphogen.evaluators.short import ShortTraining
from morphogen.spaces import make
from morphogen.supernets import Gates, NetworkSpec
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.labelled.weighting import class_weights
from morphogen.tasks.problem import Problem

LABELS = torch.tensor([0] * 30 + [1] * 6 + [3] * 24)
COUNTS = LABELS.bincount(minlength=4)
CLASSES = ("ant", "bee", "cow", "dog")


def images():
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 1, 8, 8), generator=g).to(torch.uint8)
    return Images(pixels, LABELS, CLASSES)


def test_balanced_is_that_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS.numpy())
    found = class_weights("balanced", COUNTS, CLASSES)
    assert found[[0, 1, 3]].tolist() == pytest.approx(expected.tolist())
    assert found[[0, 1, 3]].tolist() == pytest.approx([60 / 90, 60 / 18, 60 / 72])  # by hand
    assert found[2] == 1
    assert found[LABELS].mean() == pytest.approx(1)


@pytest.mark.parametrize("asked", [{"bee": 2, "dog": 0.5}, "bee=2, dog=0.5", " dog = 5e-1,bee=2 "])
def test_numbers_by_class(asked):
    assert class_weights(asked, COUNTS, CLASSES).tolist() == [1, 2, 1, 0.5]


def test_names_with_the_signs_of_the_notation():
    assert class_weights("a=b=2", torch.ones(2), ("a=b", "c")).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("even", "class_weights is 'even'; accepted: none, balanced, logarithmic, or numbers"),
        ("bee=x", "class_weights is 'bee=x'"),
        ("bee=1,bee=2", "each class once"),
        ("=2", "accepted: none, balanced"),
        ("", "accepted: none, balanced"),
        ("emu=2", "names the class 'emu'; accepted: ant, bee, cow, dog"),
        ("bee=0", "class_weights of 'bee' is 0.0; accepted: a number above 0"),
        ("bee=nan", "class_weights of 'bee' is nan"),
        ({"bee": -1}, "class_weights of 'bee' is -1"),
        ({"bee": True}, "class_weights of 'bee' is True"),
        ({"bee": "2"}, "class_weights of 'bee' is '2'"),
        ("bee=1e9", "class_weights of 'bee' is 1000000000.0; accepted: .*, up to 1e"),
    ],
)
def test_other_weights_are_refused(asked, says):
    with pytest.raises(ConfigError, match=says):
        ImageTask.of(images(), class_weights=asked)


def test_the_loss_is_torchs_but_for_what_it_is_divided_by():
    task = ImageTask.of(images(), class_weights="bee=3")
    g = torch.Generator().manual_seed(1)
    logits, y = torch.randn(8, 4, generator=g), torch.tensor([0, 1, 1, 3, 0, 0, 3, 1])
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0])
    total = F.cross_entropy(logits, y, weight=weights, reduction="sum")
    assert task.loss(logits, y, train=True).item() == pytest.approx(float(total) / 8, rel=1e-6)
    smooth = [
        F.cross_entropy(logits[i : i + 1], y[i : i + 1], label_smoothing=0.2) for i in range(8)
    ]
    expected = sum(float(w * loss) for w, loss in zip(weights[y], smooth, strict=True)) / 8
    smoothing = ImageTask.of(images(), class_weights="bee=3", label_smoothing=0.2)
    assert smoothing.loss(logits, y, train=True).item() == pytest.approx(expected, rel=1e-6)
    assert task.loss(logits, y).item() == pytest.approx(float(F.cross_entropy(logits, y)))
    halves = [task.loss(logits[part], y[part], train=True) for part in (slice(4), slice(4, 8))]
    assert float(sum(halves)) / 2 == pytest.approx(float(total) / 8, rel=1e-6)


def test_without_weights_the_loss_is_the_same_to_the_bit():
    task = ImageTask.of(images())
    logits, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), LABELS[:8]
    assert torch.equal(task.loss(logits, y, train=True), F.cross_entropy(logits, y))


def test_weights_are_of_the_images_that_are_trained_on():
    task = ImageTask.of(images(), train_images=40, valid_images=20, class_weights="balanced")
    expected = class_weights("balanced", task.train.labels.bincount(minlength=4), CLASSES)
    logits = torch.zeros(1, 4)
    one = float(task.loss(logits, torch.tensor([1]), train=True))
    assert one == pytest.approx(float(expected[1]) * np.log(4))
    task.train_on_all()
    one = float(task.loss(logits, torch.tensor([1]), train=True))
    assert one == pytest.approx(60 / 18 * np.log(4))


def problem(weights):
    sizes = {"train_images": 40, "valid_images": 20, "batch_size": 8}
    settings = tiny.changed(tiny.SETTINGS, **sizes, class_weights=weights)
    spec = NetworkSpec(channels=2, depth=1, classes=4, in_channels=1)
    space = make("nasbench201")
    return Problem(space, task_of(images(), settings), spec, batch_size=8)


def test_weights_count_where_weights_are_trained_and_not_in_scores():
    one, plain = problem("bee=5"), problem("none")
    arch = one.space.sample(np.random.default_rng(0))
    net, gates, batch = one.supernet(), Gates.of(one.space, arch), one.batch("train")
    x, y, _ = batch
    assert (y == 1).any()
    with torch.no_grad():
        each = F.cross_entropy(net(x, gates), y, reduction="none")
        weighed = each * (1 + 4 * (y == 1))
        assert float(one.loss(net, gates, batch)) == pytest.approx(float(weighed.mean()), rel=1e-5)
        assert float(plain.loss(net, gates, batch)) == pytest.approx(float(each.mean()), rel=1e-5)
    trainings = [
        ShortTraining(p, arch, epochs=1, batch_size=8, descent=SGD()) for p in (one, plain)
    ]
    for training in trainings:
        training.advance(2)
    first, second = (t.net.classifier.weight for t in trainings)
    assert not torch.equal(first, second)
