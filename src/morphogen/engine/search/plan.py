"""Sizes of a search that fit the data and the time: what an engineer would choose before it.

A short look at the data and at the machine's speed; then everything is a number in config.yaml,
and the search that follows is as repeatable as any other. What the user has set is kept.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import median
from typing import Any

import numpy as np
import torch

from morphogen import cost
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.core import Architecture, ConfigError
from morphogen.core.config import altered
from morphogen.core.names import brief
from morphogen.engine.devices import one_device
from morphogen.engine.search.job import spec_of
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.short import ShortTraining
from morphogen.methods import MethodInfo
from morphogen.methods.successive_halving import (
    PERTURBED,
    SuccessiveHalving,
    SuccessiveHalvingConfig,
    computable,
)
from morphogen.proxies import batch_of, score_architecture
from morphogen.reports.text import count, duration
from morphogen.runs.provenance import on_threads
from morphogen.scoring.measures import zero_cost
from morphogen.spaces import ModuleSpace, SearchSpace, reference_of
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.configs import TaskConfig
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import USUAL_DATA, Data, task_for
from morphogen.tasks.problem import Devices, Problem

NAME = "successive-halving"
"""The method that is planned: that of a search which names none."""

TIMES = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

SHORTEST, LONGEST = 20.0, 30 * 24 * 3600.0
"""Seconds that can be asked for."""

WIDTHS = (64, 48, 32, 24, 16, 8)
"""Channels among which a network's are chosen, the widest first."""

EPOCHS, STEPS = 16, 2000
"""Of the reference, in all of the time: the largest network that has both is chosen."""

MOST_EPOCHS, MOST_STEPS = 150, 6000
"""Beyond the larger of the two a longer last training gains little; the time goes to the race."""

DEARER = 1.3
"""A candidate's cost in the reference's, on average: up to twice is allowed."""

VALID_SHARE, MOST_VALID = 0.25, 6000
"""Of the examples, for race and decision; no more are needed."""

BATCH = 64

MEASURED = 5
"""Steps by which the machine's speed is known."""

FEW, MANY = 12, 200
"""Passes over the data, in all of the time: from the first on there is time to search, from the
second on there is plenty."""

DECISION = 0.6
"""Of the time of race and decision, for the decision."""

SCREEN = 0.04
"""Of the time, for the screen."""

OVERHEAD = 0.06
"""Of the time: for starting, checkpoints, the last look at the test part."""


def usual_time(data: Data) -> str:
    """For which a search is planned that says no method and no time."""
    return "2m" if isinstance(data, str) and data == USUAL_DATA else "10m"


@dataclass(frozen=True)
class Planned:
    """What a search is made of."""

    settings: Settings
    config: SuccessiveHalvingConfig
    chosen: tuple[str, ...]
    """Names of the fields that were chosen."""
    said: tuple[str, ...]
    """A sentence for each choice."""


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


