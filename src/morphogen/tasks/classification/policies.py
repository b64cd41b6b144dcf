"""Augmentation policies: which operations training images undergo, drawn for each image.

AutoAugment (Cubuk, Zoph, Mane, Vasudevan, Le, CVPR 2019, arXiv 1805.09501): one of 25 pairs of
operations, found for CIFAR-10, each with a probability and a strength. TrivialAugment (Mueller,
Hutter, ICCV 2021, arXiv 2103.10158, its wide space): one operation, any strength, nothing tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from morphogen.tasks.classification.operations import OPERATIONS

Policy = Literal["none", "cifar10", "trivial"]

NAMES = tuple(OPERATIONS)

SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
"""To either side with equal probability."""

PAIRS = (
    ("invert 0.1 0", "contrast 0.2 6"),
    ("rotate 0.7 2", "translate_x 0.3 9"),
    ("sharpness 0.8 1", "sharpness 0.9 3"),
    ("shear_y 0.5 8", "translate_y 0.7 9"),
    ("auto_contrast 0.5 0", "equalize 0.9 0"),
    ("shear_y 0.2 7", "posterize 0.3 7"),
    ("color 0.4 3", "brightness 0.6 7"),
    ("sharpness 0.3 9", "brightness 0.7 9"),
    ("equalize 0.6 0", "equalize 0.5 0"),
    ("contrast 0.6 7", "sharpness 0.6 5"),
    ("color 0.7 7", "translate_x 0.5 8"),
    ("equalize 0.3 0", "auto_contrast 0.4 0"),
    ("translate_y 0.4 3", "sharpness 0.2 6"),
    ("brightness 0.9 6", "color 0.2 8"),
    ("solarize 0.5 2", "invert 0.0 0"),
    ("equalize 0.2 0", "auto_contrast 0.6 0"),
    ("equalize 0.2 0", "equalize 0.6 0"),
    ("color 0.9 9", "equalize 0.6 0"),
    ("auto_contrast 0.8 0", "solarize 0.2 8"),
    ("brightness 0.1 3", "color 0.7 0"),
    ("solarize 0.4 5", "auto_contrast 0.9 0"),
    ("translate_y 0.9 9", "translate_y 0.7 9"),
    ("auto_contrast 0.9 0", "solarize 0.8 3"),
    ("equalize 0.8 0", "invert 0.1 0"),
    ("translate_y 0.7 9", "auto_contrast 0.9 0"),
)
"""AutoAugment's table 7: operation, probability, and strength from 0 to 10."""

STRENGTHS: Mapping[str, tuple[float, float]] = {
    "shear_x": (0, 0.3),
    "shear_y": (0, 0.3),
    "translate_x": (0, 10 / 32),
    "translate_y": (0, 10 / 32),
    "rotate": (0, 30),
    "brightness": (0.1, 1.9),
    "color": (0.1, 1.9),
    "contrast": (0.1, 1.9),
    "sharpness": (0.1, 1.9),
    "posterize": (8, 4),
    "solarize": (256, 0),
}
"""AutoAugment's strengths 0 and 10, the others between; shifts in shares of the image, 10 pixels of
32 as in the authors' code for CIFAR. Bits that are kept are the paper's 8 to 4 (that code: 4 to
0)."""

WIDE: Mapping[str, tuple[float, float]] = {
    "shear_x": (0, 0.99),
    "shear_y": (0, 0.99),
    "translate_x": (0, 1),
    "translate_y": (0, 1),
    "rotate": (0, 135),
    "brightness": (0, 0.99),
    "color": (0, 0.99),
    "contrast": (0, 0.99),
    "sharpness": (0, 0.99),
    "posterize": (8, 2),
    "solarize": (256, 0),
    "identity": (0, 0),
    "auto_contrast": (0, 0),
    "equalize": (0, 0),
}
"""TrivialAugment's weakest and strongest; of brightness and the like 1 is added to either sign of
it. Shifts of 32 pixels are the whole image at CIFAR's size, and so at any."""

AROUND_ONE = ("brightness", "color", "contrast", "sharpness")
STEPS = 30
"""Between TrivialAugment's weakest and strongest."""


