"""Proxies of an architecture: of its stand-alone network, with weights drawn for the purpose."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn import functional as F

from morphogen.core import Architecture
from morphogen.core.rng import seed_for
from morphogen.proxies.passes import Loss
from morphogen.proxies.registry import score_many
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import device_of
from morphogen.tasks import Batch, Task


def fresh_network(
    space: SearchSpace, arch: Architecture, spec: NetworkSpec, seed: int
) -> nn.Module:
    """The stand-alone network of `arch`, untrained.

    Its weights are drawn from a stream of the seed and the architecture, by the layers' own rule:
    they do not depend on what was scored before. The network of a user's own module has that
    module's weights.
    """
    with forked_rng(seed=seed_for(seed, f"proxies/weights/{space.format(arch)}")):
        return network(space, arch, spec)


def batch_of(task: Task, size: int, seed: int, device: torch.device | str = "cpu") -> Batch:
    """The batch on which a seed's proxies look: of the train part, without augmentation.

    Raises:
        DataError: the train part has fewer examples.
    """
    generator = torch.Generator().manual_seed(seed_for(seed, "proxies/batch"))
    return task.stream("train", size, generator, augmented=False, device=device).next()


def score_architecture(
    names: Collection[str],
    space: SearchSpace,
    arch: Architecture,
    batch: Batch,
    spec: NetworkSpec,
    seed: int = 0,
    *,
    loss: Loss = F.cross_entropy,
) -> dict[str, float]:
    """Several proxies of one architecture, all at the same fresh weights; see `score_many`.

    Args:
        names: keys of `PROXIES`.
        space: of the architecture; it needs networks.
        arch: the architecture.
        batch: of the task, the same for all architectures that are to be compared.
        spec: size of the network.
        seed: of weights and of what proxies draw.
        loss: the task's.
    """
    x, y, _ = batch
    net = fresh_network(space, arch, spec, seed).to(device_of(x))
    draws = seed_for(seed, f"proxies/draws/{space.format(arch)}")
    generator = torch.Generator().manual_seed(draws)
    return score_many(names, net, x, y, generator=generator, loss=loss)
