"""What reports know of a task: from config.yaml alone."""

from __future__ import annotations

import pytest

from morphogen.runs.described import Described, a
from morphogen.runs.records import Trained
from morphogen.tasks import Metric

ERROR = {"name": "mae", "unit": "m/s", "higher_is_better": False}
LESS = Described.of({"task": {"metric": ERROR, "examples": "signals", "name": "wind"}})
USUAL = Described.of({})


def test_a_metric_in_words() -> None:
    assert (USUAL.label, USUAL.value(93.456), USUAL.one) == ("accuracy, %", "93.46 %", "image")
    assert (LESS.label, LESS.value(0.0123456), LESS.one) == ("mae, m/s", "0.01235 m/s", "signal")
    assert (LESS.signed(-0.5), LESS.signed(2.0)) == ("-0.5", "+2")
    assert (a("image"), a("signal")) == ("an image", "a signal")


def test_the_best_is_the_least_where_less_is_better() -> None:
    values = [3.0, 1.0, 2.0]
    assert (USUAL.best(values), LESS.best(values)) == (0, 1)
    held = Metric("mae", higher_is_better=False)
    assert max(values, key=held.score) == values[LESS.best(values)]


REACHED = {"mean": 2.0, "n": 1, "values": [2.0]}
RESULT = {
    **{"architecture": "a=b", "method": "train", "space": "own", "seed": 0, "epochs": 1},
    **{"remarks": [], "split": "all", "seeds": 1, "test_openings": []},
    "weights": ["seed-0-best.safetensors"],
    "cost": {"seconds": 1.0, "cpu_seconds": 1.0, "params": 1, "macs": 1, "train_examples": 1},
}


def test_what_was_reached_goes_by_the_metric() -> None:
    result = RESULT | {"test_mae": REACHED, "held_out_mae": None}
    assert LESS.reached(result) == {"test": REACHED}
    assert Trained.model_validate(result)
    for wrong in (
        {"test_mae": None, "held_out_mae": None},
        {"test_mae": REACHED, "held_out_accuracy": None},
        {"test_mae": REACHED | {"n": 2}, "held_out_mae": None},
    ):
        with pytest.raises(ValueError, match=r"metric|for each seed"):
            Trained.model_validate(RESULT | wrong)
