"""Sizes of a search that fit the data and the time: what an engineer would choose before it.

A short look at the data and at the machine's speed; then everything is a number in config.yaml,
and the search that follows is as repeatable as any other. What the user has set is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch

from morphogen.core import ConfigError
from morphogen.core.config import altered
from morphogen.core.names import brief
from morphogen.core.text import count, duration
from morphogen.engine.devices import one_device
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.speed import Speed
from morphogen.engine.search.times import seconds_of
from morphogen.engine.train.training import decay_of_few_data
from morphogen.methods import MethodInfo
from morphogen.methods.successive_halving import SuccessiveHalving, SuccessiveHalvingConfig
from morphogen.runs.provenance import on_threads
from morphogen.spaces import (
    ModuleSpace,
    SearchSpace,
    about,
    make,
    reference_of,
    reference_within,
)
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.configs import TaskConfig
from morphogen.tasks.cut import Cut
from morphogen.tasks.kinds import USUAL_DATA, Data, space_for, task_for

NAME = "successive-halving"
"""The method that is planned: that of a search which names none."""

WIDTHS = (8, 16, 24, 32, 48, 64)
"""Channels among which a network's are chosen, the narrowest first."""

EPOCHS, STEPS = 16, 4000
"""Of the reference, in all of the time: the widest network that has both is chosen."""

MOST_EPOCHS, MOST_STEPS = 600, 6000
"""Beyond the larger of the two a longer last training gains little; the time goes to the search."""

DEARER = 1.3
"""A candidate's cost in the reference's, on average: up to twice is allowed."""

VALID_SHARE, MOST_VALID = 0.25, 6000
"""Of the examples, for race and decision; no more are needed."""

BATCH = 64

QUICKER = 0.85
"""Of a step's time in float32: bfloat16 is taken where it takes less."""

PASSES = 2000
"""Over the data, in all of the time, from which on there is a search: with fewer, what the last
training loses by the search is more than a race can find. On 500 images a doubling of the passes is
worth 1.5 points or more up to some 600, and no cell in reach of the race was worth one."""

OFTEN, FEW = 40, 5000
"""Passes over so many data or fewer, in all of the time, from which on the recipe is that of few
data; over more, as many more passes. Of 4,000 images it makes no difference with 25 passes and is
worth 4.6 points with 60, of 500 images as much with 300; of 20,000 images 16 passes are far too few
(it costs 2.7 points)."""

LAST = 0.4
"""Of the time, for the last training; less where it would be longer than it need be."""

DECISION = 0.75
"""Of the time of race and decision, for the decision."""

SEEDS = ((5, 0.9), (3, 0.5), (2, 0.0))
"""Trainings of each in the decision, by the share of the last training's length that each would
have with so many. What is decided after a small part of it says little of its end."""

CANDIDATES, MOST_CANDIDATES = 5, 8
"""In the race, beside the reference; the most where each has a tenth of the last training."""

SCREEN = 0.04
"""Of the time, for the screen."""

LOOK, LONGEST_LOOK = 0.015, 10.0
"""Of the time, and seconds at most, to see how long a step of the chosen sizes takes."""

OVERHEAD = 0.06
"""Of the time: for starting, checkpoints, the last look at the test part."""


def usual_time(data: Data) -> str:
    """For which a search is planned that says no method and no time."""
    return "2m" if isinstance(data, str) and data == USUAL_DATA else "10m"


def usual_space(info: MethodInfo, data: Data) -> str:
    """The name of the space in which a method searches data if none is named.

    A search that is planned races against the space's reference: where that is of another space
    (a Transformer, of DARTSformer's), that one is searched.
    """
    name = space_for(data)
    found = reference_of(make(name)) if info.name == NAME else None
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
    plan = _Plan(settings, config, usual.settings, usual.options, keep)
    hardware = settings.hardware
    device = one_device(hardware.accelerator, hardware.precision).device
    with on_threads(hardware.threads or torch.get_num_threads()), forked_rng(device):
        tasks = _Tasks(plan, data)
        _parts(plan, tasks.finest)
        speed = _network(plan, space, tasks, seconds)

        def left() -> float:
            """Seconds; the data are read again by the search."""
            spent = time.perf_counter() - began + tasks.seconds
            return max(seconds * (1 - OVERHEAD) - spent, seconds / 2)

        look = min(LOOK * seconds, LONGEST_LOOK)
        step = speed.pace(plan.settings, look)
        if _seen_often(plan, speed, left() / step):  # which makes a step's batch dearer
            speed = Speed(space, tasks.at(plan.settings.task), plan.config.weights)
            step = speed.pace(plan.settings, look)
        _lengths(plan, speed, step, left)
    chosen, said, kept = sorted(plan.chosen), plan.said, sorted(set(keep))
    return Planned(plan.settings, plan.config, tuple(chosen), tuple(said), tuple(kept))


