"""The single-path space of SPOS: one of four ShuffleNetV2 blocks in each layer.

Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020,
arXiv 1904.00420; blocks and sizes as in the authors' code. The notation is theirs, one digit per
layer, input to output: `0`, `1`, `2` a shuffle block with a depthwise kernel of 3, 5, 7; `3` a
shuffle block of three separable convolutions ("Xception"). Their published network is
`21012020202300003233`.

A space carries the sizes of its networks, so that a space of other sizes is one line:
`ShuffleNet("mine", repeats=(2, 2, 2), widths=(24, 48, 96), strides=(1, 2, 2), stem=12, head=128)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.printed import digits_of
from morphogen.spaces.registry import register

OPERATIONS = ("shuffle_3x3", "shuffle_5x5", "shuffle_7x7", "xception_3x3")
"""In the authors' own order: the position is the digit of the notation."""

DEEPEST = 1000
"""Layers of a network at most."""

GROUP = "layers"
"""The group of the choices: one matrix of scores with a row per layer."""


def layer_name(layer: int) -> str:
    """Name of the choice of the `layer`-th layer, from 1 at the input."""
    return f"layer_{layer}"


@dataclass(frozen=True)
class Layer:
    """Sizes of one layer."""

    c_in: int
    """Channels of its input."""
    c_out: int
    """Channels of its output."""
    stride: int
    """2: the image is halved."""


class ShuffleNet(SearchSpace, Differentiable):
    """Stages of ShuffleNetV2 blocks, four kinds to choose from in each layer.

    By default the network of the paper for images of 224x224.

    Args:
        name: how the command line and the run directory call the space.
        repeats: layers of each stage.
        widths: channels of each stage; all numbers of channels are even, for a block of stride 1
            halves them.
        strides: of the first layer of each stage, 1 or 2; the other layers have 1.
        stem: channels after the first convolution.
        stem_stride: of the first convolution, 1 or 2.
        head: channels before the classifier.
        dropout: share of the features that the classifier does not see in training.
        relu6: the activation of stem and head is ReLU6, not ReLU.

    Raises:
        SpaceError: a size is impossible.
    """

    def __init__(
        self,
        name: str = "shufflenet",
        *,
        repeats: Sequence[int] = (4, 4, 8, 4),
        widths: Sequence[int] = (64, 160, 320, 640),
        strides: Sequence[int] = (2, 2, 2, 2),
        stem: int = 16,
        stem_stride: int = 2,
        head: int = 1024,
        dropout: float = 0.0,
        relu6: bool = False,
    ) -> None:
        self.repeats, self.widths, self.strides = tuple(repeats), tuple(widths), tuple(strides)
        self.stem, self.stem_stride, self.head = stem, stem_stride, head
        self.dropout, self.relu6 = dropout, relu6
        _check_sizes(name, self)
        layers = range(1, sum(self.repeats) + 1)
        super().__init__(name, [Choice(layer_name(i), OPERATIONS, GROUP) for i in layers])
        self.layers(stem)

    # -- sizes -------------------------------------------------------------------------------

    def layers(self, channels: int) -> tuple[Layer, ...]:
        """Sizes of the layers, input to output, where the stem has `channels` channels.

        Widths are in proportion, rounded to even numbers.

        Raises:
            SpaceError: `channels` is odd, or a layer would have fewer channels than it passes on.
        """
        if channels < 2 or channels % 2:
            raise SpaceError(
                f"channels is {channels}; accepted in space {self.name!r}: an even number from 2 "
                f"(as published: {self.stem})"
            )
        out: list[Layer] = []
        c_in = channels
        for repeats, width, first in zip(self.repeats, self.widths, self.strides, strict=True):
            c_out = self.scaled(width, channels)
            for i in range(repeats):
                layer = Layer(c_in, c_out, first if i == 0 else 1)
                passed = c_in if layer.stride == 2 else c_in // 2
                if c_out <= passed:
                    raise SpaceError(
                        f"space {self.name!r}: layer {len(out) + 1} has {c_out} channels and "
                        f"passes {passed} of its input on; accepted: more than {passed}"
                    )
                out.append(layer)
                c_in = c_out
        return tuple(out)

    def scaled(self, width: int, channels: int) -> int:
        """`width` in proportion where the stem has `channels` channels, an even number."""
        return (
            width if channels == self.stem else max(2, 2 * round(width * channels / self.stem / 2))
        )

    def arguments(self) -> dict[str, Any]:
        """The sizes."""
        names = ("stem", "stem_stride", "head", "dropout", "relu6")
        lists = {n: list(getattr(self, n)) for n in ("repeats", "widths", "strides")}
        return {**lists, **{n: getattr(self, n) for n in names}}

    def network_sizes(self) -> dict[str, Any]:
        """The channels of the stem, to which all widths are in proportion."""
        return {"channels": self.stem}

    # -- text --------------------------------------------------------------------------------

    def format(self, arch: Architecture) -> str:
        """The authors' notation: a digit per layer, e.g. `21012020202300003233`."""
        arch = self.check(arch)
        return "".join(str(OPERATIONS.index(arch.one(c.name))) for c in self.choices)

    def read(self, text: str) -> Architecture:
        """Read a digit of 0 to 3 per layer, or a list of them (the authors' `(2, 1, 0, ...)`).

        Raises:
            ArchitectureError: says what else was found.
        """
        digits = digits_of(text)
        if len(digits) != len(self.choices) or set(digits) - set("0123"):
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {len(self.choices)} digits, "
                "one per layer: " + ", ".join(f"{i} = {name}" for i, name in enumerate(OPERATIONS))
            )
        kept = {c.name: OPERATIONS[int(d)] for c, d in zip(self.choices, digits, strict=True)}
        return self.check(Architecture(kept))

    # -- identity ----------------------------------------------------------------------------

    def _sizes(self) -> tuple[object, ...]:
        return (
            *(self.repeats, self.widths, self.strides, self.stem, self.stem_stride, self.head),
            *(self.dropout, self.relu6),
        )

    def __eq__(self, other: object) -> bool:
        return (
            super().__eq__(other)
            and isinstance(other, ShuffleNet)
            and self._sizes() == other._sizes()
        )

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._sizes()))


