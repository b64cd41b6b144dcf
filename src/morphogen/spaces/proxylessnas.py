"""The mobile space of ProxylessNAS: one of six MBConv blocks in each layer, or no layer.

Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware",
ICLR 2019, arXiv 1812.00332; sizes as in the authors' code, those of the wide set as in UNAS
(Vahdat, Mallya, Liu and Kautz, CVPR 2020, arXiv 1912.07651). A block is MobileNetV2's inverted
residual of kernel 3, 5 or 7 and expansion 3 or 6. Where a layer keeps the shape of its input it may
also be left out (`identity`; "Zero" in the authors' code), so that depth is searched, too.

The notation is one digit per layer, input to output: `0` identity; `1`, `2` a block of kernel 3 and
expansion 3, 6; `3`, `4` of kernel 5; `5`, `6` of kernel 7. Lists of the authors' names
(`5x5_MBConv3`) are read, too, and the published networks `PROXYLESSNAS_GPU` and `UNAS_GPU`.

A space carries the sizes of its networks, so that a space of other sizes is one line:
`ProxylessNAS("mine", repeats=(2, 2), widths=(16, 24), strides=(1, 2), stem=8, first=8, head=64)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.printed import digits_of
from morphogen.spaces.registry import register

IDENTITY = "identity"
"""A layer that is left out."""

BLOCKS = {f"{k}x{k}_MBConv{e}": (k, e) for k in (3, 5, 7) for e in (3, 6)}
"""The authors' name of a block -> its kernel and expansion."""

OPERATIONS = (IDENTITY, *BLOCKS)
"""The position is the digit of the notation."""

PUBLISHED = {
    "PROXYLESSNAS_GPU": "3000 5001 6003 4013 6664 6",
    "UNAS_GPU": "3100 5000 5111 3111 6555 6",
}
"""Networks of the wide set: those that ProxylessNAS (authors' log: 465.3 M multiply-adds) and UNAS
found for ImageNet on a GPU, in stages."""

DEEPEST = 1000
"""Layers of a network at most."""


@dataclass(frozen=True)
class Layer:
    """Sizes of one layer."""

    c_in: int
    """Channels of its input."""
    c_out: int
    """Channels of its output."""
    stride: int
    """2: the image is halved."""

    @property
    def keeps_shape(self) -> bool:
        """Whether its output has the shape of its input, so that they are added."""
        return self.stride == 1 and self.c_in == self.c_out


def divisible(width: float, divisor: int) -> int:
    """The multiple of `divisor` next to `width`, and not below nine tenths of it (MobileNetV2)."""
    near = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * width else near + divisor


def layer_name(layer: int) -> str:
    """Name of the choice of the `layer`-th layer, from 1 at the input."""
    return f"layer_{layer}"


