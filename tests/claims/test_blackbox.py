"""Black-box searches whole: rounds, workers, kills, failures, several objectives, limits."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from fragile import Trap, fragile
from morphogen import OneOf, benchmarks, cost
from morphogen.core import ConfigError, MorphogenError, RunError
from morphogen.engine.search.resolve import resolved
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.executors.make import cores
from morphogen.methods import find
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec
from morphogen.tasks import Metric

BY_TABLE = tiny.changed(tiny.SETTINGS, evaluator="table", evaluations=24, round_size=4)


def run(path: Path, method: str = "random", **options):
    options = {"space": "nasbench201", "settings": BY_TABLE, **options}
    return search(method, data=tiny.images(), run=path, **options)


def evaluations(path: Path) -> list[tuple]:
    """Everything of the record that does not depend on time or worker."""
    with closing(sqlite3.connect(path / "evaluations.sqlite")) as database:
        return database.execute(
            "SELECT number, architecture, status, objectives, score FROM evaluations "
            "ORDER BY number"
        ).fetchall()


# -- rounds and workers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["random", pytest.param("aging-evolution", marks=pytest.mark.slow)]
)
def test_workers_find_what_one_process_finds(method, tmp_path):
    """Real trainings, in rounds of three: by one process and by two workers."""
    settings = tiny.changed(tiny.SETTINGS, evaluations=5, round_size=3)
    one = run(tmp_path / "one", method, space=tiny.own(), settings=settings)
    by_two = tiny.changed(settings, executor="processes", workers=2)
    two = run(tmp_path / "two", method, space=tiny.own(), settings=by_two)
    assert evaluations(one.run) == evaluations(two.run)
    assert one.architecture == two.architecture
    with closing(sqlite3.connect(two.run / "evaluations.sqlite")) as database:
        workers = {w for (w,) in database.execute("SELECT worker FROM evaluations")}
    assert workers
    assert all(w.startswith("process ") for w in workers)


def test_a_round_is_as_large_as_there_are_workers_unless_it_is_said():
    for given, expected in (
        ({"executor": "processes", "count": 3}, (3, 3)),
        ({"executor": "processes", "count": 3, "round_size": 8}, (3, 8)),
        ({"executor": "processes"}, (cores(), cores())),
        ({"executor": "local"}, (0, 0)),  # nothing that another machine would do otherwise
    ):
        made = resolved(
            find("random"),
            make("nasbench201"),
            Settings(workers=given, evaluation={"evaluator": "table"}),
            metric=Metric("accuracy", "%"),
        )
        assert (made.workers.count, made.workers.round_size) == expected


def test_the_size_of_a_round_does_not_change_what_random_search_draws(tmp_path):
    found = [
        evaluations(run(tmp_path / str(n), settings=tiny.changed(BY_TABLE, round_size=n)).run)
        for n in (1, 4, 24)
    ]
    assert found[0] == found[1] == found[2]


def go_on(path: str) -> None:
    """Start or resume; in a process that will be killed."""
    if (Path(path) / "config.yaml").exists():
        resume(path, space=tiny.own(), data=tiny.images())
        return
    settings = tiny.changed(
        tiny.SETTINGS, evaluations=9, round_size=5, executor="processes", workers=2
    )
    search("random", space=tiny.own(), data=tiny.images(), run=path, settings=settings)


def recorded(path: Path) -> dict[str, str]:
    """Architecture -> when it was evaluated, as far as it is on record now."""
    file = path / "evaluations.sqlite"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file, timeout=10)) as database:
        try:
            return dict(database.execute("SELECT architecture, finished FROM evaluations"))
        except sqlite3.OperationalError:  # it is only just made
            return {}


@pytest.mark.slow
def test_killed_in_the_middle_of_a_round_it_reuses_every_result_that_had_arrived(tmp_path):
    whole = run(
        tmp_path / "whole",
        space=tiny.own(),
        settings=tiny.changed(tiny.SETTINGS, evaluations=9, round_size=5),
    )
    path = tmp_path / "run"
    context = multiprocessing.get_context("spawn")
    kept: dict[str, str] = {}
    for least in (2, 7):  # in the first round and in the second
        process = context.Process(target=go_on, args=(str(path),))
        process.start()
        while process.is_alive() and len(recorded(path)) < least:
            time.sleep(0.005)
        process.kill()
        process.join()
        now = recorded(path)
        assert kept.items() <= now.items()
        kept = now
    assert len(kept) >= 7
    assert not (path / "result.json").exists()
    result = resume(path, space=tiny.own(), data=tiny.images())
    assert kept.items() <= recorded(path).items()  # none of them was done again
    assert evaluations(path) == evaluations(whole.run)
    assert result.architecture == whole.architecture


class Killer(tiny.Told):
    """Kills a worker whenever an evaluation has ended, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.others = {p.pid for p in multiprocessing.active_children()}
        self.left = 3

    def stepped(self, clock) -> None:
        workers = [p for p in multiprocessing.active_children() if p.pid not in self.others]
        if self.left and workers:
            self.left -= 1
            os.kill(workers[0].pid, signal.SIGKILL)


