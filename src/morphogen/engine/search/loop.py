"""The loop of steps, for a method that trains a supernet; `blackbox` has the one of rounds.

It writes one line per epoch, loses at most the epoch in flight, and continues to the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import (
    Architecture,
    ConfigError,
    NumericalError,
    RunError,
)
from morphogen.core.rng import seed_for
from morphogen.engine.record.recorder import Recorder, in_all_processes
from morphogen.engine.search.delivered import Delivered
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import ENDED_EARLY, timetable
from morphogen.evaluators import diagnostics
from morphogen.methods import (
    Deciding,
    Decision,
    Delivering,
    Ending,
    Explaining,
    Method,
    Noting,
    Offering,
    Relaxing,
    Stepwise,
    WithAlphas,
    WithSupernet,
)
from morphogen.runs import checkpoint
from morphogen.runs.config import identities
from morphogen.spaces import SearchSpace
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks.problem import Clock, Problem

TIMES = ("seconds", "cpu_seconds")
"""The only entries of a line of metrics that differ between equal runs."""


@dataclass(frozen=True)
class Outcome:
    """What a loop ends with."""

    architecture: Architecture
    history: list[dict[str, Any]]
    candidates: Sequence[Mapping[str, Any]] = ()
    """Of a method that offers several: each one's architecture and figures."""
    network: nn.Module | None = None
    """Of a method that delivers one: trained, in the process that wrote the run."""
    delivered: Delivered | None = None
    """What the record says of it, when it is in the run directory."""
    limits: Sequence[Mapping[str, Any]] = ()
    """What the architecture costs, beside each limit of the search."""
    decision: Decision | None = None
    """Of a method that has compared what it found."""
    explanation: str = ""
    """Of a method that says why it has ended so."""
    left: int = 0
    """Epochs that were still to be done when an interrupt ended it."""


def run_steps(
    method: Stepwise,
    problem: Problem,
    recorder: Recorder,
    settings: Settings,
) -> Outcome:
    """Run all epochs of all phases, from the start or from the last checkpoint.

    Args:
        method: what is stepped.
        problem: what it sees.
        recorder: of the run, new or to be continued.
        settings: length of the search, examples of the diagnostics.

    Raises:
        NumericalError: a metric is not finite; the last checkpoint is from before.
        CheckpointError: there is none to resume from that fits.
        RunError: the search has ended and there is no architecture.
    """
    torch.manual_seed(seed_for(problem.seed, "torch"))  # noise operations and users' dropout
    plan = timetable(method, problem, settings.epochs, settings.steps_per_epoch)
    state = method.init(problem)
    history = _continued(state, problem, recorder) if recorder.resumed else []
    last = history[-1].get("architecture") if history else None
    arch = None if last is None else problem.space.parse(last)
    in_all_processes(problem.devices, lambda: recorder.start(history))
    *_, place = plan.places(history)
    while place < len(plan):
        clock, done = plan[place], len(history)
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        metrics: dict[str, list[float]] = {}
        later = clock.phase != plan[0].phase
        problem.progress = 1.0 if later else clock.epoch / clock.epochs
        _gather(method, state, problem)
        total, ahead = done + len(plan) - place, plan.ahead(place)
        watched = Clock(done, total, 0, clock.steps, clock.phase, ahead, clock.work)
        for step in range(clock.steps):
            figures = method.step(state, problem, replace(clock, step=step))
            _add(metrics, figures, done, step)
            recorder.watcher.stepped(replace(watched, step=step + 1))
        early = _ended(method, state, clock) and plan.after(place, ended=True) > place + 1
        place = plan.after(place, ended=early)
        if early:
            total = done + 1 + len(plan) - place
            recorder.watcher.stepped(replace(watched, epochs=total, step=clock.steps))
        arch, standing = _standing(method, state, problem, arch, settings.diagnostics.images)
        row = {
            "epoch": done + 1,
            **({"phase": clock.phase} if plan[0].phase != plan[-1].phase else {}),
            **({ENDED_EARLY: True} if early else {}),
            **standing,
            **(method.notes(state) if isinstance(method, Noting) else {}),
            **{name: math.fsum(values) / len(values) for name, values in metrics.items()},
            **problem.told,
            "examples": problem.seen,
            "seconds": round(time.perf_counter() - wall_start, 3),
            "cpu_seconds": round(time.process_time() - cpu_start, 3),
        }
        history.append(row)
        content = _content(state, problem, recorder, len(history))
        in_all_processes(problem.devices, partial(recorder.save, row, content))
    outcome = _outcome(method, state, problem.space, history)
    if outcome is None:
        raise RunError(
            "the search has ended without an architecture; accepted: phases that choose one"
        )
    return outcome


def _continued(state: Any, problem: Problem, recorder: Recorder) -> list[dict[str, Any]]:
    """The lines of a run's last checkpoint, after state and problem were made as they were then."""
    content = recorder.last_checkpoint(identities(recorder.config))
    if content is None:
        return []
    checkpoint.restore(state, content["state"])
    with checkpoint.fits("streams"):
        problem.load_state_dict(content["problem"])
    checkpoint.restore_rng(content, problem.devices.device)
    return list(content["history"])