class _Plan:
    """The settings so far; what the user has set is not changed."""

    def __init__(
        self,
        settings: Settings,
        config: SuccessiveHalvingConfig,
        usual: Settings,
        usual_config: SuccessiveHalvingConfig,
        keep: Collection[str] = (),
    ) -> None:
        self.settings, self.config = settings, config
        task = settings.task and type(settings.task)()
        self._usual = replace(usual, task=task), usual_config
        self._keep = frozenset(keep)
        for name in self._keep:
            try:
                attrgetter(name)(self.config if _has(self.config, name) else self.settings)
            except AttributeError:
                raise ConfigError(
                    f"keep has {brief(name)}; accepted: fields of the settings or of the method's "
                    "configuration, as network.channels or candidates"
                ) from None
        self.chosen: set[str] = set()
        self.said: list[str] = []
        self.reference = True
        """Whether there is a network that nobody searched, within the limits."""

    def asked(self, name: str) -> bool:
        """Whether the user has set a field, `network.channels` or `seeds`."""
        if name in self._keep:
            return True
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


class _Tasks:
    """The task at each size at which its inputs can be had; read when it is asked for."""

    def __init__(self, plan: _Plan, data: Data) -> None:
        self._data, self._held = data, plan.settings.task
        self._cut = Cut(held_out=VALID_SHARE, seed=plan.settings.seed)
        self._read: dict[TaskConfig | None, Task] = {}
        self.seconds = 0.0
        """That the last reading took."""
        self.sizes: Sequence[TaskConfig | None] = (self._held,)
        """Configurations, the finest inputs first."""
        sized = any(plan.asked(f"task.{name}") for name in getattr(self._held, "sizes", ()))
        if self._held is None or isinstance(data, Task) or sized:
            self.finest = self.at(self._held)
        else:
            start = time.perf_counter()
            self.finest, self.sizes = self._held.at_sizes(data, self._cut)
            self.seconds = time.perf_counter() - start
            self._read[self.sizes[0]] = self.finest

    def at(self, config: TaskConfig | None) -> Task:
        """The task so configured."""
        if config not in self._read:
            start = time.perf_counter()
            self._read[config] = task_for(self._data, config, self._cut)
            self.seconds = time.perf_counter() - start
        return self._read[config]


