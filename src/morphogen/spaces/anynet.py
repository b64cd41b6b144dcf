"""AnyNet for small images: the sizes of a residual network, and the block that it is made of.

Radosavovic, Kosaraju, Girshick, He and Dollár, Designing Network Design Spaces, CVPR 2020, arXiv
2003.13678, section 3.2: a stem, a body of stages that halve the image, and a head; of each stage
the number of blocks and their width are free. Departures, for images of some ten pixels a side and
trainings of minutes: three stages instead of four, the first of which keeps the image's size;
widths as multiples of C, 2C and 4C instead of any number; the stem, how a stage halves the image,
the kind of block and squeeze and excitation (Hu et al., CVPR 2018, arXiv 1709.01507) are chosen,
too, each for the whole network.

The reference is ResNet-9, with which 94 % on CIFAR-10 were reached in the shortest time of the
benchmark DAWNBench (D. Page, How to Train Your ResNet, Myrtle 2018, part 4; maxima before the norm
as in part 8), but for its head, which has the mean here and not the maximum. `RESNET` is the ResNet
for small images (He et al., CVPR 2016, arXiv 1512.03385, section 4.2) of 6n + 2 layers with n = 1:
one basic block in each stage, of C, 2C and 4C channels.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from morphogen.core import Architecture, Choice
from morphogen.spaces.base import SearchSpace
from morphogen.spaces.registry import register

STAGES = (1, 2, 3)

STEMS = ("conv_3x3", "conv_3x3_stride_2", "patches_2x2", "conv_3x3_pool")
"""How the image comes to the first stage: at its own size, or at half of it; the last is two 3x3
convolutions, of half and of all of the width, before a maximum of 2x2."""

DOWNSAMPLES = ("stride", "pool")
"""How a stage halves its input: in its first block, or by a 3x3 convolution before a maximum of
2x2, which stands for that block."""

DEPTHS = ("1", "2", "3", "4")
"""Blocks of a stage, with what halves its input."""

WIDTHS = ("1/2", "3/4", "1", "3/2", "2")
"""Channels of a stage, in C times one, two and four."""

BLOCKS = ("basic", "bottleneck", "inverted")
"""Two 3x3 convolutions; one between two of 1x1, of half the width; one of every channel by itself
between two of 1x1, of three times the width."""

SQUEEZES = ("none", "1/4")
"""Squeeze and excitation, of so much of the width inside."""

RESNET = (
    "stem=conv_3x3;downsample=stride;depth_1=1;width_1=1;depth_2=1;width_2=1;depth_3=1;"
    "width_3=1;block=basic;squeeze=none"
)

RESNET_9 = (
    "stem=conv_3x3_pool;downsample=pool;depth_1=1;width_1=1;depth_2=1;width_2=1;depth_3=2;"
    "width_3=1;block=basic;squeeze=none"
)


@register(
    "anynet",
    supernet="morphogen.supernets.anynet",
    drawing="choices",
    network={"channels": 32},
    quick={"network.channels": 32},
    # Proxies count what a network has; of sizes, which cost as much as they have, they say little.
    quick_searches={"successive-halving": {"screened": 0}},
    reference=RESNET_9,
    reference_name="ResNet-9",
    reference_reason="of residual networks it took CIFAR-10 to 94 % soonest in DAWNBench",
)
class AnyNet(SearchSpace):
    """Sizes of residual networks: blocks and width of three stages, how they halve, stem, block."""

    spatial_dims: ClassVar[int | None] = 2

    def __init__(self, name: str = "anynet") -> None:
        sized = ((f"depth_{i}", DEPTHS, f"width_{i}", WIDTHS) for i in STAGES)
        super().__init__(
            name,
            [
                Choice("stem", STEMS),
                Choice("downsample", DOWNSAMPLES),
                *(Choice(c, o) for d, ds, w, ws in sized for c, o in ((d, ds), (w, ws))),
                Choice("block", BLOCKS),
                Choice("squeeze", SQUEEZES),
            ],
        )


def width(arch: Architecture, stage: int, channels: int) -> int:
    """Channels of a stage, even.

    Args:
        arch: of the space.
        stage: from 1.
        channels: C.
    """
    pairs: int = round(channels * 2 ** (stage - 1) * Fraction(arch.one(f"width_{stage}")) / 2)
    return max(2, 2 * pairs)
