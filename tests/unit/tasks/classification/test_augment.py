"""Batched augmentation equals the plain thing done to one image after the other."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from morphogen.core.errors import ConfigError
from morphogen.tasks.classification import Augment
from morphogen.tasks.classification.augment import crop, cutout, draw_crop, draw_cutout, draw_flip
from morphogen.tasks.pictures.normalising import flip, normalisation, normalise

SHAPES = [(1, 16), (3, 16), (1, 28), (3, 32), (2, 9)]


def batch(c: int, size: int, b: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(c * size)
    x = torch.randint(0, 256, (b, c, size, size), generator=generator).to(torch.uint8)
    return x.contiguous(memory_format=torch.channels_last)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def pil(image: torch.Tensor) -> Image.Image:
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


@pytest.mark.parametrize(("c", "size"), [s for s in SHAPES if s[0] != 2])
def test_crop_and_flip_equal_pillow_image_by_image(c, size):
    x, padding = batch(c, size), size // 8
    top, left = draw_crop(len(x), padding, generator())
    flipped = draw_flip(len(x), generator())
    result = flip(crop(x, top, left, padding), flipped)
    assert result.is_contiguous(memory_format=torch.channels_last)
    for i, image in enumerate(x):
        t, s = int(top[i]), int(left[i])
        expected = ImageOps.expand(pil(image), padding).crop((s, t, s + size, t + size))
        if flipped[i]:
            expected = ImageOps.mirror(expected)
        assert np.array_equal(np.asarray(pil(result[i])), np.asarray(expected))


@pytest.mark.parametrize(("c", "size"), SHAPES)
def test_crop_equals_numpy_at_every_offset(c, size):
    padding = 2
    x = batch(c, size, 25)
    top = torch.arange(25) // 5
    left = torch.arange(25) % 5
    result = crop(x, top, left, padding).numpy()
    wide = np.pad(x.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for i in range(25):
        t, s = i // 5, i % 5
        assert np.array_equal(result[i], wide[i, :, t : t + size, s : s + size])


def test_crop_takes_contiguous_and_float_images():
    x = batch(3, 16).contiguous()
    top, left = draw_crop(len(x), 2, generator())
    assert torch.equal(crop(x.float(), top, left, 2), crop(x, top, left, 2).float())


@pytest.mark.parametrize(("c", "size"), SHAPES)
def test_normalise_equals_the_formula(c, size):
    x = batch(c, size)
    mean, std = [0.4, 0.5, 0.6][:c], [0.2, 0.25, 0.3][:c]
    result = normalise(x, *normalisation(mean, std))
    m, s = (torch.tensor(v).double().view(1, c, 1, 1) for v in (mean, std))
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), (x.double() / 255 - m) / s, atol=2e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 8, 7])
def test_cutout_equals_the_authors_loop(length):
    x = batch(3, 16).float() + 1
    row, column = draw_cutout(len(x), 16, generator())
    expected = x.clone()
    for i in range(len(x)):  # as in Cutout and DARTS: clipped at the border
        y1, y2 = np.clip([int(row[i]) - length // 2, int(row[i]) + length // 2], 0, 16)
        x1, x2 = np.clip([int(column[i]) - length // 2, int(column[i]) + length // 2], 0, 16)
        expected[i, :, y1:y2, x1:x2] = 0
    assert torch.equal(cutout(x, row, column, length), expected)


def test_draws_cover_their_range_uniformly():
    top, left = draw_crop(20_000, 2, generator())
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=5)
        assert len(counts) == 5
        assert (counts - 4000).abs().max() < 4 * 4000**0.5
    assert abs(int(draw_flip(20_000, generator()).sum()) - 10_000) < 4 * 5000**0.5
    row, column = draw_cutout(20_000, 16, generator())
    assert (int(row.min()), int(row.max()), int(column.max())) == (0, 15, 15)


@pytest.mark.parametrize(("size", "padding"), [(32, 4), (16, 2), (28, 3), (64, 8)])
def test_default_padding_scales_with_the_image(size, padding):
    assert Augment().padding_at(size) == padding


def test_flip_off_never_mirrors_and_draws_nothing():
    draws = Augment(flip=False, padding=0).draw(8, 16, generator())
    assert draws.flipped is None
    assert draws.top is None


@pytest.mark.parametrize("field", ["padding", "cutout"])
def test_negative_lengths_are_refused(field):
    with pytest.raises(ConfigError, match=rf"augment\.{field} is -1; accepted: "):
        Augment(**{field: -1})
