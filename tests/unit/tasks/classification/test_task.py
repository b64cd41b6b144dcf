"""The split is fixed, disjoint and stratified, and the test part stays closed."""

import pickle
import re

import numpy as np
import pytest
import torch

from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks import Batch
from morphogen.tasks.classification import Augment, ImageConfig, Images, ImageTask
from morphogen.tasks.cut import Cut
from morphogen.tasks.labelled.names import numbered
from morphogen.tasks.labelled.split import apportion, chosen_rows, split
from morphogen.tasks.pictures.normalising import statistics


def images(counts=(30, 20, 10), size: int = 4, channels: int = 1) -> Images:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    generator = torch.Generator().manual_seed(3)
    shape = (len(labels), channels, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return Images(pixels, labels, numbered(len(counts)))


@pytest.fixture(scope="module")
def fashion() -> ImageTask:
    return ImageTask.of("fashion-mnist", size=16)


def test_default_split_is_half_and_half_stratified_and_disjoint(fashion):
    assert (len(fashion.train), len(fashion.valid)) == (3000, 3000)
    assert torch.bincount(fashion.train.labels).tolist() == [300] * 10
    assert torch.bincount(fashion.valid.labels).tolist() == [300] * 10
    rows = torch.cat([fashion.train_rows, fashion.valid_rows])
    assert torch.equal(rows.sort().values, torch.arange(6000))
    assert torch.equal(fashion.train.pixels, fashion.pool.pixels[fashion.train_rows])


def test_what_is_in_neither_search_part_is_searched_on_by_nothing():
    data = images(counts=(40, 30, 20))
    data.pixels[:, :, 0, 0] = torch.arange(90, dtype=torch.uint8)[:, None]  # each is another
    task = ImageTask.of(data, train_images=20, valid_images=10, seed=3)
    first, second = (set(getattr(task, p).pixels[:, 0, 0, 0].tolist()) for p in ("train", "valid"))
    assert (len(first), len(second), len(first & second)) == (20, 10, 0)
    assert set(task.pool.pixels[:, 0, 0, 0].tolist()) == first | second
    stream, seen = task.stream("pool", 10, torch.Generator(), augmented=False), set()
    for _ in range(task.steps("pool", 10)):
        pixels = stream.next().x[:, 0, 0, 0] * task.std[0] + task.mean[0]
        seen |= set((255 * pixels).round().long().tolist())
    assert seen == first | second
    assert task.with_all().length("pool") == 90  # for a training from scratch
    assert task.with_all().contents() == task.contents()


def test_split_of_the_embedded_images_never_changes(fashion):
    # Golden: the rows of seed 0 are part of every published number on these images.
    assert (int(fashion.train_rows.sum()), int(fashion.valid_rows.sum())) == (8967666, 9029334)
    assert fashion.train_rows[:6].tolist() == [1, 2, 3, 11, 13, 15]


def test_split_depends_on_the_seed_alone():
    data = images()
    one, two = split(data, 20, 20, 1), split(data, 20, 20, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], split(data, 20, 20, 2)[0])


@pytest.mark.parametrize(("train", "valid"), [(30, 30), (20, 10), (7, 13), (6, 54), (31, 29)])
def test_split_sizes_are_exact_and_proportions_kept(train, valid):
    data = images()
    one, two = split(data, train, valid, 0)
    assert (len(one), len(two)) == (train, valid)
    assert not set(one.tolist()) & set(two.tolist())
    share = torch.bincount(data.labels[one], minlength=3) / train
    assert (share - torch.tensor([0.5, 1 / 3, 1 / 6])).abs().max() <= 1 / train


def test_apportion_by_largest_remainders():
    # 7 seats for 30 : 20 : 10 are 3.5, 2.33, 1.17: the first has the largest remainder.
    assert apportion(7, np.array([30, 20, 10])).tolist() == [4, 2, 1]
    assert apportion(60, np.array([30, 20, 10])).tolist() == [30, 20, 10]
    assert apportion(1, np.array([5, 5])).tolist() == [1, 0]