def _content(state: Any, problem: Problem, recorder: Recorder, epoch: int) -> dict[str, Any]:
    """What a checkpoint after this epoch holds, beside the lines of metrics.

    Raises:
        NumericalError: the state is not finite.
    """
    content = {
        "identity": identities(recorder.config)[0],
        "state": checkpoint.capture(state),
        "problem": problem.state_dict(),
        **checkpoint.rng_states(problem.devices.device),
        "task": {
            "outputs": problem.task.outputs(),
            "classes": tuple(problem.task.describe().get("classes", ())),
            "in_channels": problem.task.in_channels,
        },
    }
    checkpoint.require_finite(content["state"], epoch)
    return content


def on_record(
    method: Stepwise, problem: Problem, recorder: Recorder, settings: Settings
) -> Outcome | None:
    """What an interrupted search has come to by its last checkpoint.

    Args:
        method: as for `run_steps`.
        problem: likewise, one that nothing was drawn from yet.
        recorder: likewise; its lines of metrics are then those of the checkpoint.
        settings: likewise.

    Returns:
        None: no epoch was finished, or none that gives an architecture.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    content = recorder.last_checkpoint(identities(recorder.config))
    if content is None:
        return None
    plan = timetable(method, problem, settings.epochs, settings.steps_per_epoch)
    history = list(content["history"])
    *_, place = plan.places(history)
    state = method.init(problem)
    checkpoint.restore(state, content["state"])
    outcome = _outcome(method, state, problem.space, history)
    if outcome is None:
        return None
    recorder.run.keep(history)
    return replace(outcome, left=len(plan) - place)


def _outcome(
    method: Stepwise, state: Any, space: SearchSpace, history: list[dict[str, Any]]
) -> Outcome | None:
    """What a state stands for; None if that is no architecture yet."""
    found = method.derive(state, space)
    if found is None:
        return None
    net = method.network(state, space) if isinstance(method, Delivering) else None
    decision = method.decision(state) if isinstance(method, Deciding) else None
    why = method.explanation(state) if isinstance(method, Explaining) else ""
    several = offered(method, state, space)
    return Outcome(found, history, several, net, decision=decision, explanation=why)


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


def _gather(method: Stepwise, state: Any, problem: Problem) -> None:
    """Before an epoch of a task that gathers its examples: with the supernet as it stands now."""
    if isinstance(method, Relaxing) and isinstance(state, WithSupernet) and problem.task.gathers:
        problem.gather(state.net, method.gates(state, problem.space))


def _ended(method: Stepwise, state: Any, clock: Clock) -> bool:
    """Whether the method ends its phase with the clock's epoch."""
    last = replace(clock, step=max(clock.steps - 1, 0))
    return isinstance(method, Ending) and method.ended(state, last)


def _standing(
    method: Stepwise,
    state: Any,
    problem: Problem,
    before: Architecture | None,
    diagnostic_images: int,
) -> tuple[Architecture | None, dict[str, Any]]:
    """What the state stands for after an epoch: architecture, diagnostics, gates, alphas.

    Args:
        method: which reads it.
        state: of the method.
        problem: what it was trained on.
        before: the architecture an epoch ago.
        diagnostic_images: for the discretization gap; 0 leaves it out.

    Returns:
        The architecture, and the entries of the epoch's line.
    """
    space = problem.space
    # Whatever is measured, and however: the search goes on as if nothing had been.
    with forked_rng(problem.devices.device):
        arch = method.derive(state, space)
        gates = method.gates(state, space) if isinstance(method, Relaxing) else None
        found = diagnostics.report(
            problem,
            state.net if isinstance(state, WithSupernet) else None,
            gates,
            arch,
            before,
            diagnostic_images,
        )
    return arch, {
        **({} if arch is None else {"architecture": space.format(arch)}),
        **_finite(found),
        **({} if gates is None else {"gates": _listed(gates.weights)}),
        **_alphas(state, space),
    }


def _add(
    metrics: dict[str, list[float]], figures: Mapping[str, Any], epoch: int, step: int
) -> None:
    for name, value in figures.items():
        number = float(value)
        if not abs(number) < float("inf"):
            raise NumericalError(
                f"{name} is {number} in epoch {epoch + 1}, step {step + 1}; the last checkpoint is "
                "from before; a smaller weights.lr or a tighter weights.clip may help"
            )
        metrics.setdefault(name, []).append(number)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """JSON has no NaN: a figure that could not be measured is left out."""
    return {k: v for k, v in values.items() if abs(v) < float("inf")}


def _alphas(state: Any, space: SearchSpace) -> dict[str, Any]:
    if not isinstance(state, WithAlphas):
        return {}
    count = len(space.groups)
    parts = {"alpha": state.alphas[:count], "edges": state.alphas[count:]}
    return {
        name: _listed(dict(zip(space.groups, matrices, strict=True)))
        for name, matrices in parts.items()
        if matrices
    }


def _listed(matrices: Mapping[str, Tensor]) -> dict[str, Any]:
    return {group: matrix.detach().tolist() for group, matrix in matrices.items()}
