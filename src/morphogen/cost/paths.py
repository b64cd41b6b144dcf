"""What paths through a supernet cost, however the options depend on one another.

    paths = morphogen.cost.Paths(space, NetworkSpec(channels=16, depth=8))
    paths(Gates.of(space, arch)).macs

Unlike `of_options` it needs no sum over choices: what the live options cost together is counted, in
the conventions of `count`. It is a number, without gradient.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch

from morphogen.cost.count import Input, channels_of, watched
from morphogen.cost.sizes import published
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, build

NOMINAL_MACS = 1e10
"""Multiply-adds a second of the nominal processor, about one core's."""

NOMINAL_BYTES = 1e10
"""Bytes a second that it moves to and from memory."""


@dataclass(frozen=True)
class PathCost:
    """Counts of one pass of one input."""

    macs: int
    """Multiply-adds of convolutions and matrix products."""
    memory_access: int
    """Bytes that all kernels read and write, weights included."""

    @property
    def nominal(self) -> float:
        """Milliseconds on a nominal processor: its time to compute, and its time to move bytes."""
        return 1000 * (self.macs / NOMINAL_MACS + self.memory_access / NOMINAL_BYTES)


class Paths:
    """Counts of the paths of one supernet; what was counted is remembered.

    Args:
        space: a space with a supernet.
        spec: size of the supernet; its `in_channels` are taken from `image`. By default
            `published(space)`. A user's own module has its own size.
        image: one input, see `Input`.

    Raises:
        CapabilityError: the space has no supernet.
    """

    def __init__(
        self, space: SearchSpace, spec: NetworkSpec | None = None, image: Input = (3, 32, 32)
    ) -> None:
        spec = spec or published(space)
        channels = channels_of(image) or spec.in_channels
        spec = replace(spec, in_channels=channels, execution="plain")
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            self._net = build(space, spec)
        self._image = image
        self._found: dict[Hashable, PathCost] = {}

    def __call__(self, gates: Gates) -> PathCost:
        """The cost of what is live.

        Args:
            gates: which all examples share; only what is live is looked at.

        Raises:
            SpaceError: the supernet does not take such inputs.
        """
        key = tuple(gates.live.items())
        if key not in self._found:
            first = next(self._net.parameters(), torch.empty(0))
            weights = {
                group: torch.ones(matrix.shape, device=first.device, dtype=first.dtype)
                for group, matrix in gates.weights.items()
            }
            with watched(self._net, self._image) as (watch, x):
                self._net(x, Gates(weights, gates.live, unit=True))
            self._found[key] = PathCost(watch.flops // 2, watch.traffic)
        return self._found[key]