@pytest.mark.slow
def test_killed_workers_cost_nothing_but_time(tmp_path):
    settings = tiny.changed(tiny.SETTINGS, evaluations=6, round_size=6)
    whole = run(tmp_path / "whole", space=tiny.own(), settings=settings)
    killer = Killer()
    settings = tiny.changed(settings, executor="processes", workers=2, retries=3)
    result = run(tmp_path / "run", space=tiny.own(), settings=settings, watcher=killer)
    assert killer.left == 0
    assert evaluations(result.run) == evaluations(whole.run)


# -- evaluations that fail -------------------------------------------------------------------------


@pytest.mark.slow
def test_whatever_a_network_does_the_search_goes_on(tmp_path):
    """The whole space: a NaN, an exception, a hang, a kill, and two networks that work."""
    settings = tiny.changed(
        tiny.SETTINGS,
        evaluations=6,
        executor="processes",
        workers=2,
        round_size=6,
        timeout=8.0,
        retries=0,
    )
    module = fragile("nan", "fails", "hangs", "dies")
    result = run(tmp_path / "run", space=module, settings=settings)
    rows = {row["candidate"].removeprefix("block="): row for row in result.history}
    assert set(rows) == {"conv", "skip", "nan", "fails", "hangs", "dies"}
    assert "loss of nan" in rows["nan"]["failed"]
    assert rows["fails"]["failed"] == "RuntimeError: this layer is broken"
    assert rows["hangs"]["failed"] == "no result after 8 s"
    assert rows["dies"]["failed"] == "the worker process ended with signal SIGKILL"
    best = max(rows[name]["score"] for name in ("conv", "skip"))
    assert rows[result.text.removeprefix("block=")]["score"] == best  # they may be equally good
    written = json.loads((result.run / "result.json").read_text())
    assert written["failed_evaluations"] == 4
    again = resume(result.run, space=module, data=tiny.images())
    assert again.text == result.text


def test_a_failure_costs_one_more_attempt_in_this_process_too(tmp_path):
    settings = tiny.changed(tiny.SETTINGS, evaluations=3)
    result = run(tmp_path / "run", space=fragile("nan"), settings=settings)
    attempts = {row["candidate"]: row["attempts"] for row in result.history}
    assert attempts == {"block=conv": 1, "block=skip": 1, "block=nan": 2}


def test_when_nothing_works_it_says_why(tmp_path):
    module = fragile()
    module.stem = Trap("nan")
    module.head = torch.nn.Linear(1, tiny.CLASSES)
    module.block = OneOf({"one": torch.nn.Identity(), "two": torch.nn.Tanh()}, name="block")
    with pytest.raises(RunError, match=r"none of 2 architectures could be evaluated; .* loss of"):
        run(tmp_path / "run", space=module, settings=tiny.changed(tiny.SETTINGS, evaluations=2))


# -- several objectives, and limits ----------------------------------------------------------------


@pytest.fixture(scope="module")
def two_objectives(tmp_path_factory):
    settings = tiny.changed(BY_TABLE, objectives="accuracy,params", evaluations=40)
    return run(tmp_path_factory.mktemp("two") / "run", "nsga2", settings=settings)


