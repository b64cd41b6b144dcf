"""What trainings reached: the one look at the test part, result.json, and reading it again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from morphogen import cost
from morphogen.core import Architecture, RunError
from morphogen.core.names import shown
from morphogen.engine.record.evaluating import (
    deployed,
    figures_over,
    finished_of,
    show,
    weighted,
    within_bounds,
)
from morphogen.engine.search.delivered import reached as reached_by_one
from morphogen.engine.search.loop import TIMES
from morphogen.engine.train import fitting
from morphogen.engine.train.fitting import Fitting
from morphogen.engine.train.remarks import by_heart
from morphogen.engine.train.trainjob import TrainJob, spec_of, split_sentence, weights_file
from morphogen.exports.trained import trained_network
from morphogen.exports.writing import Exported, export
from morphogen.reports.writing import Report, report
from morphogen.runs.described import Described
from morphogen.runs.directory import TRAINING, RunDirectory
from morphogen.runs.records import Comparison, comparison_of
from morphogen.spaces import SearchSpace
from morphogen.tasks import Sums, Task
from morphogen.tasks.kinds import Data, as_arguments


@dataclass(frozen=True, repr=False)
class TrainResult:
    """What trainings of one architecture reached."""

    architecture: Architecture
    text: str
    """The architecture in the space's own notation."""
    space: SearchSpace
    test_values: tuple[float, ...]
    """The task's metric on the test part, one per seed; empty for data without a test part."""
    test: Mapping[str, float]
    """Their mean, `low` and `high` of its 95 % interval from two seeds on; empty likewise."""
    held_out: Mapping[str, float]
    """The same of the held-out examples, which also chose the epoch; empty if none are held out."""
    weights: tuple[Path, ...]
    """The evaluated weights, one .safetensors file per seed."""
    figures: tuple[Mapping[str, Any], ...]
    """What else finished networks reach, such as BLEU: entries of result.json; often none."""
    cost: Mapping[str, float]
    """Seconds of wall clock and CPU, examples, and the network's parameters and MACs."""
    history: list[dict[str, Any]]
    """One row per epoch, as in metrics.jsonl."""
    run: Path
    """The run directory."""
    remarks: tuple[str, ...] = ()
    """What the user should be told of the architecture and of its weights, a sentence each."""
    comparison: Comparison | None = None
    """With what asks for no search, where that was trained, too."""
    data: Data = field(default="", compare=False)
    """What was trained on."""

    def __fspath__(self) -> str:
        return os.fspath(self.run)

    def __repr__(self) -> str:
        seeds = f"{len(self.weights)} seed{'s'[: len(self.weights) != 1]}"
        found = f"{self.space.name}: {self.text}, {seeds}, run {self.run}"
        return shown(f"<TrainResult of {found}, {len(self.remarks)} remarks>")

    def network(self, seed: int | None = None) -> nn.Module:
        """The trained network, a plain module in evaluation mode.

        Args:
            seed: of which training; by default the best by its held-out figure (the first, where
                nothing was held out).

        Raises:
            ConfigError: there was no training with that seed.
        """
        return trained_network(self, space=self.space, seed=seed)[0]

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Write the run's page, see `morphogen.report`."""
        return report(self, out)

    def export(
        self, to: str | Sequence[str] = ("onnx",), out: str | os.PathLike[str] | None = None
    ) -> list[Exported]:
        """Write the network in some formats, see `morphogen.export`."""
        return export(self, to, out, space=self.space, **as_arguments(self.data))

    def _repr_html_(self) -> str | None:
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.of_result(self.run, self.space, self.architecture)


