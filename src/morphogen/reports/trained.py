"""Figures of a training from scratch: curves of every seed, accuracy with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.reports.charts import Series, lines
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical

CURVES = (
    ("train_loss", "Training loss", "loss"),
    ("train_accuracy", "Accuracy on augmented training images", "accuracy, %"),
    ("held_out_accuracy", "Accuracy on held-out images", "accuracy, %"),
    ("lr", "Learning rate", "learning rate"),
)


def trained(run: Run, level: int) -> list[Html]:
    """A chart for each measure, a line in it for each seed."""
    seeds = sorted({row["seed"] for row in run.metrics if isinstance(row.get("seed"), int)})
    made = []
    for name, title, label in CURVES:
        series = [
            Series(f"seed {seed}", points, i % 8)
            for i, seed in enumerate(seeds)
            if (points := _points(run, name, seed))
        ]
        if not series:
            continue
        x = horizontal([a for s in series for a, _ in s.points], "epoch", whole=True)
        y = vertical([b for s in series for _, b in s.points], label)
        text = f"Training from scratch, {len(seeds)} seed{'s'[: len(seeds) != 1]}."
        made.append(lines(title, text, series, x, y, level=level))
    return made


def reached(run: Run, level: int) -> Html | None:
    """Accuracy on test and held-out images: mean, interval, each seed."""
    rows = []
    for name, title in (("test_accuracy", "test"), ("held_out_accuracy", "held out")):
        known = run.result.get(name)
        if isinstance(known, dict) and "mean" in known:
            values = known.get("values", [])
            each = ", ".join(f"{v:.2f}" for v in values)
            rows.append([title, f"{known['mean']:.2f}", _range(known), str(len(values)), each])
    if not rows:
        return None
    head = ["images", "mean accuracy, %", "95 % interval", "seeds", "each"]
    text = (
        "Each seed is a training from scratch. Held-out images chose the epoch, so that their "
        "figure is a little too good; the test images were opened once, at the end."
    )
    return join([el("p", {}, text), table("Accuracy reached", head, rows)])


def _range(known: Mapping[str, Any]) -> str:
    if "low" not in known:
        return "needs two seeds"
    return f"{known['low']:.2f} to {known['high']:.2f}"


def _points(run: Run, name: str, seed: int) -> list[tuple[float, float]]:
    return [
        (float(row["seed_epoch"]), float(row[name]))
        for row in run.metrics
        if row.get("seed") == seed
        and isinstance(row.get(name), int | float)
        and isinstance(row.get("seed_epoch"), int)
    ]
