"""Runs that belong together: all that differ in their seed alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from morphogen.reports.measures import Measure, listed, measured, seeds
from morphogen.reports.run import Run

STYLES = 8
"""Colours there are; further groups begin again."""

FEW = 2
"""Settings that a name tells; where more differ, the run's own name does."""

SHORT = 24
"""Signs of a setting that fits into a name."""

HARMLESS = ("settings.seed", "settings.loggers")
"""Settings of which no number depends but by the seed."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    """Of one training that of its run directory; of searches the method's, with what differs."""
    runs: Sequence[Run]
    names: Sequence[str]
    """Of the runs."""
    style: int
    different: Mapping[str, Any]
    """Settings in which it differs from other groups, and their values."""

    @cached_property
    def values(self) -> dict[Measure, dict[int, float]]:
        """Figures of the finished runs by seed; of a seed that is there twice, the first run's."""
        found: dict[Measure, dict[int, float]] = {}
        for run in self.runs:
            for measure, by in measured(run).items():
                known = found.setdefault(measure, {})
                known.update({s: v for s, v in by.items() if s not in known})
        return found

    @cached_property
    def listed(self) -> dict[Measure, float]:
        """What a table says of the architecture that was trained; empty for searches."""
        return {measure: value for run in self.runs for measure, value in listed(run).items()}

    @cached_property
    def seeds(self) -> list[int]:
        """Of the finished runs, in order, each once."""
        return sorted({s for run in self.runs if run.state == "finished" for s in seeds(run)})

    @property
    def repeated(self) -> list[int]:
        """Seeds that more than one finished run has."""
        every = [s for run in self.runs if run.state == "finished" for s in seeds(run)]
        return sorted({s for s in every if every.count(s) > 1})

    def spent(self, name: str) -> float:
        """`seconds` or `cpu_seconds`, mean over the seeds of all runs."""
        return sum(r.spent(name) for r in self.runs) / sum(len(seeds(r)) for r in self.runs)


def names(runs: Sequence[Run]) -> list[str]:
    """Of each run the name of its directory, with so many folders before it that none is twice."""
    parts = [Path(os.path.abspath(run.path)).parts for run in runs]

    def tail(i: int) -> str:
        for n in range(1, len(parts[i])):
            if sum(p[-n:] == parts[i][-n:] for p in parts) == 1:
                return os.path.join(*parts[i][-n:])
        return runs[i].path

    return [tail(i) for i in range(len(runs))]


def groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by all that decides their numbers but the seed."""
    decided, named = [_decisive(run) for run in runs], names(runs)
    members: dict[tuple[str, ...], list[int]] = {}
    for i, values in enumerate(decided):
        members.setdefault(tuple(f"{k}={v}" for k, v in values.items()), []).append(i)
    made: list[Group] = []
    for n, indices in enumerate(members.values()):
        run, own = runs[indices[0]], decided[indices[0]]
        others = [d for d, r in zip(decided, runs, strict=True) if r.method == run.method]
        differ = {k: v for k, v in own.items() if any(o.get(k, v) != v for o in others)}
        mine = [named[i] for i in indices]
        name = _name(run, mine, differ)
        if name in [g.name for g in made]:
            name = f"{run.method} ({mine[0]})"
        made.append(Group(name, [runs[i] for i in indices], mine, n % STYLES, differ))
    return made


def _name(run: Run, names: Sequence[str], differ: Mapping[str, Any]) -> str:
    if run.training:
        return " + ".join(names)
    if not differ:
        return run.method
    if len(differ) <= FEW and all(len(str(v)) <= SHORT for v in differ.values()):
        told = ", ".join(f"{plain(k)} {v}" for k, v in differ.items())
        return f"{run.method} ({told})"
    return f"{run.method} ({names[0]}{' and others' if len(names) > 1 else ''})"


def plain(setting: str) -> str:
    """A setting's path without the part of the file that it stands in."""
    return setting.split(".", 1)[-1]


def _decisive(run: Run) -> dict[str, Any]:
    """All that decides a run's numbers, without the seed, flat."""
    kept = {k: run.config[k] for k in ("method", "space", "data", "settings", "config")}
    flat = dict(_flat(kept))
    for name in (*HARMLESS, *(["settings.seeds"] if run.training else [])):
        flat.pop(name, None)
    return flat


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{key}.")
        else:
            out.append((f"{prefix}{key}", value))
    return out
