"""The only loops: steps of a method that trains a supernet, and rounds of one that asks and tells.

Both write one line per epoch, lose at most the epoch in flight, and continue to the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from morphogen.core import Architecture, CheckpointError, NumericalError
from morphogen.core.rng import seed_for
from morphogen.engine import checkpoint
from morphogen.engine.rundir import RunDirectory
from morphogen.engine.watch import Watcher
from morphogen.evaluators import diagnostics
from morphogen.methods import AskTell, Stepwise
from morphogen.spaces import SearchSpace
from morphogen.tasks.problem import Clock, Problem

Evaluate = Callable[[Sequence[Architecture]], list[float]]

TIMES = ("seconds", "cpu_seconds")
"""The only entries of a line of metrics that differ between equal runs."""


@dataclass(frozen=True)
class Outcome:
    """What a loop ends with."""

    architecture: Architecture
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Desk:
    """Where a loop writes: a run directory, or nothing in processes other than the first."""

    run: RunDirectory | None
    watcher: Watcher

    def save(self, content: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """An epoch's line, then the checkpoint that makes it count."""
        if self.run is not None:
            self.run.append(row)
            checkpoint.write(self.run.checkpoint_file, content)
        self.watcher.epoch(row)


def run_steps(
    method: Stepwise,
    problem: Problem,
    desk: Desk,
    *,
    identity: str,
    epochs: int,
    steps: int,
    diagnostic_images: int,
    resume_from: RunDirectory | None,
) -> Outcome:
    """Run `epochs` epochs of `steps` steps, from the start or from the last checkpoint.

    Args:
        method: what is stepped.
        problem: what it sees.
        desk: where the main process writes.
        identity: fingerprint of the configuration; a checkpoint of another is refused.
        epochs: epochs in all.
        steps: steps of an epoch.
        diagnostic_images: images for the discretization gap; 0 leaves it out.
        resume_from: the run to continue.

    Raises:
        NumericalError: a metric is not finite; the last checkpoint is from before.
        CheckpointError: there is none to resume from that fits.
    """
    torch.manual_seed(seed_for(problem.seed, "torch"))  # noise operations and users' dropout
    state = method.init(problem)
    history: list[dict[str, Any]] = []
    before: Architecture | None = None
    first = 0
    if resume_from is not None and resume_from.metrics_file.exists():
        content, notice = _latest(resume_from, identity)
        if notice:
            desk.watcher.notice(notice)
        if content is not None:
            checkpoint.restore(state, content["state"])
            problem.load_state_dict(content["problem"])
            torch.set_rng_state(content["torch_rng"])
            first = content["epoch"]
            history = resume_from.metrics()[:first]
            before = problem.space.parse(history[-1]["architecture"])
        if desk.run is not None:
            desk.run.keep(history)
    for epoch in range(first, epochs):
        clock_start, cpu_start = time.perf_counter(), time.process_time()
        sums: dict[str, float] = {}
        for step in range(steps):
            metrics = method.step(state, problem, Clock(epoch, epochs, step, steps))
            _add(sums, metrics, epoch, step)
            desk.watcher.stepped(Clock(epoch, epochs, step + 1, steps))
        arch = method.derive(state, problem.space)
        gates = method.gates(state, problem.space)
        row = {
            "epoch": epoch + 1,
            "architecture": problem.space.format(arch),
            **{name: total / steps for name, total in sums.items()},
            **diagnostics.report(
                problem, getattr(state, "net", None), gates, arch, before, diagnostic_images
            ),
            "images": problem.images_seen,
            "gates": {g: w.detach().tolist() for g, w in gates.weights.items()},
            **_alphas(state, problem.space),
            "seconds": round(time.perf_counter() - clock_start, 3),
            "cpu_seconds": round(time.process_time() - cpu_start, 3),
        }
        before = arch
        history.append(row)
        content = {
            "identity": identity,
            "epoch": epoch + 1,
            "state": checkpoint.capture(state),
            "problem": problem.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        desk.save(content, row)
    return Outcome(method.derive(state, problem.space), history)


def run_rounds(
    method: AskTell,
    space: SearchSpace,
    evaluate: Evaluate,
    desk: Desk,
    *,
    rng: Any,
    evaluations: int,
    resume_from: RunDirectory | None,
) -> Outcome:
    """Ask, evaluate and tell until the budget is spent or the method has no more questions.

    A round is one architecture. The record is metrics.jsonl itself: to resume, the method is asked
    and told again what it was, so that no state has to be stored.

    Raises:
        CheckpointError: the record does not fit what the method asks.
        NumericalError: a score is not finite.
    """
    state = method.init(space)
    history: list[dict[str, Any]] = resume_from.metrics() if resume_from else []
    for row in history:
        archs = method.ask(state, space, 1, rng)
        if [space.format(a) for a in archs] != [row["candidate"]]:
            raise CheckpointError(
                f"the record's architecture number {row['epoch']} is not the one that the method "
                "asks for; accepted: the metrics.jsonl of this very run"
            )
        method.tell(state, archs, [row["score"]])
    if desk.run is not None and resume_from is not None:
        desk.run.keep(history)
    for number in range(len(history), evaluations):
        clock_start, cpu_start = time.perf_counter(), time.process_time()
        archs = method.ask(state, space, 1, rng)
        if not archs:
            break
        scores = evaluate(archs)
        _add({}, {"score": scores[0]}, number, 0)
        method.tell(state, archs, scores)
        row = {
            "epoch": number + 1,
            "candidate": space.format(archs[0]),
            "score": scores[0],
            "architecture": space.format(method.derive(state, space)),
            "seconds": round(time.perf_counter() - clock_start, 3),
            "cpu_seconds": round(time.process_time() - cpu_start, 3),
        }
        history.append(row)
        if desk.run is not None:
            desk.run.append(row)
        desk.watcher.stepped(Clock(number, evaluations, 1, 1))
        desk.watcher.epoch(row)
    return Outcome(method.derive(state, space), history)


def _latest(run: RunDirectory, identity: str) -> tuple[dict[str, Any] | None, str]:
    """The newest whole checkpoint and what to tell of it; None if no epoch was finished."""
    last, old = run.checkpoint_file, checkpoint.previous(run.checkpoint_file)
    if not last.exists() and not old.exists():
        return None, ""
    notice = ""
    try:
        content = checkpoint.read(last)
    except CheckpointError as error:
        if not old.exists():
            raise
        content = checkpoint.read(old)
        notice = f"{error}; going on from the one before, epoch {content['epoch']}"
    if content.get("identity") != identity:
        raise CheckpointError(
            f"{last} belongs to another run: its configuration is not that of {run.config_file}"
        )
    if len(run.metrics()) < content["epoch"]:
        raise CheckpointError(
            f"{run.metrics_file} has {len(run.metrics())} whole lines, fewer than the "
            f"{content['epoch']} epochs of the checkpoint; accepted: the file as it was written"
        )
    return content, notice


def _add(sums: dict[str, float], metrics: Mapping[str, Any], epoch: int, step: int) -> None:
    for name, value in metrics.items():
        number = float(value)
        if not abs(number) < float("inf"):
            raise NumericalError(
                f"{name} is {number} in epoch {epoch + 1}, step {step + 1}; the last checkpoint is "
                "from before; a smaller weights.lr or a tighter weights.clip may help"
            )
        sums[name] = sums.get(name, 0.0) + number


def _alphas(state: Any, space: SearchSpace) -> dict[str, Any]:
    alphas = getattr(state, "alphas", None)
    if alphas is None:
        return {}
    return {"alpha": {g: a.detach().tolist() for g, a in zip(space.groups, alphas, strict=True)}}
