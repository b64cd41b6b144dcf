"""A training beside what asks for no search: the space's reference and a random architecture.

All are trained by one recipe, on the same examples and with the same seeds, each in a run directory
of its own inside that of the training; the difference is told with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from morphogen import spaces
from morphogen.core import Architecture, MorphogenError, SpaceError
from morphogen.core.rng import numpy_stream
from morphogen.core.statistics import contrast
from morphogen.engine.record.watch import Watcher
from morphogen.engine.train.trained import TrainResult
from morphogen.engine.train.trainjob import TrainJob
from morphogen.runs.described import TITLES, Described
from morphogen.runs.directory import RunDirectory
from morphogen.runs.records import Comparison
from morphogen.runs.verdict import ITSELF, Verdict
from morphogen.spaces import Constrained, Reference, SearchSpace, reference_of

SEEDS = 3
"""Trainings of each, where nothing else is asked for."""

DRAWS = 100
"""Draws of a random architecture that is none of the others."""


@dataclass(frozen=True)
class Opponent:
    """An architecture with which what was found is compared."""

    against: str
    """What it is, in words: `the reference (ResNet)`."""
    folder: str
    """Of its training, in the run directory."""
    architecture: Architecture
    space: SearchSpace

    def recorded(self, of: SearchSpace) -> dict[str, Any]:
        """Entry of config.yaml; the space is said where it is not the training's own."""
        own = {} if self.space == of else {"space": self.space.to_mapping()}
        text = self.space.format(self.architecture)
        return {"against": self.against, "folder": self.folder, "architecture": text, **own}

    @classmethod
    def read(cls, written: Mapping[str, Any], of: SearchSpace) -> Opponent:
        """Read back from config.yaml."""
        space = spaces.read(written["space"]) if "space" in written else of
        arch = space.parse(written["architecture"])
        return cls(written["against"], written["folder"], arch, space)


def opponents(
    space: SearchSpace, arch: Architecture, seed: int, within: SearchSpace | None = None
) -> tuple[Opponent, ...]:
    """The space's reference, if it has one, and an architecture drawn at random.

    Args:
        space: of the architecture.
        arch: which is compared.
        seed: of the draw, together with the architecture.
        within: the space as it was searched, with its limits, from which is drawn.
    """
    found = []
    reference = reference_of(space)
    if reference is not None:
        name = f"the reference ({reference.name}{_beyond(reference, within)})"
        found.append(Opponent(name, "reference", reference.architecture, reference.space))
    known = [arch, *(opponent.architecture for opponent in found)]
    rng = numpy_stream(seed, f"baseline/{space.format(arch)}")
    try:
        draws = ((within or space).sample(rng) for _ in range(DRAWS))
        drawn = next((other for other in draws if other not in known), None)
    except SpaceError:  # limits that almost nothing keeps
        drawn = None
    if drawn is not None:
        found.append(Opponent("a random architecture", "random", drawn, space))
    return tuple(found)


def _beyond(reference: Reference, within: SearchSpace | None) -> str:
    """What is said of a reference that breaks the limits of the search."""
    if not isinstance(within, Constrained):
        return ""
    try:
        kept = within.allows(reference.architecture)
    except MorphogenError:  # of the whole space, of which the search left options out
        return ""
    return "" if kept else f", beyond the limit {within.words}"


def compared(
    job: TrainJob, found: TrainResult, fight: Callable[[TrainJob, Opponent], TrainResult]
) -> TrainResult:
    """Train the opponents that config.yaml lists, and write what the comparison says.

    Args:
        job: the training of what was found.
        found: its result.
        fight: trains an opponent by the job's recipe, or goes on with it.
    """
    directory = RunDirectory(job.path)
    listed = directory.config().get("opponents")
    if listed is None or found.comparison is not None:
        return found
    others = [Opponent.read(entry, job.space) for entry in listed]
    with directory.locked():
        trained = [
            None if other.architecture == found.architecture else fight(job, other)
            for other in others
        ]
        comparison = of_trainings(found, list(zip(others, trained, strict=True)))
        written = directory.result() or {}
        directory.write_result({**written, "comparison": comparison.written()})
    return replace(found, comparison=comparison)


def of_trainings(
    found: TrainResult, others: Sequence[tuple[Opponent, TrainResult | None]]
) -> Comparison:
    """What trainings with the same seeds say of what was found against each of the others.

    Args:
        found: what was found, trained.
        others: with what it is compared; None: with itself.
    """
    directory = RunDirectory(found.run)
    task = Described.of(directory.config())
    part, reached = next(iter(task.reached(directory.result() or {}).items()))
    values = [list(reached["values"])]
    values += [_values(other, task, part) for _, other in others if other is not None]
    rows: Iterator[int] = iter(range(1, len(values)))
    metric = f"{TITLES[part].lower()} {task.metric}"
    verdicts = [
        Verdict.of(
            ITSELF if other is None else contrast(values, 0, next(rows)),
            against=opponent.against,
            metric=metric,
            unit=task.unit,
            higher_is_better=task.higher_is_better,
        )
        for opponent, other in others
    ]
    return Comparison.model_validate(
        {"training": ".", "metric": metric, "reached": reached}
        | {"verdicts": [verdict.model_dump() for verdict in verdicts]}
    )


def _values(other: TrainResult, task: Described, part: str) -> list[float]:
    reached = task.reached(RunDirectory(other.run).result() or {})
    return list(reached[part]["values"])


def announced(make: Callable[[], Watcher], sentence: str) -> Callable[[], Watcher]:
    """A watcher that is told first what begins."""

    def made() -> Watcher:
        watcher = make()
        watcher.notice(sentence)
        return watcher

    return made
