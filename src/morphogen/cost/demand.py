"""Whether a network fits in memory, before any of it is made."""

from __future__ import annotations

import math

import numpy as np
import torch

from morphogen.core import Architecture, memory
from morphogen.cost.count import Input, is_shape, of
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import NetworkSpec, build, has_supernet
from morphogen.supernets.nested import tensors_of

SMALLER = "batch_size, channels, depth or image_size"
"""What a user can make smaller."""

MAP_BYTES, WEIGHT_BYTES = 2400, 20_000
"""For each pixel, image, channel and cell, and for each pair of channels and cell: more than any
built-in supernet takes in training. Below that nothing is counted, since counting takes a moment.
"""

COPIES = 3
"""Of each weight in training: itself, its gradient, its momentum."""


def require(
    space: SearchSpace,
    spec: NetworkSpec,
    image: Input,
    *,
    batch: int,
    arch: Architecture | None = None,
    training: bool = True,
) -> None:
    """Refuse a network, or a supernet, that this machine's memory cannot hold.

    It is a lower bound: of a supernet all weights, and the feature maps of one architecture. A
    user's own module has its own size and is not judged.

    Args:
        space: of the networks.
        spec: their size.
        image: one input, see `cost.count.Input`.
        batch: inputs of a step.
        arch: the architecture; without one the supernet is meant, or of a space that has none any
            of its networks.
        training: whether gradients are kept.

    Raises:
        OutOfMemoryError: it needs more memory than there is.
    """
    free = memory.available()
    if free is None or isinstance(space, ModuleSpace):
        return
    cells = max(spec.depth, 4)
    places = math.prod(image[1:] if is_shape(image) else tensors_of(image)[0].shape[2:])
    rough = batch * places * spec.channels * cells * MAP_BYTES
    if rough + spec.channels**2 * cells * WEIGHT_BYTES < free:
        return
    one = of(space, arch or space.sample(np.random.default_rng(0)), spec, image)
    weights, whole = one.params, arch is None and has_supernet(space)
    if whole:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            weights = sum(p.numel() for p in build(space, spec).parameters())
    maps = one.activation_bytes if training else one.peak_bytes
    needed = 4 * weights * (COPIES if training else 1) + batch * maps
    what = f"{'the supernet' if whole else 'the network'} with {batch:,} inputs at a time"
    memory.require(needed, what, SMALLER)
