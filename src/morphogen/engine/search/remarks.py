"""What a user should know of how a search ended, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen import benchmarks
from morphogen.core import Architecture
from morphogen.core.names import shell
from morphogen.engine.search.job import Job
from morphogen.engine.search.loop import Outcome
from morphogen.runs.described import Described
from morphogen.runs.tabled import metric_on
from morphogen.spaces import SearchSpace, Weighing


def remarks(
    job: Job, outcome: Outcome, config: Mapping[str, Any], task: Described
) -> tuple[str, ...]:
    """All that there are.

    Args:
        job: the search.
        outcome: how it ended.
        config: of its run.
        task: likewise.
    """
    held = outcome.delivered
    return (
        *interrupted(job.path, outcome),
        *exceeded(outcome.limits),
        *job.space.remarks(outcome.architecture),
        *(str(entry["note"]) for entry in config.get("extended", ())),
        *config.get("remarks", ()),
        *(() if held and isinstance(job.space, Weighing) else undecided(outcome.history)),
        *discretised(outcome.history, task),
        *unordered(outcome.history, task.examples),
        *lower_half(job.space, outcome.architecture, config),
        # Of classification alone: the losses of other tasks are no nats.
        *(memorised(outcome.history, task.examples) if task.classes else ()),
        *(held.remarks if held else ()),
    )


UNDECIDED = 0.98
"""Normalised entropy of the gates above which the strongest option hardly differs from the rest:
of five equal options but one, that one has a gate of 0.31 instead of 0.2."""


def undecided(history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence if the search ended with gates as good as uniform."""
    entropy = history[-1].get("entropy") if history else None
    if entropy is None or entropy < UNDECIDED:
        return ()
    return (
        f"the gates are undecided (normalised entropy {entropy:.3f}, where 1 is no preference at "
        "all): the choice rests on small differences, and another seed may choose otherwise; "
        "search for more epochs",
    )


WIDE = 10.0
"""Points of accuracy that a supernet may lose by its discretization before it is said."""


def discretised(history: Sequence[Mapping[str, Any]], task: Described) -> tuple[str, ...]:
    """A sentence if the supernet is much better than what was cut out of it.

    Args:
        history: lines of metrics.
        task: of a metric in percent; of others nobody knows what is much.
    """
    gap = task.gap(history[-1]) if history and task.unit == "%" else None
    if gap is None or gap <= WIDE:
        return ()
    return (
        f"the discretization gap is {gap:.1f} points: the supernet's {task.metric} is that much "
        "better than that of the network which the search delivers, so that what it optimised is "
        "not what you get",
    )


def unordered(history: Sequence[Mapping[str, Any]], examples: str = "examples") -> tuple[str, ...]:
    """A sentence if a supernet's scores order random architectures no better than chance.

    Args:
        history: lines of metrics.
        examples: what the task calls them.
    """
    row = next((row for row in reversed(history) if "agreement" in row), None)
    if row is None or row["agreement_low"] > 0:
        return ()
    low, high = row["agreement_low"], row["agreement_high"]
    return (
        "by its own scores the supernet's order is no better than chance: the scores of "
        f"{int(row['agreement_of'])} random architectures on one half of the search-validation "
        f"{examples} correlate with those on the other half by {row['agreement']:.2f} (95 % "
        f"interval {low:.2f} to {high:.2f}), so that which {examples} were drawn may have chosen "
        f"the architecture; train the supernet longer, or score on more {examples}",
    )


MEMORISED = 0.25
"""Nats of search-validation loss above the training loss from which on the supernet is said to know
its training examples by heart. Searches on thousands of augmented images end at 0.02 to 0.1; in
those of results/darts-pt-s4.json DARTS keeps noise on 3 to 7 of 16 edges when it is passed, 11
later."""


def memorised(history: Sequence[Mapping[str, Any]], examples: str = "examples") -> tuple[str, ...]:
    """A sentence if gates were trained by a supernet that fits its training examples too well.

    Args:
        history: lines of metrics.
        examples: what the task calls them.
    """
    last = history[-1] if history else {}
    train, valid = last.get("train_loss"), last.get("valid_loss")
    if "gates" not in last or train is None or valid is None or valid - train <= MEMORISED:
        return ()
    return (
        f"the supernet knows its training {examples} much better than the search-validation "
        f"{examples} (loss {train:.2f} against {valid:.2f}): gates then tend to drift to options "
        "that do little or harm, such as skip connections or noise; give it more training "
        f"{examples}, or fewer epochs",
    )


def lower_half(
    space: SearchSpace, arch: Architecture, config: Mapping[str, Any]
) -> tuple[str, ...]:
    """A sentence if a table has most architectures before this one.

    By its column of the run's own data, or else by those of all its data sets, if they agree.
    Looked up when the search is over; nothing of it goes back into one.
    """
    table = benchmarks.of(space)
    if table is None or arch not in table:
        return ()
    own = metric_on(table, config)
    names = [own] if own else table.final_metrics
    if any(2 * table.rank(arch, name) <= len(table) for name in names):
        return ()
    before, last = table.rank(arch, names[0]) - 1, table.metric(names[0])
    said = (
        f"the benchmark table of the space has {before:,} of its {len(table):,} architectures "
        f"before this one ({last.data} test {last.unit})"
    )
    if own:
        return (f"{said}: one drawn at random is likely to be better",)
    others = [table.metric(name).data for name in names[1:]]
    also = f", and most of them on {' and '.join(others)}, too" if others else ""
    return (
        f"{said}{also}: other data than these, but here, too, one drawn at random may well be "
        "better",
    )


def exceeded(limits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence for each limit that the network found exceeds: a latency, say, timed anew."""
    return tuple(
        f"the limit {kept['limit']} is not kept: measured when the search was over it is "
        f"{kept['value']:,.4g} ({kept['unit']})"
        for kept in limits
        if not kept["kept"]
    )


def interrupted(run: Path, outcome: Outcome) -> tuple[str, ...]:
    """A sentence if an interrupt has ended the search."""
    if not outcome.left:
        return ()
    done = len(outcome.history)
    return (
        f"the search was interrupted after {done} of {done + outcome.left} epochs: this is the "
        f"best so far, and `{shell('morphogen', 'resume', run)}` goes on",
    )