def evaluate(
    job: TrainJob,
    task: Task,
    work: Fitting,
    history: list[dict[str, Any]],
    notice: Callable[[str], None],
) -> TrainResult:
    """Evaluate the weights of every seed, write result.json and return the same.

    How the test examples were read goes to `notice` and into the result.
    """
    t, metric = job.training, task.metric
    kind = "best" if t.held_out else "last"
    files = tuple(weights_file(job.path, t.seed + i, kind) for i in range(t.seeds))
    nets = [partial(_network, job, task, work, file) for file in files]
    measured = _on_test(job, task, work, nets, notice)
    if not task.has_test and t.held_out and task.finishes:
        held_out = task.examples("valid", device=work.devices.device)
        each = [finished_of(net(), task, work.devices, held_out) for net in nets]
        measured = replace(measured, figures=figures_over("held_out", each))
    part = "valid" if t.held_out else "pool"
    show(nets[0](), task, part, work.devices, job.path, own=work.own)
    held = f"held_out_{metric.name}"
    best = [
        metric.score(max(metric.score(r[held]) for r in history if r["seed"] == t.seed + i))
        for i in range(t.seeds)
        if t.held_out
    ]
    config = RunDirectory(job.path).config()
    outside = within_bounds(best, metric) if best else {}
    on_new = [part for part in (measured.known, outside) if part]
    RunDirectory(job.path).write_result(
        {
            "architecture": job.space.format(job.arch),
            "method": TRAINING,
            "space": job.space.name,
            "remarks": [
                *job.space.remarks(job.arch),
                *config.get("remarks", ()),
                *measured.notes,
                *by_heart(history, on_new, Described.of(config), t),
            ],
            "seed": t.seed,
            "seeds": t.seeds,
            "epochs": len(history),
            f"test_{metric.name}": measured.known,
            held: {**outside, "values": best} if best else None,
            **({"figures": measured.figures} if measured.figures else {}),
            "split": split_sentence(job, task),
            "test_openings": list(task.test_openings),
            "weights": [file.name for file in files],
            "cost": _spent(job, task, history),
        }
    )
    written = finished(job)
    if written is None:
        raise RunError(f"{job.path} changed while its result was written; accepted: a quiet disk")
    return written


@dataclass(frozen=True)
class _Measured:
    """What finished networks reach."""

    known: dict[str, Any] | None = None
    """The metric on the test part."""
    figures: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = ()
    """Of how the test examples were read, which nobody saw before."""


def _on_test(
    job: TrainJob,
    task: Task,
    work: Fitting,
    nets: Sequence[Callable[[], nn.Module]],
    notice: Callable[[str], None],
) -> _Measured:
    """The one look at the test part, if there is one."""
    if not task.has_test:
        return _Measured()
    devices = work.devices
    test = task.open_test(
        f"evaluation of {job.training.seeds} finished trainings from scratch", device=devices.device
    )
    sums, figures = [], []
    for made in nets:
        net = made()
        sums.append(fitting.sums(work, net, test))
        figures.append(finished_of(net, task, devices, test))
    for sentence in test.notes:
        notice(sentence)
    known = _over_seeds(task, sums, len(test))
    return _Measured(known, figures_over("test", figures), test.notes)


def _spent(job: TrainJob, task: Task, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    network = deployed(spec_of(job, task))
    counted = cost.of(job.space, job.arch, network, task.example())
    return {
        **{name: round(sum(row[name] for row in history), 3) for name in TIMES},
        "train_examples": len(history) * _per_epoch(history),
        "params": counted.params,
        "macs": counted.macs,
    }


def _over_seeds(task: Task, sums: Sequence[Sums], examples: int) -> dict[str, Any]:
    """The metric of several trainings on the test part, with its interval.

    Of one network it is that over its examples, where they are drawn with it: an agent's episodes
    differ more from each other than agents do.
    """
    if len(sums) == 1 and task.gathers:
        return reached_by_one(task, sums[0], examples)
    values = [task.value(one) for one in sums]
    return {**within_bounds(values, task.metric), "values": values}


def _per_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Examples drawn in an epoch: the same in every one."""
    return int(history[0]["examples"]["train"])


def _network(job: TrainJob, task: Task, work: Fitting, file: Path) -> nn.Module:
    """With the weights of a file, on the device."""
    return work.devices.placed(weighted(file, job.space, job.arch, spec_of(job, task)))


def finished(job: TrainJob) -> TrainResult | None:
    """The result of a run that has one, read from its files; None if it has to go on."""
    directory = RunDirectory(job.path)
    written, history = directory.result(), directory.metrics()
    text, task = job.space.format(job.arch), Described.of(directory.config())
    if written is None or written.get("architecture") != text:
        return None
    if len(history) != written.get("epochs") or not task.reached(written):
        return None
    test, held = (task.reached(written).get(part, {}) for part in ("test", "held_out"))
    return TrainResult(
        architecture=job.arch,
        text=text,
        space=job.space,
        test_values=tuple(test.get("values", ())),
        test={k: v for k, v in test.items() if k != "values"},
        held_out={k: v for k, v in held.items() if k != "values"},
        weights=tuple(job.path / name for name in written["weights"]),
        figures=tuple(written.get("figures") or ()),
        cost=written["cost"],
        history=history,
        run=job.path,
        remarks=tuple(written.get("remarks", ())),
        comparison=comparison_of(written),
        data=job.data,
    )
