"""The experiment with RL-DARTS: what its report says of rows made by hand."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Of which the results go elsewhere."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(importlib.import_module("record"), "RESULTS", tmp_path / "results")
    return importlib.import_module("rl_darts")


def row(variant: str, seed: int, late: float, **more: Any) -> dict[str, Any]:
    return {
        "game": "breakout",
        "variant": variant,
        "seed": seed,
        "architecture": "a cell",
        "curve": [None, 0.5, 3.5, late],
        "late": late,
        "first": 0.5,
        "frames": 8192,
        "cpu_seconds": 4.0,
        **more,
    }


def rows(noise: float = 0.1) -> list[dict[str, Any]]:
    found = []
    for seed, cell, drawn in ((0, 6.0, (5.0, 1.0, 4.0)), (1, 8.0, (9.0, 5.0, 2.0))):
        gates = {"weight_none": [0.2, 0.15], "weight_relu": [0.2, 0.3]}
        search = {"entropy": [1.0, 0.98], "margin": [0.0, 0.01], "weights": gates}
        found.append(row("supernet", seed, 7.0, **search))
        sizes = {"params": 10, "macs": 20}
        found.append(row("cell", seed, cell, test=cell + 1, **sizes))
        found.append(row("impala-cnn", seed, 6.5, test=6.5, **sizes))
        for number, value in enumerate(drawn, start=1):
            found.append(row(f"random {number}", seed, value, test=value, **sizes))
        poison = {**gates, "weight_noise": [0.2, noise]}
        found.append(row("poisoned", seed, 0.6, **{**search, "weights": poison}))
    return found


def test_differences_are_of_the_same_seed_and_the_median_cell(script: ModuleType) -> None:
    """Medians 4 and 5: 6 - 4 and 8 - 5; beside the IMPALA-CNN 6 - 6.5 and 8 - 6.5."""
    found = script.differences(rows())
    assert found["late: cell minus the median random cell"]["mean"] == pytest.approx(2.5)
    assert found["late: cell minus the IMPALA-CNN"]["mean"] == pytest.approx(0.5)
    assert found["test: cell minus the median random cell"]["mean"] == pytest.approx(3.5)
    less = [r for r in rows() if (r["variant"], r["seed"]) != ("random 2", 1)]
    assert script.differences(less)["late: cell minus the IMPALA-CNN"]["n"] == 1


def test_claims_are_what_the_rows_say(script: ModuleType) -> None:
    assert all(script.claims(rows()).values())
    told = script.claims(rows(noise=0.16))  # more than none has
    assert [claim for claim, held in told.items() if not held] == [
        "noise among the operations has the smallest weight of all"
    ]
    weak = [r | {"late": 4.0} if r["variant"] == "cell" else r for r in rows()]
    assert not script.claims(weak)[
        "the cell trains to 80 % of the supernet's return, on average of each game"
    ]


def test_returns_are_means_over_episodes(script: ModuleType) -> None:
    told = [{"train_return": float(i), "train_episodes": 1 + (i == 19)} for i in range(20)]
    found = script.curves([{}, *told[1:]])
    assert found["late"] == pytest.approx((18 + 2 * 19) / 3)
    assert found["first"] == 1.0  # of the first two epochs only one had an episode that ended
    assert found["curve"][0] is None


def test_the_report_is_written_of_what_there_is(script: ModuleType, tmp_path: Path) -> None:
    script.report(rows())
    held = json.loads((tmp_path / "results" / "rl-darts.json").read_text())
    assert held["verdict"] == "shown"
    assert held["headline"] == (
        "breakout: supernet 7.0, cell 7.0, impala-cnn 6.5, median random cell 4.5"
    )
    assert held["seeds"] == [0, 1]
    assert held["cost"] == {"cpu_seconds": 56, "frames": 14 * 8192, "threads": 1}


def test_cells_drawn_at_random_follow_the_seed_and_small_games_are_short(
    script: ModuleType,
) -> None:
    assert script.random_cells("breakout", 0) == script.random_cells("breakout", 0)
    assert len({*script.random_cells("breakout", 0), *script.random_cells("breakout", 1)}) == 6
    game = script.game_of("starpilot", argparse.Namespace(small=True))
    assert (game.frames, game.epochs, game.task["side"]) == (256, 2, 32)
    whole = script.game_of("starpilot", argparse.Namespace(small=False))
    assert whole.frames * whole.epochs == 327_680
