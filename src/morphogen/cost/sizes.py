"""The sizes at which the networks of a space are published, where there is one usual size."""

from __future__ import annotations

from dataclasses import replace

from morphogen.spaces import SearchSpace, of_space
from morphogen.spaces.shufflenet import ShuffleNet
from morphogen.supernets import NetworkSpec

_SIZES = {
    "nasbench201": NetworkSpec(channels=16, depth=5),
    "darts": NetworkSpec(channels=36, depth=20),
    "nasbench-macro": NetworkSpec(channels=32),
    "nasbench1shot1": NetworkSpec(channels=128, depth=3),
    "shufflenet": NetworkSpec(classes=1000),
    "shufflenet-cifar": NetworkSpec(),
    "shufflenet-small": NetworkSpec(),
}
"""By space or family of spaces: as the tables were trained, and DARTS as retrained on CIFAR-10."""


def published(space: SearchSpace) -> NetworkSpec:
    """The size at which figures of `space` are published; the default size where none is usual.

    A user's own module has its own size and does not read it.
    """
    sizes = of_space(_SIZES, space) or NetworkSpec()
    if isinstance(space, ShuffleNet):  # the space says its own sizes
        return replace(sizes, channels=space.stem)
    return sizes