class ProxylessNAS(SearchSpace, Differentiable):
    """Stages of MBConv blocks, six kinds to choose from in each layer, or none.

    By default the network of the paper for images of 224x224, of MobileNetV2's widths.

    Args:
        name: how the command line and the run directory call the space.
        repeats: layers of each stage.
        widths: channels of each stage.
        strides: of the first layer of each stage, 1 or 2; the other layers have 1.
        stem: channels after the first convolution.
        stem_stride: of the first convolution, 1 or 2.
        first: channels after the block that stands before the layers, and is not searched.
        head: channels before the classifier.
        divisor: of which widths are multiples in networks of another number of channels.
        dropout: share of the features that the classifier does not see in training.
        identity_dropout: share of an identity's outputs that are dropped in training the supernet
            (UNAS: 0.1, lest the layers that need no training win).

    Raises:
        SpaceError: a size is impossible.
    """

    def __init__(
        self,
        name: str = "proxylessnas",
        *,
        repeats: Sequence[int] = (4, 4, 4, 4, 4, 1),
        widths: Sequence[int] = (24, 40, 80, 96, 192, 320),
        strides: Sequence[int] = (2, 2, 2, 1, 2, 1),
        stem: int = 32,
        stem_stride: int = 2,
        first: int = 16,
        head: int = 1280,
        divisor: int = 8,
        dropout: float = 0.0,
        identity_dropout: float = 0.0,
    ) -> None:
        self.repeats, self.widths, self.strides = tuple(repeats), tuple(widths), tuple(strides)
        self.stem, self.stem_stride, self.first, self.head = stem, stem_stride, first, head
        self.divisor, self.dropout, self.identity_dropout = divisor, dropout, identity_dropout
        _check_sizes(name, self)
        choices = [
            Choice(layer_name(i), OPERATIONS if layer.keeps_shape else tuple(BLOCKS), "layers")
            for i, layer in enumerate(self.layers(stem), start=1)
        ]
        super().__init__(name, choices)

    # -- sizes -------------------------------------------------------------------------------

    def layers(self, channels: int) -> tuple[Layer, ...]:
        """Sizes of the layers, input to output, where the stem has `channels` channels.

        Raises:
            SpaceError: there are no networks of so few channels.
        """
        if channels < 1:
            raise SpaceError(
                f"channels is {channels}; accepted in space {self.name!r}: 1 or more "
                f"(as published: {self.stem})"
            )
        out: list[Layer] = []
        c_in = self.scaled(self.first, channels)
        for repeats, width, stride in zip(self.repeats, self.widths, self.strides, strict=True):
            c_out = self.scaled(width, channels)
            for i in range(repeats):
                out.append(Layer(c_in, c_out, stride if i == 0 else 1))
                c_in = c_out
        return tuple(out)

    def scaled(self, width: int, channels: int) -> int:
        """`width` in proportion where the stem has `channels` channels, a multiple of `divisor`."""
        if channels == self.stem:
            return width
        return divisible(width * channels / self.stem, self.divisor)

    def arguments(self) -> dict[str, Any]:
        """The sizes."""
        lists = {n: list(getattr(self, n)) for n in _LISTS}
        return {**lists, **{n: getattr(self, n) for n in _NUMBERS}}

    def network_sizes(self) -> dict[str, Any]:
        """The channels of the stem, to which all widths are in proportion."""
        return {"channels": self.stem}

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Says so when all layers that may be left out are."""
        arch = self.check(arch)
        free = [c.name for c in self.choices if IDENTITY in c.options]
        if not free or any(arch[name] != (IDENTITY,) for name in free):
            return ()
        return (
            f"all {len(free)} layers that may be left out are: the shallowest network of the "
            "space, the mark of a search in which identities won",
        )

    # -- text --------------------------------------------------------------------------------

    def format(self, arch: Architecture) -> str:
        """A digit per layer, e.g. `300050016003401366646`."""
        arch = self.check(arch)
        return "".join(str(OPERATIONS.index(arch.one(c.name))) for c in self.choices)

    def read(self, text: str) -> Architecture:
        """Read a digit of 0 to 6 per layer, a list of digits or of names, or a published network.

        Raises:
            ArchitectureError: says what else was found.
        """
        digits = digits_of(PUBLISHED.get(text.strip(), text))
        digits = _digits_of_names(digits).replace(" ", "")
        if len(digits) != len(self.choices) or set(digits) - set("0123456"):
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {len(self.choices)} digits, "
                "one per layer: " + ", ".join(f"{i} = {name}" for i, name in enumerate(OPERATIONS))
            )
        kept = {c.name: OPERATIONS[int(d)] for c, d in zip(self.choices, digits, strict=True)}
        return self.check(Architecture(kept))

    # -- identity ----------------------------------------------------------------------------

    def _sizes(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in (*_LISTS, *_NUMBERS))

    def __eq__(self, other: object) -> bool:
        return (
            super().__eq__(other)
            and isinstance(other, ProxylessNAS)
            and self._sizes() == other._sizes()
        )

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._sizes()))


_LISTS = ("repeats", "widths", "strides")
_NUMBERS = ("stem", "stem_stride", "first", "head", "divisor", "dropout", "identity_dropout")


def _digits_of_names(text: str) -> str:
    """The digits of a list of names, `['3x3_MBConv6', 'Zero']`; any other text as it is."""
    names = re.findall(r"[\w]*[a-zA-Z][\w]*", text)
    known = {**{name: str(i) for i, name in enumerate(OPERATIONS)}, "Zero": "0"}
    if not names or not all(name in known for name in names):
        return text
    return "".join(known[name] for name in names)


def _check_sizes(name: str, space: ProxylessNAS) -> None:
    for field in _LISTS:
        values = getattr(space, field)
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
    whole, one_or_two, share = "a whole number from 1", "1 or 2", "a number from 0 to below 1"
    rules = [
        *(("repeats", n, n >= 1, whole) for n in space.repeats),
        *(("widths", n, n >= 1, whole) for n in space.widths),
        *(("strides", n, n in (1, 2), one_or_two) for n in space.strides),
        ("stem_stride", space.stem_stride, space.stem_stride in (1, 2), one_or_two),
        *((n, getattr(space, n), getattr(space, n) >= 1, whole) for n in _COUNTS),
        *((n, getattr(space, n), 0 <= getattr(space, n) < 1, share) for n in _SHARES),
    ]
    for field, value, fits, accepted in rules:
        if not fits:
            raise SpaceError(f"space {name!r}: {field} has {value}; accepted: {accepted}")


_COUNTS = ("stem", "first", "head", "divisor")
_SHARES = ("dropout", "identity_dropout")


REASON = "the block of MobileNetV2 in every layer, from which the space is made"


@register(
    "proxylessnas",
    supernet="morphogen.supernets.proxylessnas",
    drawing="layers",
    network={"classes": 1000},
    search={
        "network.channels": 32,
        "task.image_size": 224,
        "split.train_images": 1231167,
        "split.valid_images": 50000,
    },
    reference="2" * 21,
    reference_name="MobileNetV2 blocks of kernel 3 and expansion 6",
    reference_reason=REASON,
)
def imagenet() -> ProxylessNAS:
    """The space of ProxylessNAS: six MBConv blocks or none in 21 layers, for 224x224."""
    return ProxylessNAS()


@register(
    "proxylessnas-gpu",
    like="proxylessnas",
    search={"network.channels": 40},
    reference="PROXYLESSNAS_GPU",
    reference_name="ProxylessNAS (GPU)",
    reference_reason="the network that ProxylessNAS published for GPUs, whose widths these are",
)
def wide() -> ProxylessNAS:
    """The same 21 layers with the widths of the network for GPUs, as UNAS searches them."""
    return ProxylessNAS(
        "proxylessnas-gpu",
        widths=(32, 56, 112, 128, 256, 432),
        stem=40,
        first=24,
        head=1728,
        divisor=1,
        identity_dropout=0.1,
    )


@register(
    "proxylessnas-small",
    family="proxylessnas",
    supernet="morphogen.supernets.proxylessnas",
    drawing="layers",
    network={"classes": 10},
    reference="2" * 11,
    reference_name="MobileNetV2 blocks of kernel 3 and expansion 6",
    reference_reason=REASON,
)
def small() -> ProxylessNAS:
    """Eleven narrow layers for small images, the same blocks."""
    return ProxylessNAS(
        "proxylessnas-small",
        repeats=(2, 2, 2, 2, 2, 1),
        widths=(8, 16, 24, 24, 48, 80),
        strides=(1, 2, 2, 1, 2, 1),
        stem=8,
        stem_stride=1,
        first=8,
        head=128,
    )
