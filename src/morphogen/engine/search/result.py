"""What a search ends with: in memory and as result.json."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from morphogen.core import Architecture, RunError, arguments
from morphogen.core.names import shown
from morphogen.core.statistics import Contrast, interval
from morphogen.engine.record.networks import fresh_network
from morphogen.engine.record.watch import Watcher, usual
from morphogen.engine.search.beside import beside, told_of, within_limits
from morphogen.engine.search.delivered import Delivered
from morphogen.engine.search.job import Job, objectives_in
from morphogen.engine.search.loop import TIMES, Outcome
from morphogen.engine.search.remarks import remarks
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.splits import split_sentence
from morphogen.engine.train import retrain
from morphogen.engine.train.baseline import SEEDS
from morphogen.engine.train.origin import found_in
from morphogen.engine.train.trained import TrainResult
from morphogen.engine.train.training import Training, quick_training
from morphogen.evaluators.objectives import Objective, maximised
from morphogen.evolution.pareto import front, hypervolume
from morphogen.exports.trained import trained_network
from morphogen.exports.writing import Exported, export
from morphogen.methods import Decision, find
from morphogen.reports.writing import Report, report
from morphogen.runs import store
from morphogen.runs.described import Described
from morphogen.runs.directory import RunDirectory
from morphogen.runs.records import Comparison, comparison_of
from morphogen.runs.verdict import Verdict
from morphogen.spaces import SearchSpace
from morphogen.tasks import Metric, Task
from morphogen.tasks.kinds import Data, as_arguments, chosen


@dataclass(frozen=True, repr=False)
class SearchResult:
    """What a search found, and at what cost."""

    architecture: Architecture
    text: str
    """The architecture in the space's own notation."""
    method: str
    space: SearchSpace
    remarks: tuple[str, ...]
    """What the user should be told of the architecture, a sentence each."""
    history: list[dict[str, Any]]
    """One row per epoch, as in metrics.jsonl."""
    cost: Mapping[str, float]
    """Seconds of wall clock and CPU, examples drawn."""
    run: Path
    """The run directory."""
    candidates: tuple[Mapping[str, Any], ...] = ()
    """Architectures that the search ends with, the best first, each with its figures: the Pareto
    front of several objectives, or what the method offers. Empty if it is one alone."""
    front: Mapping[str, Any] = field(default_factory=dict)
    """Of several objectives: the front's hypervolume and the reference that it is above."""
    weights: Path | None = None
    """The file with the weights of the network that the method delivers; None of all others."""
    test: Mapping[str, Any] = field(default_factory=dict)
    """What that network reaches on the test part, which was opened for it after the search: `mean`,
    and `low` and `high` of the 95 % interval that the number of `examples` allows. It is of one
    seed: what another seed would reach is not in it."""
    limits: tuple[Mapping[str, Any], ...] = ()
    """What the network costs, beside each limit: `cost`, `value`, `most`, `unit`, `kept`."""
    ended_early: bool = False
    """Whether an interrupt has ended it with the best so far; `resume` goes on."""
    comparison: Comparison | None = None
    """With what asks for no search, where a training with a baseline has shown it."""
    data: Data = field(default="", compare=False)
    """What was searched on."""
    trainings: list[TrainResult] = field(default_factory=list, compare=False)
    """What `train` made of this result, in order."""

    def __fspath__(self) -> str:
        return os.fspath(self.run)

    def __repr__(self) -> str:
        found = f"{self.method} in {self.space.name}: {self.text}, run {self.run}"
        return shown(f"<SearchResult of {found}, {len(self.remarks)} remarks>")

    def network(self) -> nn.Module:
        """The network of the architecture found, alone, as a module in evaluation mode.

        Its weights are those of the last training if `train` was called on this result; else those
        that the method has trained, if it delivers a network; else they are drawn anew from the
        search's seed, for you to train: the supernet's are shared by all its networks and belong to
        none. (A module of yours keeps the weights it has.)
        """
        if self.trainings:
            return self.trainings[-1].network()
        if self.weights is not None:
            return trained_network(self, space=self.space)[0]
        return fresh_network(RunDirectory.open(self.run), self.space, self.architecture)

    def train(
        self,
        training: Training | None = None,
        *,
        data: Data | None = None,
        task: Task | None = None,
        run: str | os.PathLike[str] | None = None,
        baseline: bool = False,
        watcher: Callable[[], Watcher] = usual,
    ) -> TrainResult:
        """Train the architecture from scratch and measure it on the test part.

        Args:
            training: protocol; by default `morphogen.quick_training` of the space, with a
                baseline three seeds of it. Where it says nothing of the data, they are seen as in
                the search: of the same size, mirrored or not; by default networks have the sizes
                of the one that the search delivered, or whose costs had limits, and train as long
                as one that was delivered, by its recipe. Of another length the recipe is the
                usual one, and by default the one that fits.
            data: other data than those of the search.
            task: another task than that of the search.
            run: the run directory of the training, new; by default `runs/train-<space>-<time>`.
            baseline: then train the space's reference and a random architecture by the same
                protocol, and say whether this one is better; the search's report says it, too.
            watcher: makes the object that is told of progress.

        Raises:
            MorphogenError: one sentence on what is wrong and what is accepted.
        """
        given_again = chosen(data, task, self.data)
        origin = found_in(self.run)
        if given_again is not self.data:
            origin = origin.elsewhere
        keep = None
        if training is None:
            quick = quick_training(self.space, origin.task)
            seeds = SEEDS if baseline else 1
            training = origin.repeated(origin.continued(replace(quick, seeds=seeds)))
            keep = None if origin.as_long(training) else origin.keep
        elif isinstance(training, Training) and training.task is None:
            seen = origin.repeated(replace(training, task=origin.task)).task
            training = replace(training, task=seen)
        result = retrain.train(
            self.architecture,
            space=self.space,
            **as_arguments(given_again),
            training=training,
            run=None if run is None else arguments.path("run", run),
            baseline=baseline,
            keep=keep,
            origin=within_limits(origin, self.space, self.data) if baseline else origin,
            watcher=watcher,
        )
        told_of(self.run, result)
        self.trainings.append(result)
        return result

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Write the run's page, see `morphogen.report`."""
        return report(self, out)

    def export(
        self, to: str | Sequence[str] = ("onnx",), out: str | os.PathLike[str] | None = None
    ) -> list[Exported]:
        """Write the network in some formats, see `morphogen.export`.

        That of the last training, or the one that the method delivers.

        Raises:
            RunError: neither is there: `train` was not called on this result.
        """
        if not self.trainings and self.weights is not None:
            return export(self, to, out, space=self.space, **as_arguments(self.data))
        if not self.trainings:
            raise RunError(
                f"the network found in {self.run} is not trained; accepted: first result.train()"
            )
        return self.trainings[-1].export(to, out)

    def _repr_html_(self) -> str | None:
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.of_result(self.run, self.space, self.architecture)