@dataclass(frozen=True)
class Drawn:
    """Operations for the images of a batch, one after the other."""

    operations: Tensor
    """int64 `[b, rounds]`, places in `NAMES`; on the CPU."""
    strengths: Tensor
    """float32 `[b, rounds]`."""

    def part(self, which: slice) -> Drawn:
        """Of some images."""
        return Drawn(self.operations[which], self.strengths[which])


def draw(policy: Policy, batch: int, generator: torch.Generator) -> Drawn:
    """Operations for `batch` images.

    Args:
        policy: not "none".
        batch: number of images.
        generator: on the CPU.
    """
    if policy == "cifar10":
        pairs = _pairs()
        pair = torch.randint(0, len(PAIRS), (batch,), generator=generator)
        applied = torch.rand(batch, 2, generator=generator) < pairs.probabilities[pair]
        sign = _sign((batch, 2), generator)
        chosen = pairs.operations[pair].where(applied, NAMES.index("identity"))
        strength = pairs.strengths[pair]
        return Drawn(chosen, torch.where(pairs.signed[pair], sign * strength, strength))
    wide = _wide()
    which = torch.randint(0, len(WIDE), (batch, 1), generator=generator)
    operation = wide.operations[which]
    share = torch.randint(0, STEPS + 1, (batch, 1), generator=generator) / STEPS
    strength = wide.weakest[which] + share * (wide.strongest - wide.weakest)[which]
    strength = torch.where(operation == NAMES.index("posterize"), strength.round(), strength)
    sign = _sign((batch, 1), generator)
    strength = torch.where(wide.signed[which], sign * strength, strength)
    return Drawn(operation, strength + wide.added[which])


def _sign(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


@dataclass(frozen=True)
class _Pairs:
    """AutoAugment's policy: tensors `[25, 2]`."""

    operations: Tensor
    """Places in `NAMES`."""
    probabilities: Tensor
    strengths: Tensor
    signed: Tensor
    """Whether a strength is to either side."""


@cache
def _pairs() -> _Pairs:
    entries = [entry.split() for pair in PAIRS for entry in pair]
    reached = []
    for name, _, level in entries:
        low, high = STRENGTHS.get(name, (0.0, 0.0))
        strength = low + int(level) / 10 * (high - low)
        reached.append(float(round(strength)) if name == "posterize" else strength)
    return _Pairs(
        operations=torch.tensor([NAMES.index(name) for name, _, _ in entries]).view(-1, 2),
        probabilities=torch.tensor([float(share) for _, share, _ in entries]).view(-1, 2),
        strengths=torch.tensor(reached).view(-1, 2),
        signed=torch.tensor([name in SIGNED for name, _, _ in entries]).view(-1, 2),
    )


@dataclass(frozen=True)
class _Wide:
    """TrivialAugment's wide space: tensors with a number for each operation."""

    operations: Tensor
    """Places in `NAMES`."""
    weakest: Tensor
    strongest: Tensor
    signed: Tensor
    """Whether a strength is to either side."""
    added: Tensor
    """To the strength with its sign."""


@cache
def _wide() -> _Wide:
    return _Wide(
        operations=torch.tensor([NAMES.index(name) for name in WIDE]),
        weakest=torch.tensor([float(weakest) for weakest, _ in WIDE.values()]),
        strongest=torch.tensor([float(strongest) for _, strongest in WIDE.values()]),
        signed=torch.tensor([name in SIGNED or name in AROUND_ONE for name in WIDE]),
        added=torch.tensor([float(name in AROUND_ONE) for name in WIDE]),
    )


def apply(x: Tensor, drawn: Drawn, beside: Tensor) -> Tensor:
    """The images after their operations.

    Args:
        x: uint8 `[b, c, h, w]`.
        drawn: for these images.
        beside: uint8 `[c]`, the colour that geometric operations show beside the image.
    """
    out = x.clone()
    for operations, strengths in zip(drawn.operations.T, drawn.strengths.T, strict=True):
        for place in operations.unique().tolist():
            if NAMES[place] == "identity":
                continue
            rows = (operations == place).nonzero().flatten()
            there, strength = rows.to(x.device), strengths[rows].to(x.device)
            out[there] = OPERATIONS[NAMES[place]](out[there], strength, beside)
    return out