def _parts(plan: _Plan, task: Task) -> None:
    """How many examples train, how many judge."""
    total = task.length("pool")
    if plan.settings.task is not None:
        judge = max(2, min(round(VALID_SHARE * total), MOST_VALID))
        judge = task.length("valid") if task.own_valid else judge
        valid = plan.take("split.valid_images", judge)
        rest = task.length("train") if task.own_valid else max(2, total - valid)
        plan.take("split.train_images", rest)
    train = plan.settings.split.train_images or task.length("train")
    valid = plan.settings.split.valid_images or task.length("valid")
    smaller = 1 << (max(2, min(train // 8, valid)).bit_length() - 1)
    plan.take("batch_size", min(BATCH, smaller))
    decide = (
        "a third its rounds and the others the decision"
        if task.own_valid
        else ("in the decision others with each seed")
    )
    plan.say(
        f"{count(total)} training {task.unit}: in a race {count(train)} train and {count(valid)} "
        f"judge, {decide}; the last training has all"
    )


def _precision(plan: _Plan, speed: Speed) -> None:
    """The one that is quicker here."""
    if isinstance(speed.space, ModuleSpace) or plan.asked("hardware.precision"):
        return
    given = _given(plan, speed.space)
    middle = plan.settings if given else altered(plan.settings, {"network.channels": 16})
    low = altered(middle, {"hardware.precision": "bf16-mixed"})
    whole = speed.step(middle)
    half = speed.step(low, most=whole)
    if half < QUICKER * whole:
        plan.take("hardware.precision", "bf16-mixed")
        plan.say(f"convolutions in bfloat16, which take {half / whole:.2g} of the time here")


def _given(plan: _Plan, space: SearchSpace) -> bool:
    """Whether the width is the user's, or the one of the space."""
    known = about(space)
    sized = known is not None and "network.channels" in known.quick_search
    return isinstance(space, ModuleSpace) or sized or plan.asked("network.channels")


def _network(plan: _Plan, space: SearchSpace, tasks: _Tasks, seconds: float) -> Speed:
    """The widest network that has enough steps and epochs in the time, on the finest inputs.

    Coarser ones only where the narrowest is too slow: what is not in the inputs no width brings
    back. Under limits the widest of those in which the reference keeps them; if it does in none,
    the narrowest, in which most others do.

    Returns:
        Measurements on the inputs that were chosen.
    """
    descent = plan.config.weights
    finest = Speed(space, tasks.finest, descent)
    _precision(plan, finest)
    own = isinstance(finest.space, ModuleSpace)
    fixed = _given(plan, finest.space)
    steps = max(1, tasks.finest.length("pool") // plan.settings.batch_size)  # of an epoch
    most = seconds / max(EPOCHS * steps, STEPS)  # seconds of a step
    widths = (plan.settings.network.channels,) if fixed else WIDTHS
    at = {width: altered(plan.settings, {"network.channels": width}) for width in widths}
    kept = {width: wide for width, wide in at.items() if finest.keeps_limits(wide)}
    plan.reference = bool(kept) and reference_within(space) is not None
    if not kept:
        narrowest = min(at)
        at = {narrowest: at[narrowest]}
        # What nothing keeps is refused before a race is measured.
        Speed(space, tasks.at(tasks.sizes[-1]), descent).require_possible(at[narrowest])
        plan.say(f"the network that nobody searched does not keep {plan.settings.limit}")
    at = kept or at
    held, width, enough = tasks.sizes[-1], min(at), False
    for size in tasks.sizes:
        for wider in at:  # up to the first that is too slow
            if Speed(space, tasks.at(size), descent).step(at[wider], most=most) > most:
                break
            held, width, enough = size, wider, True
        if enough:
            break
    if held is not None and held != plan.settings.task:
        plan.settings = replace(plan.settings, task=held)
        plan.chosen |= {f"task.{name}" for name in held.sizes}
    for name in getattr(held, "sizes", ()):
        plan.say(f"{name.replace('_', ' ')} {getattr(held, name)}")
    plan.take("network.channels", width)
    if not own:
        limit = plan.settings.limit if kept else ""
        plan.say(f"{width} channels: {_why_width(fixed=fixed, enough=enough, limit=limit)}")
    return Speed(space, tasks.at(held), descent)


def _why_width(*, fixed: bool, enough: bool, limit: str) -> str:
    """Why a network is as wide as it is; `limit`: those that the reference keeps."""
    if fixed:
        return "as asked for, or as is usual in the space"
    if not enough:
        return "the smallest, for the time is short for these data"
    keeps = f"with which the reference keeps {limit} and " if limit else ""
    return (
        f"the widest network {keeps or 'that '}sees the data {EPOCHS} times in the time, in "
        f"{STEPS:,} steps or more"
    )


def _seen_often(plan: _Plan, speed: Speed, steps: float) -> bool:
    """The recipe where a training of so many steps sees each example very often.

    Tuned on 500 images of CIFAR-10 and of Fashion-MNIST, where it is worth more than any cell.

    Returns:
        Whether anything was chosen.
    """
    passes = steps / _each(plan, speed)
    if passes < OFTEN * max(1.0, speed.task.length("pool") / FEW):
        return False
    held = plan.settings.task
    chosen = {f"task.{name}": v for name, v in (held.seen_often if held else {}).items()}
    own = isinstance(speed.space, ModuleSpace)  # it may have no batch norm, or weights of its own
    decay = None if own else decay_of_few_data(plan.config.weights)
    if decay is not None:
        chosen["weights.weight_decay"] = decay
    told = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {plan.take(name, value)}"
        for name, value in chosen.items()
        if not plan.asked(name)
    ]
    if told:
        plan.say(f"{', '.join(told)}: {_several(passes)} passes over the data are many")
    return bool(told)


def _each(plan: _Plan, speed: Speed) -> int:
    """Steps of a pass over the data."""
    return max(1, speed.task.length("pool") // plan.settings.batch_size)


def _last(plan: _Plan, steps: float, each: int) -> None:
    """The last training, of so many steps, in epochs."""
    plan.take("epochs", max(1, round(steps / each)))
    if steps < each:
        plan.take("steps_per_epoch", max(1, int(steps)))


def _lengths(plan: _Plan, speed: Speed, step: float, left: Callable[[], float]) -> None:
    """How the seconds that are left are shared out, where a step of the reference takes `step`.

    What only a race asks for is measured where there is one.
    """
    each = _each(plan, speed)
    total = left() / step
    asked = plan.asked("candidates")
    if plan.config.candidates if asked else not plan.reference or total >= PASSES * each:
        plan.take("flops_per_byte", round(speed.flops_per_byte(plan.settings), 1))
        screen = _screen(plan, speed, left())
        _race(plan, step, each, (left() - screen) / step)
        return
    plan.take("candidates", 0)
    plan.take("screened", 0)
    _last(plan, total, each)
    known = f"a step of the reference takes {1000 * step:.3g} ms here, which is "
    known += f"{_several(total / each)} passes over the data in the time"
    plan.say(
        f"{known}: no race is asked for, so that the reference is trained for all of it"
        if asked
        else f"{known}: a race pays from about {PASSES:,} on (--candidates N asks for one), so "
        "that the reference is trained for all of it"
    )


def _screen(plan: _Plan, speed: Speed, left: float) -> float:
    """What is scored without training, and the seconds of it."""
    proxy = speed.proxy(plan.settings, plan.config)
    perturbation = speed.perturbation(plan.settings, plan.config)
    screened = plan.config.screened  # none in a space in which proxies say nothing
    if screened:
        screened = plan.take("screened", _times(SCREEN * left, proxy, least=20, most=1000))
    searches = plan.take("perturbations", _times(SCREEN * left, perturbation, most=4))
    return float(screened * proxy + searches * perturbation)


def _race(plan: _Plan, step: float, each: int, total: float) -> None:
    """Race, decision and last training.

    Args:
        plan: with what is screened.
        step: seconds of one of the reference.
        each: steps of an epoch.
        total: steps for all three.
    """
    plan.take("drawn", 1)
    longest = min(LAST * total, max(MOST_EPOCHS * each, MOST_STEPS))
    of_seed = 1 + DEARER * plan.config.finalists
    for_decision = DECISION * (total - longest) / of_seed
    plan.take("seeds", next(n for n, share in SEEDS if for_decision / n >= share * longest))
    plan.take("decision", max(5, min(int(for_decision / plan.config.seeds), int(longest))))
    rest = total - longest - plan.config.seeds * of_seed * plan.config.decision
    plan.take(
        "candidates",
        MOST_CANDIDATES if _first(plan, rest, MOST_CANDIDATES) > longest / 10 else CANDIDATES,
    )
    plan.take("steps", max(5, min(_first(plan, rest, plan.config.candidates), int(longest))))
    _last(plan, longest, each)
    c, s = plan.config, plan.settings
    screen = f"{c.screened} architectures are screened, " if c.screened else ""
    plan.say(
        f"a step of the reference takes {1000 * step:.3g} ms here: {screen}{c.candidates} "
        f"candidates and the reference race over {c.steps} steps and more, "
        f"{c.finalists} and the reference are decided between by {c.seeds} seeds of {c.decision} "
        f"steps, and the last training has {s.epochs} epoch{'s'[: s.epochs != 1]} "
        f"({duration(longest * step)})"
    )


def _several(number: float) -> str:
    """`8.1`, `213`."""
    return f"{number:.1f}" if number < 10 else count(round(number))


def _times(seconds: float, each: float, *, least: int = 0, most: int) -> int:
    """How often something can be done; never, where it cannot be done at all."""
    return max(least, min(most, int(seconds / each))) if each else 0


def _first(plan: _Plan, steps: float, candidates: int) -> int:
    """Steps of a training of the first round, if the race has so many in all."""
    config = altered(plan.config, {"candidates": candidates})
    rounds = SuccessiveHalving(config).sizes
    return int(steps / sum((n * DEARER + 1) * config.eta**i for i, n in enumerate(rounds)))