def finished(directory: RunDirectory, job: Job) -> SearchResult | None:
    """The result of a run that has one, read from its files; None if it has to go on."""
    written, history = directory.result(), directory.metrics()
    if written is None or not history or len(history) != written.get("epochs"):
        return None
    if written.get("ended_early"):
        return None
    text = history[-1].get("architecture")
    if not isinstance(text, str) or text != written.get("architecture"):
        return None  # damaged: the checkpoint knows better
    aims = objectives(directory.config(), job.settings)
    scored = [row for row in history if "candidate" in row and "failed" not in row]
    if any(aim.name not in row for row in scored for aim in aims):
        return None  # the loop says what is wrong with the record
    offered = written.get("candidates", ())
    held = Delivered.of(written, Described.of(directory.config()))
    if held is not None and not (job.path / held.weights).exists():
        return None  # the weights are lost, and written again
    return write_result(
        job,
        Outcome(
            job.space.parse(text),
            history,
            offered,
            delivered=held,
            limits=written.get("limits", ()),
            explanation=written.get("explanation", ""),
        ),
    )


def objectives(config: Mapping[str, Any], s: Settings) -> tuple[Objective, ...]:
    """What a run optimises, from its config.yaml and its settings."""
    return objectives_in(s, Metric(**config["task"]["metric"]))


def pareto(history: Sequence[Mapping[str, Any]], aims: Sequence[Objective]) -> dict[str, Any]:
    """The Pareto front of the architectures evaluated, the best by the first objective first.

    Returns:
        `candidates`: the architectures with their objectives; `hypervolume`: what they dominate
        above `reference`, the worst value of each objective among all evaluated, so that it
        compares searches only where the reference is the same.
    """
    rows = [row for row in history if "failed" not in row]
    values = [{aim.name: float(row[aim.name]) for aim in aims} for row in rows]
    points = np.array([maximised(v, aims) for v in values]).reshape(-1, len(aims))
    if not len(points):
        return {}
    worst = points.min(axis=0)
    members = [int(i) for i in np.flatnonzero(front(points))]
    members.sort(key=lambda i: tuple(-points[i]))
    return {
        "candidates": [{"architecture": rows[i]["candidate"], **values[i]} for i in members],
        "hypervolume": hypervolume(points[members], worst),
        "reference": {a.name: float(a.score(w)) for a, w in zip(aims, worst, strict=True)},
    }


