"""Resizing is exact, and the embedded images are rows of the full Fashion-MNIST."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.tasks.classification import Images, load
from morphogen.tasks.classification.readers.embedded import FASHION_FILE
from morphogen.tasks.pictures.pixels import Changes, said, sizes
from morphogen.tasks.pictures.stacking import resize, stacked


def noise(n: int, c: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, c, h, w), generator=generator).to(torch.uint8)


def area_brute_force(image: np.ndarray, m: int) -> np.ndarray:
    """Area average of one [h, w] image in rational arithmetic, halves up."""
    h, w = image.shape
    out = np.zeros((m, m), dtype=np.uint8)
    for i in range(m):
        for j in range(m):
            total = Fraction(0)
            for a in range(h):
                high = min(Fraction((i + 1) * h, m), a + 1) - max(Fraction(i * h, m), a)
                for b in range(w):
                    wide = min(Fraction((j + 1) * w, m), b + 1) - max(Fraction(j * w, m), b)
                    if high > 0 and wide > 0:
                        total += high * wide * int(image[a, b])
            out[i, j] = (total / Fraction(h * w, m * m) + Fraction(1, 2)).__floor__()
    return out


def test_halving_is_the_exact_two_by_two_mean():
    x = noise(8, 3, 32, 32)
    for image, small in zip(x, resize(x, 16), strict=True):
        # Pillow's reduce is integer arithmetic too, and also rounds halves up.
        expected = Image.fromarray(image.permute(1, 2, 0).numpy()).reduce(2)
        assert np.array_equal(small.permute(1, 2, 0).numpy(), np.asarray(expected))


@pytest.mark.parametrize(("h", "w", "m"), [(14, 14, 8), (7, 11, 5), (12, 5, 5), (9, 9, 1)])
def test_shrinking_equals_rational_area_average(h, w, m):
    x = noise(1, 1, h, w)
    assert np.array_equal(resize(x, m)[0, 0].numpy(), area_brute_force(x[0, 0].numpy(), m))


@pytest.mark.parametrize(("n", "m"), [(8, 16), (5, 12), (28, 32)])
def test_growing_equals_linear_interpolation(n, m):
    x = noise(4, 3, n, n)
    expected = torch.nn.functional.interpolate(x.double(), size=(m, m), mode="bilinear")
    assert (resize(x, m).double() - expected).abs().max() <= 0.5 + 1e-9


def test_resize_is_channels_last_and_does_not_depend_on_the_chunk():
    x = noise(1500, 3, 6, 6)
    whole = resize(x, 4)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(whole[1400:], resize(x[1400:], 4))


def test_constant_images_keep_their_value():
    x = torch.full((1, 1, 13, 7), 255, dtype=torch.uint8)
    assert set(resize(x, 5).unique().tolist()) == {255}
    assert set(resize(x, 20).unique().tolist()) == {255}


def test_height_and_width_are_resized_each_to_its_own():
    x = noise(1, 1, 12, 10, seed=3)
    turned = resize(x.transpose(2, 3).contiguous(), (5, 4)).transpose(2, 3)
    assert torch.equal(resize(x, (4, 5)), turned)
    means = x.double().view(1, 1, 4, 3, 5, 2).mean((3, 5))
    assert torch.equal(resize(x, (4, 5)).double(), (means + 0.5).floor())


def test_take_copies_the_rows():
    images = Images(noise(10, 3, 4, 4), torch.arange(10) % 2, ("a", "b"))
    some = images.take(torch.tensor([7, 2]))
    assert torch.equal(some.pixels, images.pixels[[7, 2]])
    assert some.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("pixels", "labels", "says"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), "float32"),
        (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "2x2x2"),
        (noise(2, 1, 2, 2), torch.zeros(3, dtype=torch.int64), "for 2 images"),
        (noise(2, 1, 2, 2), torch.tensor([0, 2]), "from 0 to 2; accepted: 0 to 1"),
        (noise(2, 1, 2, 2), torch.tensor([-1, 0]), "from -1 to 0; accepted: 0 to 1"),
    ],
)
def test_malformed_images_are_refused(pixels, labels, says):
    with pytest.raises(DataError, match=says):
        Images(pixels, labels, ("a", "b"))


def test_stacked_resizes_images_of_different_sizes():
    mixed = [noise(1, 3, s, s, s)[0] for s in (8, 8, 6, 8)]
    arrays = ((f"i{i}", x.permute(1, 2, 0).numpy()) for i, x in enumerate(mixed))
    expected = torch.cat([resize(x[None], 4) for x in mixed])
    changes = Changes()
    assert torch.equal(stacked(arrays, 4, count=4, changes=changes), expected)
    assert sizes(changes) == "2 sizes between 6x6 and 8x8"
    assert said(changes, 4, "them") == ()  # no sentence for each of many sizes


def test_more_images_than_the_memory_holds_are_refused_after_the_first(monkeypatch):
    monkeypatch.setattr("morphogen.tasks.pictures.stacking.too_much", lambda need: f"{need} bytes")
    taken = []

    def decoded():
        for i in range(9):
            taken.append(i)
            yield f"i{i}", noise(1, 3, 6, 8)[0].permute(1, 2, 0).numpy()

    with pytest.raises(DataError, match=r"^9 images of 8x6 pixels and 3 channels take 2592 bytes"):
        stacked(decoded(), None, count=9)  # twice 9 x 8 x 6 x 3: whole, and in parts
    assert taken == [0]
    with pytest.raises(DataError, match=r"^9 images of 4x4 pixels and 3 channels take 864 bytes"):
        stacked(decoded(), 4, count=9)


def test_a_size_beyond_the_memory_is_refused_at_once():
    with pytest.raises(DataError, match=r"^2 images of 10000000x10000000 pixels .* TiB"):
        resize(noise(2, 1, 4, 4), 10**7)


@pytest.mark.parametrize(("count", "says"), [(2, "more than the 2"), (4, "first of 3 images")])
def test_a_count_that_lies_is_refused(count, says):
    arrays = ((f"i{i}", noise(1, 1, 4, 4)[0].permute(1, 2, 0).numpy()) for i in range(3))
    with pytest.raises(DataError, match=says):
        stacked(arrays, None, count=count)


# --- the embedded images -------------------------------------------------------------------------


def test_embedded_images_are_balanced_and_small():
    train, test = load("fashion-mnist", "train"), load("fashion-mnist", "test")
    assert train.pixels.shape == (6000, 1, 28, 28)
    assert test.pixels.shape == (1000, 1, 28, 28)
    assert torch.bincount(train.labels).tolist() == [600] * 10
    assert torch.bincount(test.labels).tolist() == [100] * 10
    assert train.classes[9] == "Ankle boot"
    assert FASHION_FILE.stat().st_size < 3.3e6


def test_licence_lies_beside_the_embedded_images():
    text = (FASHION_FILE.parent / "LICENSE-fashion-mnist").read_text(encoding="utf-8")
    assert "MIT License" in text
    assert "Zalando SE" in text


def test_embedded_images_are_the_rows_that_were_compared_with_the_full_set():
    # `python benchmarks/cut_embedded.py --data fashion-mnist:PATH --check` cuts the full set anew
    # and prints this digest; it did so from the authors' own four files (docs/public-data.md) and
    # from a parquet copy on 2026-11-28.
    total = hashlib.sha256()
    with np.load(FASHION_FILE, allow_pickle=False) as arrays:
        for part in ("train", "test"):
            assert len(np.unique(arrays[f"rows_{part}"])) == len(arrays[f"y_{part}"])
            for kind in ("rows", "x", "y"):
                total.update(arrays[f"{kind}_{part}"].tobytes())
    assert total.hexdigest() == "66dae713676f01b4d1ffa3b5124e2acb30b4b4a756088802f1cc4b2eca77d931"
