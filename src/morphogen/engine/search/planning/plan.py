"""Sizes of a search that fit the data and the time: what an engineer would choose before it.

A short look at the data and at the machine's speed; then everything is a number in config.yaml,
and the search that follows is as repeatable as any other. What the user has set is kept.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import torch

from morphogen.core import ConfigError
from morphogen.core.names import brief
from morphogen.engine.devices import one_device
from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.lengths import choose_lengths
from morphogen.engine.search.planning.network import choose_network
from morphogen.engine.search.planning.recipe import choose_recipe
from morphogen.engine.search.planning.speed import Speed
from morphogen.engine.search.planning.tasks import SizedTasks, choose_parts
from morphogen.engine.search.planning.times import seconds_of
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.settings import Settings
from morphogen.methods import MethodInfo
from morphogen.methods.successive_halving import SuccessiveHalvingConfig
from morphogen.runs.provenance import on_threads
from morphogen.spaces import (
    SearchSpace,
    make,
    reference_of,
)
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks.kinds import USUAL_DATA, Data, planned_space_for, space_for

NAME = "successive-halving"
"""The method that is planned: that of a search which names none."""

LOOK, LONGEST_LOOK = 0.015, 10.0
"""Of the time, and seconds at most, to see how long a step of the chosen sizes takes."""

OVERHEAD = 0.06
"""Of the time: for starting, checkpoints, the last look at the test part."""


def usual_time(data: Data) -> str:
    """For which a search is planned that says no method and no time."""
    return "2m" if isinstance(data, str) and data == USUAL_DATA else "10m"


def usual_space(info: MethodInfo, data: Data) -> str:
    """The name of the space in which a method searches data if none is named.

    A search that is planned has one of its own for images, and races against the space's
    reference: where that is of another space (a Transformer, of DARTSformer's), that is searched.
    """
    if info.name != NAME:
        return space_for(data)
    name = planned_space_for(data)
    found = reference_of(make(name))
    return found.space.name if found else name


@dataclass(frozen=True)
class Planned:
    """What a search is made of."""

    settings: Settings
    config: SuccessiveHalvingConfig
    chosen: tuple[str, ...]
    """Names of the fields that were chosen."""
    said: tuple[str, ...]
    """A sentence for each choice."""
    kept: tuple[str, ...]
    """Names of those that were not to be chosen in any case."""


def require_time(info: MethodInfo, text: str | None) -> float:
    """The seconds for which a search is planned; 0 where no time is given.

    Raises:
        ConfigError: it is no time, or the method is none that is planned.
    """
    if not text:
        return 0.0
    if info.name != NAME:
        raise ConfigError(
            f"time is {brief(text)}, and method {info.name!r} has its length by epochs or "
            f"evaluations; accepted: no method, or {NAME}"
        )
    return seconds_of(text)


def planned(
    space: SearchSpace,
    data: Data,
    settings: Settings,
    config: SuccessiveHalvingConfig,
    seconds: float,
    keep: Collection[str] = (),
) -> Planned:
    """Sizes that fit.

    Args:
        space: what is searched, without its limits.
        data: on which.
        settings: as they were given.
        config: likewise.
        seconds: of wall clock, for all of it.
        keep: names of fields that are not changed in any case.

    Returns:
        Settings and configuration, of which only that is changed which is as the quick preset has
        it.

    Raises:
        ConfigError: `keep` names no such field.
    """
    began = time.perf_counter()
    usual = quick_preset(NAME, space, settings.task)
    plan = Choices(settings, config, usual.settings, usual.options, keep)
    hardware = settings.hardware
    device = one_device(hardware.accelerator, hardware.precision).device
    with on_threads(hardware.threads or torch.get_num_threads()), forked_rng(device):
        tasks = SizedTasks(plan, data)
        choose_parts(plan, tasks.finest)
        speed = choose_network(plan, space, tasks, seconds)

        def left() -> float:
            """Seconds; the data are read again by the search."""
            spent = time.perf_counter() - began + tasks.seconds
            return max(seconds * (1 - OVERHEAD) - spent, seconds / 2)

        look = min(LOOK * seconds, LONGEST_LOOK)
        step = speed.pace(plan.settings, look)
        if choose_recipe(plan, speed, left() / step):  # which makes a step's batch dearer
            speed = Speed(space, tasks.at(plan.settings.task), plan.config.weights)
            step = speed.pace(plan.settings, look)
        choose_lengths(plan, speed, step, left)
    chosen, said, kept = sorted(plan.chosen), plan.said, sorted(set(keep))
    return Planned(plan.settings, plan.config, tuple(chosen), tuple(said), tuple(kept))
