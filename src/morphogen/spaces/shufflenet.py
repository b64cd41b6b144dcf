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

from morphogen.core import Choice, SpaceError
from morphogen.spaces.layered import (
    GROUP,
    SHARE,
    Layer,
    Rule,
    Staged,
    layer_name,
    require_sizes,
)
from morphogen.spaces.registry import register

OPERATIONS = ("shuffle_3x3", "shuffle_5x5", "shuffle_7x7", "xception_3x3")
"""In the authors' own order: the position is the digit of the notation."""


class ShuffleNet(Staged):
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

    operations = OPERATIONS
    numbers = ("stem", "stem_stride", "head", "dropout", "relu6")

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
        require_sizes(name, self, _rules(self))
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


def _rules(space: ShuffleNet) -> list[Rule]:
    even = "an even number from 2"
    return [
        *(("widths", n, n >= 2 and n % 2 == 0, even) for n in space.widths),
        ("stem", space.stem, space.stem >= 2 and space.stem % 2 == 0, even),
        ("head", space.head, space.head >= 2 and space.head % 2 == 0, even),
        ("dropout", space.dropout, 0 <= space.dropout < 1, SHARE),
    ]


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