def seconds_of(text: str) -> float:
    """The seconds in `90s`, `30m`, `2h`, `1h30m`.

    Raises:
        ConfigError: it is no time, or too short or too long a one.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h)", text)
    whole = "".join(number + unit for number, unit in parts)
    total = sum(float(number) * TIMES[unit] for number, unit in parts)
    if whole != text.replace(" ", "") or not SHORTEST <= total <= LONGEST:
        raise ConfigError(
            f"time is {brief(text)}; accepted: {SHORTEST:g}s to {LONGEST / 86400:g} days, as 90s, "
            "30m, 2h or 1h30m"
        )
    return total


def planned(
    space: SearchSpace,
    data: Data,
    settings: Settings,
    config: SuccessiveHalvingConfig,
    seconds: float,
) -> Planned:
    """Sizes that fit.

    Args:
        space: what is searched, without its limits.
        data: on which.
        settings: as they were given.
        config: likewise.
        seconds: of wall clock, for all of it.

    Returns:
        Settings and configuration, of which only that is changed which is as the quick preset has
        it.
    """
    began = time.perf_counter()
    usual = quick_preset(NAME)
    plan = _Plan(settings, config, usual.settings, usual.options)
    hardware = settings.hardware
    devices = one_device(hardware.accelerator, hardware.precision)
    with on_threads(hardware.threads or torch.get_num_threads()), forked_rng(devices.device):
        task, sizes = _opened(plan, data)
        _parts(plan, task)
        speed = _Speed(space, task, plan.settings, devices)
        share = _network(plan, speed, task, sizes, seconds)
        step, proxy = speed.step(plan.settings) * share, speed.proxy(plan) * share
        perturbation = speed.perturbation(plan) * share
    left = seconds * (1 - OVERHEAD) - 2 * (time.perf_counter() - began)  # data are read again
    _lengths(plan, task, _Pace(step, proxy, perturbation), max(left, seconds / 2))
    return Planned(plan.settings, plan.config, tuple(sorted(plan.chosen)), tuple(plan.said))


class _Plan:
    """The settings so far; what the user has set is not changed."""

    def __init__(
        self,
        settings: Settings,
        config: SuccessiveHalvingConfig,
        usual: Settings,
        usual_config: SuccessiveHalvingConfig,
    ) -> None:
        self.settings, self.config = settings, config
        self._usual = usual, usual_config
        self.chosen: set[str] = set()
        self.said: list[str] = []

    def asked(self, name: str) -> bool:
        """Whether the user has set a field, `network.channels` or `seeds`."""
        held = (self.config, self._usual[1]) if _has(self.config, name) else None
        now, usual = held or (self.settings, self._usual[0])
        return bool(attrgetter(name)(now) != attrgetter(name)(usual))

    def take(self, name: str, value: Any) -> Any:
        """The user's value of a field, or else this one."""
        of_method = _has(self.config, name)
        if self.asked(name):
            return attrgetter(name)(self.config if of_method else self.settings)
        self.chosen.add(name)
        if of_method:
            self.config = altered(self.config, {name: value})
        else:
            self.settings = altered(self.settings, {name: value})
        return value

    def say(self, sentence: str) -> None:
        """Why."""
        self.said.append(sentence)


def _has(config: SuccessiveHalvingConfig, name: str) -> bool:
    return name.partition(".")[0] in type(config).__pydantic_fields__  # type: ignore[attr-defined]


Sizes = Sequence[tuple[Any, float]]
"""Configurations of the task, the finest inputs first, each with its share of their places."""


def _sized(held: TaskConfig) -> bool:
    """Whether somebody has asked for a size of the inputs."""
    return any(getattr(held, name) != getattr(type(held)(), name) for name in held.sizes)


def _opened(plan: _Plan, data: Data) -> tuple[Task, Sizes]:
    """The task, at the finest inputs that are worth while, and how it can be had coarser."""
    held = plan.settings.task
    cut = Cut(held_out=VALID_SHARE, seed=plan.settings.seed)
    if held is None or isinstance(data, Task):
        return task_for(data, held, cut), ((None, 1.0),)
    if _sized(held):
        return task_for(data, held, cut), ((held, 1.0),)
    return held.at_sizes(data, cut)