def _check_sizes(name: str, space: ShuffleNet) -> None:
    lists = {"repeats": space.repeats, "widths": space.widths, "strides": space.strides}
    for field, values in lists.items():
        if not values or len(values) != len(space.widths):
            raise SpaceError(
                f"space {name!r}: {field} has {len(values)} numbers; accepted: one per stage, as "
                f"many as widths ({len(space.widths)}), and at least one"
            )
    if sum(n for n in space.repeats if n > 0) > DEEPEST:
        raise SpaceError(
            f"space {name!r}: repeats are {brief(space.repeats)}; accepted: at most {DEEPEST} "
            "layers in all"
        )
    even, one_or_two = "an even number from 2", "1 or 2"
    rules = [
        *(("repeats", n, n >= 1, "a whole number from 1") for n in space.repeats),
        *(("widths", n, n >= 2 and n % 2 == 0, even) for n in space.widths),
        *(("strides", n, n in (1, 2), one_or_two) for n in space.strides),
        ("stem", space.stem, space.stem >= 2 and space.stem % 2 == 0, even),
        ("stem_stride", space.stem_stride, space.stem_stride in (1, 2), one_or_two),
        ("head", space.head, space.head >= 2 and space.head % 2 == 0, even),
        ("dropout", space.dropout, 0 <= space.dropout < 1, "a number from 0 to below 1"),
    ]
    for field, value, fits, accepted in rules:
        if not fits:
            raise SpaceError(f"space {name!r}: {field} has {value}; accepted: {accepted}")


REASON = "ShuffleNetV2 itself, whose block is the first option of every layer"


@register(
    "shufflenet",
    supernet="morphogen.supernets.shufflenet",
    drawing="layers",
    network={"classes": 1000},
    reference="0" * 20,
    reference_name="ShuffleNetV2 blocks of kernel 3",
    reference_reason=REASON,
)
def imagenet() -> ShuffleNet:
    """The space of SPOS: four ShuffleNetV2 blocks in 20 layers, for 224x224."""
    return ShuffleNet(dropout=0.1)


@register(
    "shufflenet-cifar",
    like="shufflenet",
    network={"classes": 10},
    search={"task.image_size": 0, "split.train_images": 25000, "split.valid_images": 25000},
    reference="0" * 20,
    reference_name="ShuffleNetV2 blocks of kernel 3",
    reference_reason=REASON,
)
def cifar() -> ShuffleNet:
    """The same 20 layers for 32x32: halved at layers 5 and 9 only, ReLU6 in stem and head."""
    return ShuffleNet("shufflenet-cifar", strides=(1, 2, 2, 1), stem_stride=1, relu6=True)


@register(
    "shufflenet-small",
    like="shufflenet",
    network={"classes": 10},
    reference="0" * 10,
    reference_name="ShuffleNetV2 blocks of kernel 3",
    reference_reason=REASON,
)
def small() -> ShuffleNet:
    """Ten narrow layers for small images, the same four blocks."""
    return ShuffleNet(
        "shufflenet-small",
        repeats=(2, 2, 4, 2),
        widths=(16, 40, 80, 160),
        strides=(1, 2, 2, 1),
        stem=8,
        stem_stride=1,
        head=256,
        relu6=True,
    )
