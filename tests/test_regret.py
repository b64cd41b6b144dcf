"""The experiment of regret against seconds: plans by timing, curves by hand, and one tiny run."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from morphogen import benchmarks
from morphogen.engine.record.pace import Pace
from morphogen.methods import find, methods
from morphogen.tasks.problem import Clock

ROOT = Path(__file__).parents[1]
CELLS = (
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("regret")


@pytest.fixture
def report(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Of which the results go elsewhere."""
    record = importlib.import_module("record")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    return importlib.import_module("regret_report")


def timed(script: ModuleType, name: str, budget: float, paces: dict[str, float]) -> dict:
    """The plan for a method of which a step of each phase takes so many seconds."""
    run = script.Run(
        find(name), script.spaces.make("nasbench201"), "fashion-mnist", budget / 60, 0, Path("x")
    )
    now = [0.0]
    meter = script.Meter(1e9)
    meter.pace = Pace(lambda: now[0])
    for phase, seconds in paces.items():
        for step in range(1, 4):
            now[0] += seconds
            meter.pace.at(Clock(0, 1, step, 100, phase))
    found: dict = script._evaluations(run, meter) if run.info.black_box else None
    return found if found else script._epochs(run, meter)


def test_a_budget_is_met_by_what_was_timed(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3,000 training images in batches of 64 are 46 steps; ten generations of fifty are 500.
    config = script.quick_preset(find("spos")).options
    scored = config.generations * config.population
    monkeypatch.setattr(script, "MARGIN", 1.0)
    plan = timed(script, "spos", 1000.0, {"supernet": 0.25, "evolution": 0.5})
    assert plan["epochs"] == int((1000 - 0.5 * scored) // (46 * 0.25))
    assert plan["steps_per_epoch"] == 0
    assert plan["fits"]
    # Where not even three epochs fit, they are shortened.
    plan = timed(script, "spos", 0.5 * scored + 9, {"supernet": 0.25, "evolution": 0.5})
    assert plan["epochs"] == script.FEWEST
    assert 8 <= plan["steps_per_epoch"] <= 12  # 9 s are 36 steps of a quarter of a second
    # The evolution alone takes longer than there is.
    assert not timed(script, "spos", 10.0, {"supernet": 0.25, "evolution": 5.0})["fits"]
    assert timed(script, "random", 60.0, {"search": 0.5})["evaluations"] == 120


def test_curves_are_of_what_would_be_delivered(report: ModuleType) -> None:
    def run(*ends: tuple[float, float]) -> dict:
        kept = [{"cpu_seconds": t, "accuracy": a, "rank": 1} for t, a in ends]
        return {"curve": kept, "plan": {"epochs": 3, "planned_cpu_seconds": 9}, "ended": "finished"}

    short = {0: run((10, 50.0), (50, 80.0)), 1: run((20, 60.0), (70, 99.0))}
    longer = {0: run((200, 90.0)), 1: run((100, 70.0), (290, 88.0))}
    curve = report.regret_curve({1.0: short, 5.0: longer}, 100.0)
    assert curve["seconds"][0] >= 20  # before, one of the seeds has nothing
    at = dict(zip(curve["seconds"], curve["regret"], strict=True))
    assert at[60.0] == pytest.approx(100 - (80 + 60) / 2)  # 99 came too late
    assert at[300.0] == pytest.approx(100 - (90 + 88) / 2)
    found = report.quality({1.0: {**short, 2: run((61, 99.0))}}, 100.0)["1"]
    assert found["nothing in time"] == [2]
    assert found["accuracy"]["mean"] == pytest.approx(70)


@pytest.mark.slow
def test_one_run_from_the_timing_to_the_page(
    script: ModuleType, report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    words = ["--small", "--spaces", "nasbench-macro", "--methods", "random"]
    monkeypatch.setattr(sys, "argv", ["regret.py", *words, "--runs", str(runs)])
    script.main()
    (kept,) = map(json.loads, (runs / "rows.jsonl").read_text().splitlines())
    assert (kept["space"], kept["method"], kept["seed"]) == ("nasbench-macro", "random", 0)
    last = kept["curve"][-1]
    table = benchmarks.load("nasbench-macro")
    assert last["accuracy"] == table.query(last["architecture"])["test_acc"]
    assert kept["plan"]["evaluations"] >= 2
    assert not list(runs.glob("*/*/*seed0"))  # the run directory is gone
    monkeypatch.setattr(sys, "argv", ["regret.py", "--report", "--runs", str(runs)])
    script.main()
    results = tmp_path / "results"
    assert (results / "regret-nasbench-macro.svg").read_text().count(">random<") >= 1
    page = importlib.import_module("budgets_page").page(results)
    assert "| `random` |" in page
    assert "Not run yet" not in page
    assert "Not run yet" in importlib.import_module("budgets_page").page(tmp_path)


def test_every_method_is_asked(script: ModuleType, tmp_path: Path) -> None:
    options = argparse.Namespace(
        seeds=[0], minutes=[1.0], spaces=["nasbench201"], methods=[], data="x", runs=tmp_path
    )
    assert {run.info.name for run in script.runs(options)} == set(methods())