def _parts(plan: _Plan, task: Task) -> None:
    """How many examples train, how many judge."""
    total = task.length("pool")
    if plan.settings.task is not None and not task.own_valid:
        valid = plan.take("split.valid_images", max(2, min(round(VALID_SHARE * total), MOST_VALID)))
        plan.take("split.train_images", max(2, total - valid))
    train = plan.settings.split.train_images or task.length("train")
    valid = plan.settings.split.valid_images or task.length("valid")
    smaller = 1 << (max(2, min(train // 8, valid)).bit_length() - 1)
    plan.take("batch_size", min(BATCH, smaller))
    plan.say(
        f"{count(total)} training {task.unit}: {count(train)} train, {count(valid)} judge, a "
        "third in the race and the others in the decision; the last training has all"
    )


class _Speed:
    """How long a step of the reference takes here, by a short measurement."""

    def __init__(
        self, space: SearchSpace, task: Task, settings: Settings, devices: Devices
    ) -> None:
        found = reference_of(space)
        whole = space if found is None else found.space
        self.arch: Architecture = (
            whole.sample(np.random.default_rng(0)) if found is None else found.architecture
        )
        self.space, self.task, self.devices = whole, task, devices

    def cost(self, settings: Settings, flops_per_byte: float) -> float:
        """Of the reference at these sizes, as the method counts it."""
        spec = spec_of(settings, self.task)
        counted = cost.of(self.space, self.arch, spec, self.task.example())
        return counted.flops + flops_per_byte * counted.memory_access

    def step(self, settings: Settings) -> float:
        """Seconds of a training step, the median of a few."""
        problem = self._problem(settings)
        training = ShortTraining(
            problem,
            self.arch,
            steps=1 + MEASURED,
            batch_size=settings.batch_size,
            sgd=SuccessiveHalvingConfig().sgd,
        )
        taken = []
        for done in range(1 + MEASURED):
            start = time.perf_counter()
            training.advance(done + 1)
            taken.append(time.perf_counter() - start)
        return median(taken[1:])

    def proxy(self, plan: _Plan) -> float:
        """Seconds of an architecture in the screen; 0 where there can be none."""
        settings = plan.settings
        problem = self._problem(settings)
        wanted = [name.strip() for name in plan.config.proxies.split(",")]
        names = computable(wanted, problem)
        batch = batch_of(self.task, settings.batch_size, settings.seed, self.devices.device)
        taken = []
        for _ in range(2 if names else 0):
            start = time.perf_counter()
            score_architecture(
                names, self.space, self.arch, batch, problem.spec, loss=self.task.loss
            )
            taken.append(time.perf_counter() - start)
        return min(taken, default=0.0)

    def perturbation(self, plan: _Plan) -> float:
        """Seconds of a search of Zero-Cost-PT; 0 where there can be none."""
        problem = self._problem(plan.settings)
        if not SuccessiveHalving(plan.config).perturbs(problem):
            return 0.0
        net = problem.supernet().eval()
        alphas = start_alphas(self.space, problem.search_rng, self.devices.device)
        batch = batch_of(self.task, plan.settings.batch_size, 0, self.devices.device)
        measure = zero_cost(problem, net, PERTURBED, batch)
        start = time.perf_counter()
        measure(softmax_gates(self.space, alphas))
        each = time.perf_counter() - start
        return each * sum(len(choice.options) for choice in self.space.choices)

    def _problem(self, settings: Settings) -> Problem:
        return Problem(
            self.space,
            self.task,
            spec_of(settings, self.task),
            batch_size=settings.batch_size,
            seed=settings.seed,
            devices=self.devices,
        )


def _network(plan: _Plan, speed: _Speed, task: Task, sizes: Sizes, seconds: float) -> float:
    """The largest network, on the finest inputs, that has enough steps and epochs in the time.

    Returns:
        The share of their places that is left of the inputs of `task`.
    """
    steps = max(1, task.length("pool") // plan.settings.batch_size)  # of an epoch
    wanted = max(EPOCHS * steps, STEPS)
    own = isinstance(speed.space, ModuleSpace)
    fixed = own or plan.asked("network.channels")
    widths = [plan.settings.network.channels] if fixed else list(WIDTHS)
    at = {w: altered(plan.settings, {"network.channels": w}) for w in widths}
    middle = at.get(16, at[widths[-1]])
    flops_per_byte = plan.config.flops_per_byte
    unit = speed.step(middle) / speed.cost(middle, flops_per_byte)
    options = [
        (place, share, w, seconds / (unit * share * speed.cost(at[w], flops_per_byte)))
        for place, share in sizes
        for w in widths
    ]
    # What has too few steps is passed over; of what has enough the most costly is taken.
    enough = [option for option in options if option[3] >= wanted]
    chosen = min(enough, key=lambda o: o[3]) if enough else max(options, key=lambda o: o[3])
    held, share, width, _ = chosen
    before = plan.settings.task
    if held is not None:
        plan.settings = replace(plan.settings, task=held)
    plan.take("network.channels", width)
    for name in getattr(held, "sizes", ()):
        if held != before:
            plan.chosen.add(f"task.{name}")
        plan.say(f"{name.replace('_', ' ')} {getattr(held, name)}")
    if not own:
        plan.say(f"{width} channels: {_why_width(plan, fixed=fixed, enough=bool(enough))}")
    return share


def _why_width(plan: _Plan, *, fixed: bool, enough: bool) -> str:
    """Why a network is as wide as it is."""
    if fixed:
        return "as asked for"
    return (
        f"the largest network that sees the data {EPOCHS} times in the time, in {STEPS:,} steps "
        "or more"
        if enough
        else "the smallest, for the time is short for these data"
    )


def _last(plan: _Plan, steps: float, each: int) -> None:
    """The last training, of so many steps, in epochs."""
    plan.take("epochs", max(1, round(steps / each)))
    if steps < each:
        plan.take("steps_per_epoch", max(1, int(steps)))


@dataclass(frozen=True)
class _Pace:
    """Seconds of the parts of a search."""

    step: float
    """A training step of the reference."""
    proxy: float
    """An architecture in the screen; 0: there can be none."""
    perturbation: float
    """A search of Zero-Cost-PT; 0: there can be none."""


def _lengths(plan: _Plan, task: Task, pace: _Pace, left: float) -> None:
    """How the seconds that are left are shared out."""
    step = pace.step
    each = max(1, task.length("pool") // plan.settings.batch_size)
    total = left / step
    # With few passes over the data the last training needs nearly all; with many a part is enough.
    rich = min(1.0, math.log(max(total / each, 1) / FEW) / math.log(MANY / FEW))
    if plan.take("candidates", round(3 + 5 * rich) if rich > 0 else 0) == 0:
        plan.take("screened", 0)
        _last(plan, total, each)
        plan.say(
            f"a step of the reference takes {1000 * step:.3g} ms here, which is "
            f"{total / each:.2g} passes over the data in the time: too few to search with, so that "
            "the reference is trained for all of it; from about "
            f"{duration(FEW * each * step / (1 - OVERHEAD))} on there is a search"
        )
        return
    rich = max(rich, 0.0)
    plan.take("drawn", 1 if rich < 0.5 else 2)
    most = max(20, SCREEN * left / pace.proxy) if pace.proxy else 0
    screened = plan.take("screened", int(min(1000, most)))
    total -= screened * pace.proxy / step
    if pace.perturbation:
        searches = plan.take("perturbations", min(4, int(SCREEN * left / pace.perturbation)))
        total -= searches * pace.perturbation / step
    last = min((0.8 - 0.4 * rich) * total, max(MOST_EPOCHS * each, MOST_STEPS))
    c = plan.config
    rounds = SuccessiveHalving(c).sizes
    race = sum((size * DEARER + 1) * c.eta**number for number, size in enumerate(rounds))
    plan.take("steps", max(5, int((1 - DECISION) * (total - last) / race)))
    seeds = plan.take("seeds", 2 if rich < 0.3 else 3 if rich < 0.9 else 5)
    of_seed = 1 + DEARER * c.finalists
    plan.take("decision", max(5, int(DECISION * (total - last) / seeds / of_seed)))
    _last(plan, last, each)
    c, s = plan.config, plan.settings
    plan.say(
        f"a step of the reference takes {1000 * step:.3g} ms here: {c.screened} architectures are "
        f"screened, {c.candidates} and the reference race over {c.steps} steps and more, "
        f"{c.finalists} and the reference are decided between by {c.seeds} seeds of {c.decision} "
        f"steps, and the last training has {s.epochs} epoch{'s'[: s.epochs != 1]} "
        f"({duration(last * step)})"
    )
