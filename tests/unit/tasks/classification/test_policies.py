"""Operations of augmentation policies are Pillow's; their draws are those of the papers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from morphogen.tasks.classification import load, policies
from morphogen.tasks.classification.operations import OPERATIONS
from morphogen.tasks.classification.policies import NAMES, draw

BESIDE = (120, 7, 250)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Shipped pictures as red, green and blue, one a gradient, one of one colour."""
    pixels = load("fashion-mnist").pixels[:48, 0]
    found = torch.stack([pixels[:16], pixels[16:32], pixels[32:48]], dim=1)
    found[0] = torch.arange(28 * 28).view(28, 28).clamp(max=255)
    found[1] = torch.tensor(BESIDE)[:, None, None]
    return found.contiguous(memory_format=torch.channels_last)


def affine(*matrix: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=BESIDE
    )


def theirs(name: str, strength: float, side: int) -> Callable[[Image.Image], Image.Image]:
    """What Pillow does."""
    pixels = int(strength * side)
    operations: dict[str, Callable[[Image.Image], Image.Image]] = {
        "identity": lambda image: image,
        "shear_x": affine(1, strength, 0, 0, 1, 0),
        "shear_y": affine(1, 0, 0, strength, 1, 0),
        "translate_x": affine(1, 0, pixels, 0, 1, 0),
        "translate_y": affine(1, 0, 0, 0, 1, pixels),
        "rotate": lambda image: image.rotate(strength, fillcolor=BESIDE),
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(strength),
        "color": lambda image: ImageEnhance.Color(image).enhance(strength),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(strength),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(strength),
        "posterize": lambda image: ImageOps.posterize(image, int(strength)),
        "solarize": lambda image: ImageOps.solarize(image, int(strength)),
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "invert": ImageOps.invert,
    }
    return operations[name]


STRENGTHS = {
    **dict.fromkeys(("shear_x", "shear_y"), (0.0, 0.24, -0.3, 0.99)),
    **dict.fromkeys(("translate_x", "translate_y"), (0.0, 9 / 32, -0.25, 1.0)),
    "rotate": (0.0, 6.0, -27.0, 90.0, 135.0),
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), (0.01, 0.46, 1.0, 1.72)),
    "posterize": (8.0, 5.0, 2.0),
    "solarize": (256.0, 128.0, 0.0),
}
GEOMETRIC = ("shear_x", "shear_y", "rotate")


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name: str, images: Tensor) -> None:
    """On real images; where a pixel lies just between two, either may be taken."""
    for strength in STRENGTHS.get(name, (0.0,)):
        of_each = torch.full((len(images),), strength)
        ours = OPERATIONS[name](images, of_each, torch.tensor(BESIDE, dtype=torch.uint8))
        assert ours.dtype == torch.uint8
        does = theirs(name, strength, 28)
        wanted = np.stack(
            [np.asarray(does(Image.fromarray(i.permute(1, 2, 0).numpy()))) for i in images]
        )
        same = (ours.permute(0, 2, 3, 1).numpy() == wanted).all(axis=3)
        assert same.mean() >= (0.995 if name in GEOMETRIC else 1.0), strength


def test_grey_images_have_them_too() -> None:
    """Each that is not of colours, as Pillow does it."""
    grey = load("fashion-mnist").pixels[:8]
    for name in ("brightness", "contrast", "sharpness", "equalize", "auto_contrast"):
        ours = OPERATIONS[name](grey, torch.full((8,), 1.6), torch.zeros(1, dtype=torch.uint8))
        does = theirs(name, 1.6, 28)
        wanted = [np.asarray(does(Image.fromarray(i[0].numpy()))) for i in grey]
        np.testing.assert_array_equal(ours[:, 0].numpy(), np.stack(wanted))
    same = OPERATIONS["color"](grey, torch.full((8,), 0.1), torch.zeros(1, dtype=torch.uint8))
    assert torch.equal(same, grey)


def test_each_image_has_its_own_operations_one_after_the_other(images: Tensor) -> None:
    beside = torch.tensor(BESIDE, dtype=torch.uint8)
    drawn = draw("cifar10", len(images), torch.Generator().manual_seed(1))
    ours = policies.apply(images, drawn, beside)
    for i, image in enumerate(images):
        one = image[None]
        for place, strength in zip(drawn.operations[i], drawn.strengths[i], strict=True):
            one = OPERATIONS[NAMES[int(place)]](one, strength[None], beside)
        assert torch.equal(ours[i], one[0])
    assert any(not torch.equal(a, b) for a, b in zip(ours, images, strict=True))
    halves = (slice(0, 8), slice(8, 16))
    two = [policies.apply(images[half], drawn.part(half), beside) for half in halves]
    assert torch.equal(torch.cat(two), ours)


def test_autoaugment_draws_what_its_table_says() -> None:
    """Frequencies within four deviations; strengths by hand, of images of 32 pixels."""
    n = 50_000
    drawn = draw("cifar10", n, torch.Generator().manual_seed(0))
    found = Counter(NAMES[int(place)] for place in drawn.operations.flatten())
    # By hand from table 7 of the paper: sums of probabilities, in tenths, over the 25 pairs.
    tenths = {
        "invert": 2, "contrast": 8, "rotate": 7, "translate_x": 8, "sharpness": 28, "shear_y": 7,
        "translate_y": 34, "auto_contrast": 50, "equalize": 47, "posterize": 3, "color": 29,
        "brightness": 23, "solarize": 19,
    }  # fmt: skip
    for name, sum_of_tenths in tenths.items():
        expected = n * sum_of_tenths / 250
        assert abs(found[name] - expected) < 4 * expected**0.5 + 1, name
    assert "shear_x" not in found
    strengths = {
        name: drawn.strengths[drawn.operations == NAMES.index(name)].unique() for name in found
    }
    by_hand = {
        "rotate": [-6, 6],
        "translate_x": [-9 / 32, -8 / 32, 8 / 32, 9 / 32],
        "shear_y": [-0.24, -0.21, 0.21, 0.24],
        "posterize": [5],
        "solarize": [51.2, 128, 179.2, 204.8],
        "contrast": [1.18, 1.36],
        "brightness": [0.64, 1.18, 1.36, 1.72],
    }
    for name, wanted in by_hand.items():
        torch.testing.assert_close(strengths[name], torch.tensor(wanted, dtype=torch.float32))
    signs = drawn.strengths[drawn.operations == NAMES.index("rotate")] > 0
    assert abs(float(signs.float().mean()) - 0.5) < 4 * 0.5 / len(signs) ** 0.5


def test_trivialaugment_draws_all_alike() -> None:
    n = 42_000
    drawn = draw("trivial", n, torch.Generator().manual_seed(0))
    assert drawn.operations.shape == (n, 1)
    found = Counter(NAMES[int(place)] for place in drawn.operations.flatten())
    assert len(found) == 14
    assert "invert" not in found
    assert all(abs(times - 3000) < 4 * 3000**0.5 for times in found.values())
    of = {name: drawn.strengths[drawn.operations == NAMES.index(name)] for name in found}
    assert (of["rotate"].min(), of["rotate"].max()) == (-135, 135)
    assert of["rotate"].unique().numel() == 61
    assert of["posterize"].unique().tolist() == [2, 3, 4, 5, 6, 7, 8]
    bounds = [float(of["color"].min()), float(of["color"].max())]
    assert bounds == pytest.approx([0.01, 1.99])
    assert float(of["translate_y"].abs().max()) == 1
