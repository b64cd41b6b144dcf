"""Loss and mIoU against torch and scikit-learn; void counts for nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch.nn import functional as F

import scenes
from morphogen.core.errors import SpaceError
from morphogen.tasks.batches import Batch
from morphogen.tasks.labelled.weighting import class_weights
from morphogen.tasks.metric import added
from morphogen.tasks.segmentation import VOID, SceneAugment, Scenes, SegmentationTask
from morphogen.tasks.segmentation.augment import crop

PAIRS = scenes.scenes(10)


def task(**options):
    return SegmentationTask.of(Scenes.of(*PAIRS, names=scenes.NAMES), **options)


def scores(y, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(len(y), classes, *y.shape[1:], generator=g)


def test_a_batch_is_images_targets_and_the_pixels_that_count():
    made = task()
    x, y, size = made.batch("pool", torch.arange(10))
    assert x.shape == (10, 3, 12, 16)
    assert torch.equal(y, torch.from_numpy(PAIRS[1]).long())
    assert size == made.units(y) == int((PAIRS[1] != 255).sum())
    alone = made.batch("train", torch.arange(5)).x
    assert alone.mean((0, 2, 3)).abs().max() < 1e-5  # statistics of the train part
    assert (alone.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_the_loss_is_a_mean_over_pixels_without_void():
    made = task(class_weights="balanced")
    y = torch.from_numpy(PAIRS[1]).long()
    y[3] = VOID
    output = scores(y)
    kept = y != VOID
    rows = output.permute(0, 2, 3, 1)[kept]
    assert made.loss(output, y) == pytest.approx(float(F.cross_entropy(rows, y[kept])))
    assert made.criterion(output, y) == pytest.approx(float(made.loss(output, y)))
    each = made.loss(output, y, each=True)
    first = F.cross_entropy(output[:1], y[:1], ignore_index=VOID)
    assert each[0] == pytest.approx(float(first))
    assert each[3] == 0
    counts = np.bincount(PAIRS[1][made.train_rows][PAIRS[1][made.train_rows] != 255], minlength=3)
    weights = torch.tensor(counts.sum() / (3 * counts)).float()
    weighted = F.cross_entropy(rows, y[kept], weights, reduction="sum") / kept.sum()
    assert made.loss(output, y, train=True) == pytest.approx(float(weighted))
    assert made.loss(output[3:4], y[3:4]) == 0  # nothing but void


def test_miou_is_that_of_scikit_learn_over_all_pixels_of_a_part():
    made = task()
    y = torch.from_numpy(PAIRS[1]).long()
    output = scores(y)
    total = {}
    for i in range(0, 10, 3):
        total = added(total, made.counts(output[i : i + 3], y[i : i + 3]))
    kept = (y != VOID).numpy()
    said, true = output.argmax(1).numpy()[kept], y.numpy()[kept]
    expected = 100 * jaccard_score(true, said, average="macro")
    assert made.value(total) == pytest.approx(expected)
    one_by_one = [made.value(made.counts(output[i : i + 1], y[i : i + 1])) for i in range(10)]
    assert made.value(total) != pytest.approx(np.mean(one_by_one), abs=0.01)


def test_a_class_that_is_nowhere_does_not_count_and_no_score_is_wrong():
    made = task()
    y = torch.tensor([[[0, 0, 1, VOID]]])
    output = F.one_hot(torch.tensor([[[0, 1, 1, 2]]]), 3).movedim(-1, 1).float()
    assert made.value(made.counts(output, y)) == pytest.approx(50)  # 1/2 and 1/2, class 2 is out
    output[0, :, 0, 2] = float("nan")
    assert made.value(made.counts(output, y)) == pytest.approx(25)
    assert made.value(made.counts(output, torch.full_like(y, VOID))) == 0
    wide = torch.cat([output, torch.full_like(output[:, :1], 9)], dim=1)  # a class too many
    assert made.value(made.counts(wide, y)) == 0


def test_logarithmic_weights_are_enets_scaled_to_a_mean_of_one():
    counts = torch.tensor([90, 10, 0])
    found = class_weights("logarithmic", counts, "abc")
    assert found[0] / found[1] == pytest.approx(np.log(1.12) / np.log(1.92))
    assert 0.9 * found[0] + 0.1 * found[1] == pytest.approx(1)
    assert found[2] == 1


def test_an_output_of_another_shape_is_refused():
    made = task()
    batch = made.batch("train", torch.arange(2))
    assert made.check_output(scores(batch.y), batch, whose="it") == ()
    for shape in ((2, 3), (2, 2, 12, 16), (2, 3, 6, 8)):
        with pytest.raises(SpaceError, match=r"it gives .* accepted: scores \[2, 3, 12, 16\]"):
            made.check_output(torch.zeros(shape), batch, whose="it")
    (note,) = made.check_output(torch.zeros(2, 4, 12, 16), batch, whose="it")
    assert "4 scores for 3 classes" in note


def test_other_contents_are_told_apart():
    before = task().contents()
    x, y = PAIRS
    moved = SegmentationTask.of(Scenes.of(x, np.roll(y, 1, axis=2), names=scenes.NAMES))
    assert moved.changed(before) == "other masks"
    small = Scenes.of(x[:, :6], y[:, :6], names=scenes.NAMES)
    assert "images" in SegmentationTask.of(small).changed(before)
    assert SegmentationTask.of(small).changed(before, resized=True) is None
    assert task(seed=1).changed(before) == "other rows in the search parts"


def test_image_and_mask_are_cut_and_mirrored_alike():
    """Of images that are their masks, 40 grey levels to an id: so they stay."""
    ids = torch.from_numpy(PAIRS[1] % 255)
    x = (40 * ids[:, None]).contiguous(memory_format=torch.channels_last)
    g = torch.Generator().manual_seed(0)
    a, b = SceneAugment().apply(x, ids, slice(None), 10, g)
    assert torch.equal(a[:, 0], 40 * b)
    mirrored = [torch.equal(one, two.flip(-1)) for one, two in zip(b, ids, strict=True)]
    assert 0 < sum(mirrored) < 10
    a, b = SceneAugment(crop=0.5).apply(x, ids, slice(None), 10, g)
    # Where a pixel's neighbours are of its class, so is the interpolated image.
    same = F.max_pool2d(b.float(), 3, 1, 1) == -F.max_pool2d(-b.float(), 3, 1, 1)
    same[:, [0, -1]] = same[:, :, [0, -1]] = False  # whose neighbours are out of the window
    assert same.float().mean() > 0.2
    assert torch.equal(a[:, 0][same], 40 * b[same])


def test_a_window_of_half_the_size_is_enlarged_twice():
    x = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    half, one, zero = torch.tensor([0.5]), torch.ones(1), torch.zeros(1)
    _, y = crop(x, x[:, 0], half, zero, one)  # above, on the right
    assert torch.equal(y[0], x[0, 0, :4, 4:].repeat_interleave(2, 0).repeat_interleave(2, 1))
    image, mask = crop(x, x[:, 0], one, half, half)
    assert torch.equal(image, x)
    assert torch.equal(mask, x[:, 0])


def test_the_size_of_a_batch_is_its_pixels():
    x, y, size = next(task().once("valid", 3))
    assert Batch(x, y, size).size == int((y != VOID).sum())