def test_rows_to_judge_by_have_the_classes_proportions_everywhere():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    rows = chosen_rows(labels, 50, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 50
    assert np.bincount(labels[rows]).tolist() == [30, 15, 5]
    for stretch in rows.reshape(5, 10):
        assert np.abs(np.bincount(labels[stretch], minlength=3) - [6, 3, 1]).max() <= 1
    assert sorted(chosen_rows(labels, 0, np.random.default_rng(0))) == list(range(100))
    assert len(chosen_rows(labels, 1000, np.random.default_rng(0))) == 100


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (None, None, (30, 30)),
        (12, None, (12, 48)),
        (None, 0.1, (54, 6)),
        (0.5, 0.25, (30, 15)),
        (20, 20, (20, 20)),
    ],
)
def test_sizes_by_count_and_fraction(train, valid, expected):
    task = ImageTask.of(images(), train_images=train, valid_images=valid)
    assert (len(task.train), len(task.valid)) == expected


@pytest.mark.parametrize(
    ("train", "valid", "error", "says"),
    [
        (50, 20, DataError, "train_images is 50 and valid_images 20 of 60"),
        (60, None, DataError, "train_images is 60 and valid_images 0 of 60"),
        (2, 20, DataError, "class '2' has 10 images, of which 0 would come to the train part"),
        (0, 20, ConfigError, "train_images is 0; accepted: 1 or more"),
        (1.5, 20, ConfigError, "train_images is 1.5; accepted: a count, or a fraction"),
        (20, True, ConfigError, "valid_images is True"),
        ("x", 20, ConfigError, "train_images is 'x'"),
    ],
)
def test_impossible_splits_are_refused(train, valid, error, says):
    with pytest.raises(error, match=says):
        ImageTask.of(images(), train_images=train, valid_images=valid)


@pytest.mark.parametrize(
    ("asked", "at_most", "expected"),
    [
        ((3000, 1600), ("train_images", "valid_images"), (39, 21)),  # 60 as 3000 : 1600
        ((50, 1600), ("valid_images",), (50, 10)),
        ((3000, 20), ("train_images",), (40, 20)),
        ((30, 20), ("train_images", "valid_images"), (30, 20)),
    ],
)
def test_sizes_that_may_shrink_are_what_the_data_have(asked, at_most, expected):
    task = ImageTask.of(images(), train_images=asked[0], valid_images=asked[1], at_most=at_most)
    assert (len(task.train), len(task.valid)) == expected


@pytest.mark.parametrize(
    ("counts", "expected"), [((2, 2), (2, 2)), ((3, 3), (4, 2)), ((2, 2, 2, 2, 2), (5, 5))]
)
def test_the_tiniest_sets_shrink_so_that_every_class_is_in_both_parts(counts, expected):
    both = ("train_images", "valid_images")
    task = ImageTask.of(images(counts), train_images=3000, valid_images=1600, at_most=both)
    assert (len(task.train), len(task.valid)) == expected
    assert len(task.train.labels.unique()) == len(task.valid.labels.unique()) == len(counts)


@pytest.mark.parametrize("sizes", [(3000, 1600), (50, 40), (59, 1), (1, 1)])
def test_one_refusal_is_enough_to_get_sizes_that_work(sizes):
    with pytest.raises(DataError) as caught:
        ImageTask.of(images((30, 20, 2)), train_images=sizes[0], valid_images=sizes[1])
    train, valid = (int(n) for n in re.findall(r"\d+", str(caught.value).split("accepted")[1])[-2:])
    task = ImageTask.of(images((30, 20, 2)), train_images=train, valid_images=valid)
    assert len(task.valid.labels.unique()) == 3


def test_a_class_of_one_image_is_named():
    with pytest.raises(DataError, match=r"class '2' has 1 image, .*add images to it, or leave"):
        ImageTask.of(images((30, 20, 1)), train_images=30, valid_images=20)


