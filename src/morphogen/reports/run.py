"""A run as a report sees it: what its directory holds, and short ways to ask for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

from morphogen import benchmarks, spaces
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ArchitectureError, MorphogenError
from morphogen.core.names import shell
from morphogen.reports.standing import standing
from morphogen.runs.described import TASK, TITLES, Described
from morphogen.runs.records import Comparison, comparison_of
from morphogen.runs.tabled import metric_on
from morphogen.spaces import ModuleSpace, SearchSpace, reference_of

State = Literal["finished", "ended early", "running", "cut off"]
"""Ended early: an interrupt has ended it with the best so far, as methods do that can."""


@dataclass(frozen=True)
class Run:
    """One run directory, read. Nothing in it is trusted to be well formed but the config."""

    path: str
    state: State
    config: Mapping[str, Any]
    """config.yaml."""
    metrics: Sequence[Mapping[str, Any]]
    """Lines of metrics: one per epoch, or one per architecture scored."""
    result: Mapping[str, Any]
    """result.json; empty if there is none."""
    faults: tuple[str, ...] = ()
    """What could not be read, a sentence each."""
    ranking: Mapping[str, Any] = field(default_factory=dict)
    """rank.json; empty if there is none."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """examples.json; empty if there is none."""

    # -- what was run ----------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.config["method"])

    @property
    def data(self) -> str:
        """The data's name or path; of a task from Python its name."""
        named = str(self.config["data"])
        task = self.config.get("task")
        return f"{task['name']} {named}" if named == TASK and task else named

    @property
    def settings(self) -> Mapping[str, Any]:
        """The search settings."""
        held: Mapping[str, Any] = self.config["settings"]
        return held

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.settings.get("seed", 0))

    @property
    def title(self) -> str:
        """`idarts in NAS-Bench-201`."""
        if self.training:
            return f"Training of an architecture of {self.space_title}"
        return f"{self.method} in {self.space_title}"

    @property
    def space_name(self) -> str:
        """The name of the space."""
        written = self.config["space"]
        return str(written.get("name", "")) if isinstance(written, dict) else str(written)

    @property
    def space_title(self) -> str:
        """The space as its paper calls it, or `a module of one's own`."""
        if isinstance(self.space, ModuleSpace):
            return "a module of one's own"
        known = spaces.about(self.space) if self.space else None
        if known is not None and known.table:
            return benchmarks.describe(known.table).title
        return f"the space {self.space_name}"

    @cached_property
    def space(self) -> SearchSpace | None:
        """The space that was searched, without code of the user's; None if it cannot be read."""
        try:
            return spaces.read(self.config["space"])
        except MorphogenError:
            return None

    @cached_property
    def table(self) -> Benchmark | None:
        """The benchmark table of the space, if one ships."""
        return benchmarks.of(self.space) if self.space else None

    # -- what came out ---------------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """Whether it is a training from scratch, and no search."""
        return self.method == "train"

    @property
    def black_box(self) -> bool:
        """Whether architectures were scored one by one, and no supernet was trained."""
        return any("candidate" in row for row in self.metrics)

    @property
    def unit(self) -> str:
        """What a line of metrics is about."""
        return "architecture" if self.black_box else "epoch"

    @property
    def text(self) -> str:
        """The architecture found, or the one of the last epoch; empty before the first."""
        last = self.metrics[-1].get("architecture", "") if self.metrics else ""
        return str(self.result.get("architecture") or last)

    @cached_property
    def task(self) -> Described:
        """What was to be learnt."""
        return Described.of(self.config)

    @cached_property
    def architecture(self) -> Architecture | None:
        """The same, read; None if there is none or its space is not known."""
        return self.read(self.text)

    def read(self, text: object) -> Architecture | None:
        """An architecture of this run's space, or None if it is none."""
        try:
            if self.space is None:
                return _by_names(str(text))
            return self.space.parse(str(text))
        except ArchitectureError:
            return None

    @cached_property
    def standing(self) -> dict[str, Any]:
        """What the table says on test data of the architecture; empty without a table."""
        table, arch = self.table, self.architecture
        if table is None or arch is None or arch not in table:
            return {}
        return standing(table, arch, table.final_metrics)

    @cached_property
    def headline(self) -> tuple[str, float, bool] | None:
        """Name, value and direction (whether higher is better) of the figure to compare by.

        Of a training the mean of its metric on the test part, else on the held-out part; of a
        search that delivers a network what that reaches on the test part. Of another search that
        of the training of what it found, if that was compared; else the table's test figure if the
        table is of the run's own data; else the last recalibrated metric on the search-validation
        part; without that the best score.
        """
        if self.training or self.reached:
            return self._reached()
        if self.comparison is not None:
            reached, unit = self.comparison.reached, f" in {self.task.unit}" * bool(self.task.unit)
            what = f"{self.comparison.metric}{unit}, trained from scratch, {_seeds(reached.n)}"
            return what, reached.mean, self.task.higher_is_better
        classified = self.task.classes or "task" not in self.config  # as tables are
        name = self.own_metric
        if name and self.standing and self.table and classified:
            v = self.standing[name]
            return f"{v['data']} test {v['unit']}, from the table", v["value"], self._higher(name)
        task = self.task
        for measure in (f"recalibrated_{task.metric}", f"discrete_{task.metric}"):
            known = self.series(measure)
            if known:
                unit = f" in {task.unit}" * bool(task.unit)
                words = f"{measure.replace('_', ' ')}{unit} on the search-validation part"
                return words, known[-1][1], task.higher_is_better
        scores = [v for _, v in self.series("score")]
        if not scores:
            return None
        if self.judged:
            unit = f" in {task.unit}" * bool(task.unit)
            return f"best {task.spelt}{unit}", task.sign * max(scores), task.higher_is_better
        return "best score", max(scores), True

    @property
    def reached(self) -> dict[str, Mapping[str, Any]]:
        """What trained networks reach, by part, see `Described.reached`."""
        return self.task.reached(self.result)

    @property
    def judged(self) -> bool:
        """Whether scores are the task's metric, less a minus where less of it is better."""
        first = str(self.settings.get("evaluation", {}).get("objectives", "")).partition(",")[0]
        return self.settings.get("evaluation", {}).get("evaluator", "") in (
            "training",
            "supernet",
        ) and first in ("", self.task.metric)

    def _reached(self) -> tuple[str, float, bool] | None:
        task = self.task
        for part, known in self.reached.items():
            seeds, unit = _seeds(int(known["n"])), f" in {task.unit}" * bool(task.unit)
            what = f"{TITLES[part].lower()} {task.spelt}{unit}, {seeds}"
            return what, float(known["mean"]), task.higher_is_better
        return None

    @property
    def main_metric(self) -> str:
        """The table's test column on the run's data; if it is of others, its first."""
        return self.own_metric or next(iter(self.standing))

    @cached_property
    def own_metric(self) -> str | None:
        """The same, None if the table is of other data than the run."""
        return metric_on(self.table, self.config) if self.table else None

    @property
    def spread(self) -> tuple[int, tuple[float, float] | None]:
        """Seeds behind the headline, and its 95 % interval where there are several."""
        if not self.reached and self.comparison is not None:
            reached = self.comparison.reached
            if reached.low is None or reached.high is None:
                return reached.n, None
            return reached.n, (reached.low, reached.high)
        known = next(iter(self.reached.values()), {})
        ends = (float(known["low"]), float(known["high"])) if "low" in known else None
        return int(known.get("n", 1)), ends

    @cached_property
    def comparison(self) -> Comparison | None:
        """With what asks for no search, trained by one recipe; None: with nothing."""
        return comparison_of(self.result)

    @property
    def trained(self) -> bool:
        """Whether the headline is of networks that were trained, and no search's own."""
        return self.training or bool(self.reached) or self.comparison is not None

    @property
    def compared(self) -> str:
        """Whether it has paid, without a full stop: the comparison, or the way to have one."""
        if self.comparison is not None:
            return f"Compared {self.comparison.sentence}"
        command, does = self.to_compare
        return f"{self.uncompared}: `{command}` {does}"

    @property
    def explanation(self) -> str:
        """Why the search has ended as it has, without a full stop; empty: nothing is said of it."""
        return str(self.result.get("explanation", ""))

    @property
    def uncompared(self) -> str:
        """What is said where there was no comparison, without a full stop."""
        reference = reference_of(self.space) if self.space else None
        if reference and reference.architecture == self.architecture:
            return f"It is the reference itself ({reference.name}), which nobody searched"
        return "Not compared with anything"

    @property
    def to_compare(self) -> tuple[str, str]:
        """The command that compares, and what it does."""
        reference = reference_of(self.space) if self.space else None
        itself = reference and reference.architecture == self.architecture
        named = f", the reference ({reference.name})" if reference and not itself else ""
        command = shell("morphogen", "train", self.path, "--baseline")
        if spaces.needs_code(self.config["space"]):
            command = "result.train(baseline=True)"
        return command, (
            f"trains it{named} and a random architecture by the same recipe, and says whether it "
            "is better"
        )

    def _higher(self, metric: str) -> bool:
        return bool(self.table and self.table.metric(metric).higher_is_better)

    def series(self, name: str) -> list[tuple[float, float]]:
        """(epoch, value) of an entry of the metrics, where it is a finite number."""
        return [
            (float(i), float(row[name]))
            for i, row in enumerate(self.metrics, start=1)
            if isinstance(row.get(name), int | float) and math.isfinite(row[name])
        ]

    @property
    def phases(self) -> list[tuple[str, int, int]]:
        """Name, first epoch and epochs of each phase, in order; none if the search has but one."""
        names = [str(row.get("phase", "")) for row in self.metrics]
        found, first = [], 1
        for name, group in groupby(names):
            found.append((name, first, length := len(list(group))))
            first += length
        return found if len(found) > 1 else []

    def spent(self, name: str) -> float:
        """`seconds` or `cpu_seconds` of the whole search; of an unfinished one, of its lines."""
        written = self.result.get("cost")
        whole = written.get(name) if isinstance(written, dict) else None
        lines = sum(value for _, value in self.series(name))
        return float(whole) if isinstance(whole, int | float) else lines


def _seeds(count: int) -> str:
    return f"{count} seed{'s'[: count != 1]}"


def _by_names(text: str) -> Architecture | None:
    """`choice=option;choice=a+b`, the notation of spaces without one of their own."""
    kept = dict(part.partition("=")[::2] for part in text.split(";") if "=" in part)
    if not kept:
        return None
    return Architecture({k.strip(): [o for o in v.split("+") if o] for k, v in kept.items()})
