"""Searches under limits: what is said before they begin, refused, and kept in the end."""

from __future__ import annotations

import json

import pytest

import delivering
import tiny
from morphogen.cli import main
from morphogen.core import ConfigError
from morphogen.engine.search.search import resume, search
from morphogen.methods import _contract
from morphogen.supernets import NetworkSpec, network, space_of

SPEC = NetworkSpec(channels=2, depth=1, classes=4, in_channels=1)


@pytest.fixture(scope="module")
def every():
    """Parameters of all architectures of the toy module."""
    space = space_of(tiny.own())
    return sorted(
        sum(p.numel() for p in network(space, a, SPEC).parameters()) for a in space.enumerate()
    )


def limited(path, limit, method="random", watcher=None, **numbers):
    numbers = {"epochs": 1, "evaluations": 3, **numbers}
    settings = tiny.changed(tiny.SETTINGS, limit=limit, **numbers)
    return search(
        tiny.config(method),
        space=tiny.own(),
        data=tiny.images(),
        settings=settings,
        run=path,
        watcher=watcher or tiny.Told(),
    )


@pytest.mark.parametrize("method", ["random", "spos"])
def test_the_share_is_said_first_and_the_cost_stands_beside_the_limit(method, every, tmp_path):
    told, most = tiny.Told(), every[8]
    found = limited(tmp_path / "run", f"params<={most}", method, told)
    keep = sum(value <= most for value in every)
    assert told.notices[0].startswith(f"{keep} of the 18 architectures keep the limit")
    (kept,) = json.loads((found.run / "result.json").read_text())["limits"]
    own = sum(p.numel() for p in found.network().parameters())
    assert kept == {
        "limit": f"params<={most}",
        "cost": "params",
        "most": float(most),
        "value": float(own),
        "unit": "parameters",
        "kept": True,
    }
    again = resume(found.run, space=tiny.own(), data=tiny.images())
    assert again.limits == found.limits == (kept,)


def test_a_search_ends_when_it_has_all_that_keep_the_limit(every, tmp_path):
    """Without ten thousand questions for what it knows already."""
    found = limited(tmp_path / "run", f"params<={every[1]}", evaluations=9)
    keep = sum(value <= every[1] for value in every)
    assert len({row["candidate"] for row in found.history}) == len(found.history) == keep < 9


def test_a_limit_that_nothing_keeps_leaves_nothing_behind(every, tmp_path):
    with pytest.raises(ConfigError, match=f"the smallest has {every[0]:,} parameters; accepted: "):
        limited(tmp_path / "run", f"params<={every[0] - 1}")
    assert not (tmp_path / "run").exists()


def test_a_latency_is_timed_and_said_to_be(tmp_path):
    told = tiny.Told()
    found = limited(tmp_path / "run", "latency<=5s", watcher=told)
    assert "keep the limit latency<=5s, as timed now" in told.notices[0]
    (kept,) = found.limits
    assert kept["kept"]
    assert 0 < kept["value"] < 5000
    with pytest.raises(ConfigError, match=r"no architecture of .* keeps: .* a latency of .* ms"):
        limited(tmp_path / "other", "latency<=0.001us")


def test_a_delivered_network_has_what_the_limit_says(every, monkeypatch, tmp_path):
    info = delivering.info(limits=True)
    monkeypatch.setitem(_contract._REGISTRY, "pick", info)
    found = delivering.run(tmp_path / "run", epochs=1, limit=f"params<={every[5]}")
    (kept,) = found.limits
    assert kept["value"] == sum(p.numel() for p in found.network().parameters()) <= every[5]


@pytest.mark.slow
def test_the_command_line_says_both_in_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = ["--evaluator", "table", "--evaluations", "4", "--metric", "params"]
    words = ["search", "random", "--space", "nasbench-macro", *table]
    assert main([*words, "--limit", "params<=1"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no architecture of nasbench-macro keeps: the smallest has" in err
    assert main([*words, "--limit", "params<=1G"]) == 0
    out = capsys.readouterr().out
    assert "6,561 of the 6,561 architectures keep the limit params<=1G (100 %)" in out
    assert "Limits, and what the network found has: params<=1G: " in out