def trained(history: Sequence[Mapping[str, Any]], epochs: int) -> dict[str, float]:
    """Epochs of the trainings that were cut off early, and of those in full, failures included."""
    budgets = [float(row.get("budget", 1.0)) for row in history]
    early = math.fsum(b for b in budgets if b < 1)
    return {"early_epochs": early * epochs, "full_epochs": float(budgets.count(1.0) * epochs)}


def with_baseline(job: Job, result: SearchResult) -> SearchResult:
    """The result beside what asks for no search, if config.yaml asks for that.

    Not of a search that an interrupt has ended: whoever did that waits for no trainings.
    """
    directory = RunDirectory(job.path)
    recorded = directory.config().get("baseline")
    trained_beside = result.comparison is not None and result.comparison.training != OWN
    if recorded is None or trained_beside or result.ended_early:
        return result
    with directory.locked():
        trained = beside(job, result.text, recorded)
        said = told_of(job.path, trained)
    result.trainings.append(trained)
    return replace(result, comparison=said)


OWN = "."
"""Of a comparison that the search itself has made: its trainings are no runs."""


def decided(decision: Decision, task: Described) -> Comparison:
    """A method's own comparison, as the record has it."""
    sign = 1.0 if task.higher_is_better else -1.0
    gain, values = decision.gain, [sign * score for score in decision.scores]
    ends = (gain.low, gain.high) if sign > 0 else (gain.high, gain.low)
    low, high = (None if end is None else sign * end for end in ends)
    contrast = Contrast(sign * gain.difference, low, high, gain.seeds)
    verdict = Verdict.of(
        contrast,
        against=decision.against,
        metric=task.metric,
        unit=task.unit,
        higher_is_better=task.higher_is_better,
    )
    on = f"search-validation {task.examples} that chose nothing else"
    if decision.folds:
        on = f"held-out {task.examples} that chose nothing else, others for each seed"
    return Comparison.model_validate(
        {
            "training": OWN,
            "metric": f"{task.metric}{f', {decision.conditions},' * bool(decision.conditions)} on "
            f"{on}",
            "reached": {**interval(values), "values": values},
            "verdicts": [verdict.model_dump()],
        }
    )


def write_result(job: Job, outcome: Outcome) -> SearchResult:
    """Write result.json and return the same.

    A comparison that stands there stays, if the architecture is still the same.
    """
    directory = RunDirectory(job.path)
    before, text = directory.result() or {}, job.space.format(outcome.architecture)
    comparison = comparison_of(before) if before.get("architecture") == text else None
    config = directory.config()
    task = Described.of(config)
    if comparison is None and outcome.decision is not None:
        comparison = decided(outcome.decision, task)
    if directory.store_file.exists():
        cost = store.cost(directory.store_file)
    else:
        cost = {name: round(sum(row[name] for row in outcome.history), 3) for name in TIMES}
    info = find(job.method)
    if info.staged:
        cost |= trained(outcome.history, job.settings.evaluation.epochs)
    aims = objectives(config, job.settings)
    front = pareto(outcome.history, aims) if len(aims) > 1 else {}
    candidates = tuple(front.pop("candidates", outcome.candidates))
    failed = sum("failed" in row for row in outcome.history)
    drawn = outcome.history[-1].get("examples", {}) if outcome.history else {}
    held = outcome.delivered
    sizes = {"params": held.params, "macs": held.macs} if held else {}
    result = SearchResult(
        architecture=outcome.architecture,
        text=text,
        method=job.method,
        space=job.space,
        remarks=remarks(job, outcome, config, task),
        history=outcome.history,
        cost={**cost, **{f"{part}_examples": n for part, n in drawn.items()}, **sizes},
        run=job.path,
        candidates=candidates,
        front=front,
        weights=job.path / held.weights if held else None,
        test=held.test if held else {},
        ended_early=outcome.left > 0,
        limits=tuple(outcome.limits),
        comparison=comparison,
        data=job.data,
    )
    directory.write_result(
        {
            "architecture": result.text,
            "method": result.method,
            "space": result.space.name,
            "remarks": list(result.remarks),
            **({"explanation": outcome.explanation} if outcome.explanation else {}),
            "seed": job.settings.seed,
            "epochs": len(outcome.history),
            **({"ended_early": True} if result.ended_early else {}),
            **({"limits": list(result.limits)} if result.limits else {}),
            **({"failed_evaluations": failed} if failed else {}),
            **({"candidates": list(candidates)} if candidates else {}),
            **front,
            **(held.entries(task.metric) if held else {}),
            "split": split_sentence(job, outcome.history, measured=bool(held and held.test)),
            "cost": dict(result.cost),
            **({"comparison": comparison.written()} if comparison else {}),
        }
    )
    return result
