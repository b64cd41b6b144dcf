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

from morphogen.core import Architecture, Choice, SpaceError
from morphogen.spaces.layered import (
    GROUP,
    SHARE,
    WHOLE,
    Layer,
    Rule,
    Staged,
    layer_name,
    require_sizes,
)
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

_COUNTS = ("stem", "first", "head", "divisor")
_SHARES = ("dropout", "identity_dropout")


def divisible(width: float, divisor: int) -> int:
    """The multiple of `divisor` next to `width`, and not below nine tenths of it (MobileNetV2)."""
    near = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return near if near >= 0.9 * width else near + divisor


class ProxylessNAS(Staged):
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

    operations = OPERATIONS
    numbers = ("stem", "stem_stride", "first", "head", "divisor", "dropout", "identity_dropout")

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
        require_sizes(name, self, _rules(self))
        choices = [
            Choice(layer_name(i), OPERATIONS if layer.keeps_shape else tuple(BLOCKS), GROUP)
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

    def digits(self, text: str) -> str:
        """Also of a list of the authors' names, or of a published network."""
        digits = digits_of(PUBLISHED.get(text.strip(), text))
        return _digits_of_names(digits).replace(" ", "")


def _digits_of_names(text: str) -> str:
    """The digits of a list of names, `['3x3_MBConv6', 'Zero']`; any other text as it is."""
    names = re.findall(r"[\w]*[a-zA-Z][\w]*", text)
    known = {**{name: str(i) for i, name in enumerate(OPERATIONS)}, "Zero": "0"}
    if not names or not all(name in known for name in names):
        return text
    return "".join(known[name] for name in names)


def _rules(space: ProxylessNAS) -> list[Rule]:
    counts = [("widths", n) for n in space.widths] + [(n, getattr(space, n)) for n in _COUNTS]
    return [
        *((name, n, n >= 1, WHOLE) for name, n in counts),
        *((n, getattr(space, n), 0 <= getattr(space, n) < 1, SHARE) for n in _SHARES),
    ]


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