def test_statistics_equal_numpy_and_are_of_the_train_part_alone():
    data = images(channels=3)
    task = ImageTask.of(data, train_images=20)
    x = task.train.pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(task.mean, x.mean((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(task.std, x.std((0, 2, 3)), atol=1e-12)
    assert task.mean != statistics(data.pixels)[0]


def test_given_statistics_are_used_and_checked():
    task = ImageTask.of(images(), mean=(0.5,), std=(0.25,))
    assert (task.mean, task.std) == ((0.5,), (0.25,))
    with pytest.raises(ConfigError, match=r"mean is .*; accepted: 1 finite numbers"):
        ImageTask.of(images(), mean=(0.5, 0.5), std=(0.2,))
    with pytest.raises(ConfigError, match=r"std is .*; accepted: a number above 0"):
        ImageTask.of(images(), mean=(0.5,), std=(0.0,))


def test_a_constant_channel_does_not_divide_by_zero():
    data = images()
    blank = Images(torch.zeros_like(data.pixels), data.labels, data.classes)
    task = ImageTask.of(blank)
    x, _, _ = task.stream("train", 4, torch.Generator().manual_seed(0)).next()
    assert torch.isfinite(x).all()


# --- the closed test part ------------------------------------------------------------------------


def test_the_test_part_is_read_only_when_opened_and_every_opening_is_on_record(monkeypatch):
    from morphogen.tasks.classification.images import Source

    read = []
    original = Source.read
    monkeypatch.setattr(
        Source,
        "read",
        lambda self, part, size=None: read.append(part) or original(self, part, size),
    )
    task = ImageTask.of("fashion-mnist", size=16)
    generator = torch.Generator().manual_seed(0)
    for part in ("train", "valid", "pool"):
        task.stream(part, 8, generator).next()
        next(task.once(part, 8))
    assert read == ["train"]
    assert task.test_openings == ()
    test = task.open_test("evaluation of run 1")
    assert read == ["train", "test"]
    assert test.images.pixels.shape == (1000, 1, 16, 16)
    assert task.test_openings == ("evaluation of run 1",)


@pytest.mark.parametrize("part", ["test", "training"])
def test_no_stream_reaches_the_test_part(fashion, part):
    with pytest.raises(ConfigError, match=f"part is '{part}'; accepted: train, valid or pool"):
        fashion.stream(part, 8, torch.Generator())
    with pytest.raises(ConfigError, match=f"part is '{part}'"):
        fashion.once(part, 8)


def test_a_sealed_task_refuses_to_open_the_test_part():
    task = ImageTask.of(images(), test=images())
    with task.sealed("the search"), pytest.raises(DataError, match="is closed during the search"):
        task.open_test("peeking")
    assert task.test_openings == ()
    assert len(task.open_test("evaluation")) == 60


def test_opening_needs_a_reason_and_a_test_part():
    with pytest.raises(ConfigError, match="reason is empty"):
        ImageTask.of(images(), test=images()).open_test(" ")
    task = ImageTask.of(images())
    assert not task.has_test
    with pytest.raises(DataError, match="has no test part"):
        task.open_test("evaluation")
    assert task.test_openings == ()


def test_test_images_of_another_shape_are_refused():
    task = ImageTask.of(images(), test=images(size=5))
    with pytest.raises(DataError, match=r"has images \[1, 5, 5\], the training data \[1, 4, 4\]"):
        task.open_test("evaluation")


# --- the rest ------------------------------------------------------------------------------------


def test_task_describes_its_data(fashion):
    assert (fashion.in_channels, fashion.image_size, len(fashion.classes)) == (1, 16, 10)
    assert fashion.name == "fashion-mnist"
    assert fashion.has_test


def test_loss_and_accuracy_equal_numpy():
    task = ImageTask.of(images(), label_smoothing=0.1)
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    y = torch.tensor([0, 2])
    logs = logits.numpy() - np.log(np.exp(logits.numpy()).sum(1, keepdims=True))
    expected = -logs[[0, 1], y]
    assert float(task.loss(logits, y)) == pytest.approx(expected.mean(), rel=1e-6)
    assert task.loss(logits, y, each=True).tolist() == pytest.approx(list(expected), rel=1e-6)
    target = np.full(logits.shape, 0.1 / logits.shape[1])
    target[np.arange(len(y)), y] += 0.9
    smoothed = -(target * logs).sum(1)
    assert float(task.loss(logits, y, train=True)) == pytest.approx(smoothed.mean(), rel=1e-6)
    each = task.loss(logits, y, train=True, each=True)
    assert each.tolist() == pytest.approx(list(smoothed), rel=1e-6)
    sums = task.measure(lambda x: x, [Batch(logits, y, 2), Batch(logits[:1] * torch.nan, y[:1], 1)])
    assert task.value(sums) == pytest.approx(100 / 3)  # what is not finite is wrong
    with pytest.raises(ConfigError, match="label_smoothing is 1"):
        ImageTask.of(images(), label_smoothing=1.0)


def test_batches_are_the_normalised_images_channels_last():
    task = ImageTask.of(images(channels=3))
    batches = list(task.once("train", 8))
    x = torch.cat([b.x for b in batches])
    data = task.train.pixels.double() / 255
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in (task.mean, task.std))
    torch.testing.assert_close(x.double(), (data - mean) / std, atol=2e-6, rtol=0)
    assert torch.equal(torch.cat([b.y for b in batches]), task.train.labels)
    assert batches[0].x.is_contiguous(memory_format=torch.channels_last)
    assert [b.size for b in batches] == [8, 8, 8, 6]


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("policy", ["none", "cifar10", "trivial"])
def test_processes_augment_as_one(world, policy):
    task = ImageTask.of(images(size=8), augment=Augment(cutout=4, policy=policy))

    def stream(**of):
        return task.stream("train", 8, torch.Generator().manual_seed(3), **of)

    joint, shards = stream(), [stream(rank=r, world=world) for r in range(world)]
    for _ in range(5):
        one, parts = joint.next(), [s.next() for s in shards]
        assert torch.equal(one.x, torch.cat([p.x for p in parts]))
        assert torch.equal(one.y, torch.cat([p.y for p in parts]))
        assert sum(p.size for p in parts) == one.size == 8


@pytest.mark.parametrize(("policy", "said"), [("cifar10", "AutoAugment"), ("trivial", "Trivial")])
def test_a_policy_changes_what_trains_and_nothing_that_is_measured(policy, said):
    plain, config = ImageTask.of(images()), ImageConfig(image_size=0, auto_augment=policy)
    task = config.make(images(), Cut())
    one, other = (
        of.stream("train", 8, torch.Generator().manual_seed(0)).next() for of in (plain, task)
    )
    assert not torch.equal(one.x, other.x)
    assert torch.equal(one.y, other.y)
    for a, b in zip(plain.once("valid", 16), task.once("valid", 16), strict=True):
        assert torch.equal(a.x, b.x)
    assert any(said in phrase for phrase in task.prepared())


def test_valid_batches_are_augmented_like_train_batches_unless_told_otherwise():
    task = ImageTask.of(images(), augment=Augment(padding=2))
    plain = task.stream("valid", 8, torch.Generator().manual_seed(0), augmented=False)
    other = task.stream("valid", 8, torch.Generator().manual_seed(0))
    (x, y, _), (augmented, z, _) = plain.next(), other.next()
    assert torch.equal(y, z)
    assert not torch.equal(x, augmented)


def test_a_task_can_be_sent_to_another_process():
    task = ImageTask.of("fashion-mnist", size=8)
    copy = pickle.loads(pickle.dumps(task))
    one, two = (t.stream("train", 8, torch.Generator().manual_seed(0)).next() for t in (task, copy))
    assert torch.equal(one[0], two[0])
    assert len(copy.open_test("evaluation")) == 1000
