"""Figures of a training from scratch: curves of every seed, the metric with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.reports.charts import Series, lines
from morphogen.reports.gathered import learning_curves, own
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical
from morphogen.runs.described import TITLES, Described, title


def _curves(task: Described) -> list[tuple[str, str, str]]:
    """Entry of the metrics, title and axis of each chart."""
    metric = title(task.spelt)
    return [
        ("train_loss", "Training loss", "loss"),
        (f"train_{task.metric}", f"{metric} on training {task.examples}, as trained", task.label),
        (f"held_out_{task.metric}", f"{metric} on held-out {task.examples}", task.label),
        ("lr", "Learning rate", "learning rate"),
    ]


def trained(run: Run, level: int) -> list[Html]:
    """A chart for each measure, a line in it for each seed."""
    seeds = sorted({row["seed"] for row in run.metrics if isinstance(row.get("seed"), int)})
    learnt = learning_curves([("mean over seeds", 0, [run])], level)
    made = [] if learnt is None else [learnt]
    for name, heading, label in _curves(run.task):
        if name in own(run.task):
            continue
        series = [
            Series(f"seed {seed}", found, i % 8)
            for i, seed in enumerate(seeds)
            if (found := points(run, name, seed))
        ]
        if not series:
            continue
        x = horizontal([a for s in series for a, _ in s.points], "epoch", whole=True)
        y = vertical([b for s in series for _, b in s.points], label)
        text = f"Training from scratch, {len(seeds)} seed{'s'[: len(seeds) != 1]}."
        made.append(lines(heading, text, series, x, y, level=level))
    return made


def reached(run: Run, level: int) -> Html | None:
    """The metric on test and held-out examples: mean, interval, each seed."""
    rows, task = [], run.task
    for part, known in run.reached.items():
        values = known["values"]
        each = ", ".join(map(task.number, values))
        mean = task.number(known["mean"])
        rows.append([TITLES[part].lower(), mean, _range(known, task), str(len(values)), each])
    if not rows:
        return None
    head = [task.examples, f"mean {task.label}", "95 % interval", "seeds", "each"]
    opened = f"he test {task.examples} were opened once, at the end."
    text = f"Each seed is a training from scratch. T{opened}"
    if "held_out" in run.reached:
        text = (
            f"Each seed is a training from scratch. Held-out {task.examples} chose the epoch, so "
            f"that their figure is a little too good; t{opened}"
        )
    if not run.training:
        text = (
            f"The trained network that the search delivers, of one seed. The test {task.examples} "
            "were opened after the search, to measure it; the interval is what their number "
            "allows, and says nothing of what another seed would reach."
        )
    made = [el("p", {}, text), table(f"{title(task.spelt)} reached", head, rows, cards=True)]
    others = [
        [
            f"{figure.label}",
            TITLES[part].lower(),
            figure.number(held["mean"]),
            _range(held, figure),
            ", ".join(map(figure.number, held["values"])),
            how,
        ]
        for part, figure, held, how in task.figures(run.result)
    ]
    if others:
        heads = ["figure", task.examples, "mean", "95 % interval", "each", "how"]
        made.append(table("Reached by finished networks", heads, others, cards=True))
    return join(made)


def _range(known: Mapping[str, Any], task: Described) -> str:
    if "low" not in known:
        return "not known" if known.get("examples") else "needs two seeds"
    return f"{task.number(known['low'])} to {task.number(known['high'])}"


def points(run: Run, name: str, seed: int) -> list[tuple[float, float]]:
    """(epoch, value) of an entry of the metrics, of the training with this seed."""
    return [
        (float(row["seed_epoch"]), float(row[name]))
        for row in run.metrics
        if row.get("seed") == seed
        and isinstance(row.get(name), int | float)
        and isinstance(row.get("seed_epoch"), int)
    ]