def test_the_pareto_front_and_its_hypervolume_are_those_of_brute_force(two_objectives):
    written = json.loads((two_objectives.run / "result.json").read_text())
    points = [(row["accuracy"], row["params"]) for row in two_objectives.history]
    front = sorted(
        {p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)},
        reverse=True,
    )
    members = [(m["accuracy"], m["params"]) for m in written["candidates"]]
    assert sorted(set(members), reverse=True) == front
    assert members[0][0] == max(p[0] for p in points)
    reference = min(p[0] for p in points), max(p[1] for p in points)
    assert tuple(written["reference"].values()) == reference
    area, below = 0.0, reference[0]
    for accuracy, params in sorted(front):  # accuracy rises, parameters rise
        area += (accuracy - below) * (reference[1] - params)
        below = accuracy
    # each step adds the strip between two accuracies, up to the reference's parameters
    assert written["hypervolume"] == pytest.approx(area)
    assert two_objectives.front["hypervolume"] == written["hypervolume"]
    assert written["architecture"] == written["candidates"][0]["architecture"]


def test_costs_in_the_record_are_those_of_the_tables_networks(two_objectives):
    space, table = make("nasbench201"), benchmarks.load("nasbench201")
    for row in two_objectives.history[:3]:
        arch = space.parse(row["candidate"])
        assert row["params"] == cost.of(space, arch, NetworkSpec(channels=16, depth=5)).params
        assert row["accuracy"] == row["score"] == table.query(arch)["cifar10_valid_12"]


def test_a_search_with_several_objectives_resumes(two_objectives, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path / "run",
            "nsga2",
            settings=tiny.changed(BY_TABLE, objectives="accuracy,params", evaluations=40),
            watcher=tiny.Stop(epochs=17),
        )
    resume(tmp_path / "run", data=tiny.images())
    tiny.assert_same_run(tmp_path / "run", two_objectives.run)


@pytest.mark.parametrize("method", ["random", "aging-evolution", "local-search", "nsga2"])
def test_no_architecture_beyond_a_limit_is_ever_evaluated(method, tmp_path):
    table = benchmarks.load("nasbench-macro")
    most = float(np.quantile(table.values("params"), 0.3))
    settings = tiny.changed(
        BY_TABLE, metric="flops", limit=f"params<={most}", evaluations=30, round_size=3
    )
    result = run(tmp_path / "run", method, space="nasbench-macro", settings=settings)
    params = table.scores([row["candidate"] for row in result.history], "params")
    assert len(params) == 30
    assert params.max() <= most


# -- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "changes", "sentence"),
    [
        (
            "random",
            {"objectives": "accuracy,params"},
            "method 'random' optimises one objective, and objectives are 'accuracy,params'; ",
        ),
        ("darts", {"limit": "params<=1M"}, "limit is 'params<=1M', and 'darts' searches in a"),
        ("darts", {"executor": "processes"}, "executor is 'processes', and 'darts' searches in"),
        ("random", {"timeout": 3.0}, "timeout is 3 with executor 'local'"),
        ("random", {"executor": "processes", "devices": 2}, "devices is 2 with executor 'proc"),
        (
            "random",
            {"space": tiny.BARE, "evaluator": "training", "limit": "latency<=3"},
            "space 'bare' has no supernet",
        ),
        ("random", {"limit": "params<1M"}, "limit is 'params<1M'; accepted: COST<=NUMBER"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(method, changes, sentence, tmp_path):
    changes = dict(changes)
    space = changes.pop("space", "nasbench201")
    with pytest.raises(MorphogenError) as caught:
        run(tmp_path / "run", method, space=space, settings=tiny.changed(BY_TABLE, **changes))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_limit_that_nothing_keeps_is_said_in_a_sentence(tmp_path):
    settings = tiny.changed(BY_TABLE, metric="flops", limit="params<=1")
    with pytest.raises(ConfigError, match="the smallest has 387,882 parameters"):
        run(tmp_path / "run", space="nasbench-macro", settings=settings)


def test_ray_that_is_not_installed_is_asked_for(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "morphogen.evaluators.executors.cluster", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'morphogen\[ray\]'"):
        run(tmp_path / "run", settings=tiny.changed(BY_TABLE, executor="ray"))
    assert not (tmp_path / "run").exists()
