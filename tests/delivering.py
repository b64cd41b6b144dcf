"""Toy method: it trains the first architecture that it draws, and delivers the network.

Paper: none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

import tiny
from morphogen.core.config import config
from morphogen.core.rng import seed_for
from morphogen.engine.search.search import search
from morphogen.methods import MethodInfo
from morphogen.supernets import network
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import trainable


@config
class PickConfig:
    """Of the toy method."""

    lr: float = 0.05
    """learning rate of its network"""


@dataclass
class PickState:
    """What it trains."""

    picked: str
    trained: nn.Module
    optimiser: torch.optim.Optimizer


class Pick:
    """Trains the first architecture that it draws."""

    def __init__(self, config: PickConfig) -> None:
        self.config = config

    def init(self, problem: Any) -> PickState:
        arch = problem.space.sample(problem.numpy_rng)
        with forked_rng(seed=seed_for(problem.seed, "weights")):
            net = network(problem.space, arch, problem.spec)
        optimiser = torch.optim.SGD(trainable(net).values(), self.config.lr)
        return PickState(problem.space.format(arch), net, optimiser)

    def step(self, state: PickState, problem: Any, clock: Any) -> dict[str, Any]:
        batch = problem.batch("train")
        state.trained.train()
        loss = problem.task.loss(state.trained(batch.x), batch.y, train=True)
        loss.backward()
        state.optimiser.step()
        state.optimiser.zero_grad(set_to_none=True)
        return {"train_loss": loss.detach()}

    def derive(self, state: PickState, space: Any) -> Any:
        return space.parse(state.picked)

    def network(self, state: PickState, space: Any) -> nn.Module:
        return state.trained


INFO = MethodInfo("pick", Pick, PickConfig, (), "Toy method", "", 1)


def task() -> ImageTask:
    """The toy images, with 60 of them as a test part."""
    return ImageTask.of(tiny.images(), test=tiny.images(60), train_images=100, valid_images=100)


def run(path: Any, **numbers: Any) -> Any:
    """A search by the toy method of a module of one's own."""
    given = {"space": tiny.own(), "task": task(), **numbers.pop("given", {})}
    held = replace(tiny.SETTINGS, task=None) if given["task"] else tiny.SETTINGS
    settings = tiny.changed(held, **numbers)
    return search(PickConfig(), settings=settings, run=path, **given)


def info(build: type = Pick, **other: Any) -> MethodInfo:
    """The toy method, made by another class."""
    return replace(INFO, build=build, **other)
