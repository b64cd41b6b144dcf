"""The loop of steps, for a method that trains a supernet; `blackbox` has the one of rounds.

It writes one line per epoch, loses at most the epoch in flight, and continues to the same bits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from morphogen.core import (
    Architecture,
    CheckpointError,
    ConfigError,
    MorphogenError,
    NumericalError,
    RunError,
)
from morphogen.core.rng import seed_for
from morphogen.engine.record.watch import Watcher
from morphogen.engine.search.timetable import ENDED_EARLY, timetable
from morphogen.evaluators import diagnostics
from morphogen.methods import (
    Ending,
    Method,
    Offering,
    Relaxing,
    Stepwise,
    WithAlphas,
    WithSupernet,
)
from morphogen.runs import checkpoint
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.supernets.draws import aside
from morphogen.tasks.problem import Clock, Devices, Problem

TIMES = ("seconds", "cpu_seconds")
"""The only entries of a line of metrics that differ between equal runs."""


@dataclass(frozen=True)
class Outcome:
    """What a loop ends with."""

    architecture: Architecture
    history: list[dict[str, Any]]
    candidates: Sequence[Mapping[str, Any]] = ()
    """Of a method that offers several: each one's architecture and figures."""


@dataclass(frozen=True)
class Desk:
    """The run directory a loop reads, and writes unless it is in a process that only helps."""

    run: RunDirectory
    config: Mapping[str, Any]
    """The content of config.yaml."""
    watcher: Watcher
    resumed: bool
    writes: bool = True

    def start(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Tell the watcher where the search stands, and have the record say just that."""
        if self.writes and self.resumed:
            self.run.keep(history)
        self.watcher.started(self.config, self.run.path, len(history))

    def save(self, row: Mapping[str, Any], content: Mapping[str, Any] | None = None) -> None:
        """An epoch's line, then the checkpoint that makes it count."""
        if self.writes:
            self.run.append(row)
            if content is not None:
                checkpoint.write(self.run.checkpoint_file, content)
        self.watcher.epoch(row)


def run_steps(
    method: Stepwise,
    problem: Problem,
    desk: Desk,
    *,
    identities: Sequence[str],
    epochs: int,
    steps: int,
    diagnostic_images: int,
) -> Outcome:
    """Run all epochs of all phases, from the start or from the last checkpoint.

    Args:
        method: what is stepped.
        problem: what it sees.
        desk: the run directory, new or to be continued.
        identities: fingerprint of the configuration, and those of a checkpoint that it takes.
        epochs: epochs of the search, or of the phase that trains the supernet.
        steps: steps of an epoch; 0: a pass over the part that the phase consumes.
        diagnostic_images: images for the discretization gap; 0 leaves it out.

    Raises:
        NumericalError: a metric is not finite; the last checkpoint is from before.
        CheckpointError: there is none to resume from that fits.
        RunError: the search has ended and there is no architecture.
    """
    torch.manual_seed(seed_for(problem.seed, "torch"))  # noise operations and users' dropout
    plan = timetable(method, problem, epochs, steps)
    state = method.init(problem)
    history: list[dict[str, Any]] = []
    if desk.resumed:
        content, notice = latest(desk.run, identities)
        if notice:
            desk.watcher.notice(notice)
        if content is not None:
            checkpoint.restore(state, content["state"])
            with checkpoint.fits("streams"):
                problem.load_state_dict(content["problem"])
            checkpoint.go_on(content, problem.devices.device)
            history = list(content["history"])
    together(problem.devices, lambda: desk.start(history))
    *_, place = plan.places(history)
    while place < len(plan):
        clock, done = plan[place], len(history)
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        told: dict[str, list[float]] = {}
        total = done + len(plan) - place
        for step in range(clock.steps):
            metrics = method.step(state, problem, replace(clock, step=step))
            _add(told, metrics, done, step)
            desk.watcher.stepped(Clock(done, total, step + 1, clock.steps, clock.phase))
        early = _ended(method, state, clock) and plan.after(place, ended=True) > place + 1
        place = plan.after(place, ended=early)
        if early:
            total = done + 1 + len(plan) - place
            desk.watcher.stepped(Clock(done, total, clock.steps, clock.steps, clock.phase))
        row = {
            "epoch": done + 1,
            **({"phase": clock.phase} if plan[0].phase != plan[-1].phase else {}),
            **({ENDED_EARLY: True} if early else {}),
            **_standing(method, state, problem, history, diagnostic_images),
            **{name: math.fsum(values) / len(values) for name, values in told.items()},
            "images": problem.seen,
            "seconds": round(time.perf_counter() - wall_start, 3),
            "cpu_seconds": round(time.process_time() - cpu_start, 3),
        }
        history.append(row)
        content = {
            "identity": identities[0],
            "state": checkpoint.capture(state),
            "problem": problem.state_dict(),
            **checkpoint.standing(problem.devices.device),
            "task": {
                "outputs": problem.task.outputs(),
                "classes": tuple(problem.task.describe().get("classes", ())),
                "in_channels": problem.task.in_channels,
            },
            "history": json.dumps(history),
        }
        checkpoint.require_finite(content["state"], len(history))
        together(problem.devices, partial(desk.save, row, content))
    found = method.derive(state, problem.space)
    if found is None:
        raise RunError(
            "the search has ended without an architecture; accepted: phases that choose one"
        )
    return Outcome(found, history, offered(method, state, problem.space))


def offered(method: Method, state: Any, space: SearchSpace) -> list[dict[str, Any]]:
    """The candidates of a method that offers several, as result.json has them.

    Raises:
        ConfigError: their figures differ in name, or one is no finite number.
    """
    several = method.candidates(state, space) if isinstance(method, Offering) else ()
    figures = {tuple(candidate.figures) for candidate in several}
    numbers = [value for candidate in several for value in candidate.figures.values()]
    if len(figures) > 1 or not all(math.isfinite(value) for value in numbers):
        raise ConfigError(
            f"{type(method).__name__}.candidates gave figures {', '.join(map(str, figures))}, with "
            "the values " + ", ".join(map(str, numbers)) + "; accepted: finite numbers, of the "
            "same names for all"
        )
    return [{"architecture": space.format(c.architecture), **c.figures} for c in several]


def _ended(method: Stepwise, state: Any, clock: Clock) -> bool:
    """Whether the method ends its phase with the clock's epoch."""
    last = replace(clock, step=max(clock.steps - 1, 0))
    return isinstance(method, Ending) and method.ended(state, last)


def _standing(
    method: Stepwise,
    state: Any,
    problem: Problem,
    history: Sequence[Mapping[str, Any]],
    diagnostic_images: int,
) -> dict[str, Any]:
    """What the state stands for after an epoch: architecture, diagnostics, gates, alphas."""
    space = problem.space
    last = history[-1].get("architecture") if history else None
    # Whatever is measured, and however: the search goes on as if nothing had been.
    with aside(problem.devices.device):
        arch = method.derive(state, space)
        gates = method.gates(state, space) if isinstance(method, Relaxing) else None
        found = diagnostics.report(
            problem,
            state.net if isinstance(state, WithSupernet) else None,
            gates,
            arch,
            None if last is None else space.parse(last),
            diagnostic_images,
        )
    return {
        **({} if arch is None else {"architecture": space.format(arch)}),
        **_finite(found),
        **({} if gates is None else {"gates": _listed(gates.weights)}),
        **_alphas(state, space),
    }


def latest(run: RunDirectory, identities: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """The newest whole checkpoint and what to tell of it; None if no epoch was finished."""
    last, old = run.checkpoint_file, checkpoint.previous(run.checkpoint_file)
    recorded = run.metrics()
    if not last.exists() and not old.exists():
        if len(recorded) > 1:  # one line may stand there before the first checkpoint does
            raise CheckpointError(
                f"{last} does not exist, and {run.metrics_file.name} has {len(recorded)} epochs; "
                "accepted: a run with its checkpoint"
            )
        return None, ""
    notices = []
    try:
        content = checkpoint.read_saved(last)
    except CheckpointError as error:
        if not old.exists():
            raise
        content = checkpoint.read_saved(old)
        notices.append(f"{error}; going on from the one before")
    if content.get("identity") not in identities:
        raise CheckpointError(
            f"{last} belongs to another run: its configuration is not that of {run.config_file}"
        )
    history = content["history"]
    if recorded[: len(history)] != history:
        notices.append(
            f"{run.metrics_file} was not as this run left it, and is written anew from the "
            "checkpoint"
        )
    return content, "; ".join(notices)


def together(devices: Devices, act: Callable[[], None]) -> None:
    """Do `act`; if it fails in one process, fail in all of them, so that none waits for another."""
    failure: MorphogenError | None = None
    try:
        act()
    except MorphogenError as error:
        failure = error
    flag = torch.tensor(float(failure is not None), device=devices.device)
    (failed,) = devices.mean([flag])
    if failure is not None:
        raise failure
    if failed > 0:
        raise RunError("another process could not write; its own message says why")


def _add(told: dict[str, list[float]], metrics: Mapping[str, Any], epoch: int, step: int) -> None:
    for name, value in metrics.items():
        number = float(value)
        if not abs(number) < float("inf"):
            raise NumericalError(
                f"{name} is {number} in epoch {epoch + 1}, step {step + 1}; the last checkpoint is "
                "from before; a smaller weights.lr or a tighter weights.clip may help"
            )
        told.setdefault(name, []).append(number)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """JSON has no NaN: a figure that could not be measured is left out."""
    return {k: v for k, v in values.items() if abs(v) < float("inf")}


def _alphas(state: Any, space: SearchSpace) -> dict[str, Any]:
    if not isinstance(state, WithAlphas):
        return {}
    return {"alpha": _listed(dict(zip(space.groups, state.alphas, strict=True)))}


def _listed(matrices: Mapping[str, Tensor]) -> dict[str, Any]:
    return {group: matrix.detach().tolist() for group, matrix in matrices.items()}
