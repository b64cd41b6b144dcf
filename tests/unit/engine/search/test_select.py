"""`select` gives every gradient method another rule, on every space, and resumes."""

from __future__ import annotations

import pytest
import torch

import tiny
from morphogen.core import ConfigError, UnknownNameError
from morphogen.engine.search.loop import TIMES
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.select import Selecting
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.supernet import Inherited
from morphogen.methods import find, methods
from morphogen.spaces import make
from morphogen.tasks.problem import Clock

SELECT = tiny.changed(
    tiny.SETTINGS,
    epochs=1,
    evaluation_images=16,
    diagnostic_images=16,
    select="perturbed-accuracy",
)
RULES = ("perturbed-accuracy", "discretised-accuracy", "perturbed-zc", "discretised-zc")
ABLE = (
    "darts",
    "darts-prime",
    "dartsformer",
    "gdas",
    "idarts",
    "rl-darts",
    "sd-darts",
    "single-stage",
    "snas",
    "unas",
)


def run(method, path, space=None, **changes):
    watcher = changes.pop("watcher", tiny.Told)
    return search(
        tiny.config(method),
        space=space or tiny.own(),
        data=tiny.images(),
        settings=tiny.changed(SELECT, **changes),
        run=path,
        watcher=watcher,
    )


@pytest.mark.parametrize("method", ABLE)
def test_every_gradient_method_takes_it_on_a_users_own_module_and_resumes(method, tmp_path):
    whole = run(method, tmp_path / "whole")
    assert [row["phase"] for row in whole.history].index("select") == len(whole.history) - 1
    assert {w for rows in whole.history[-1]["gates"].values() for r in rows for w in r} == {0, 1}
    with pytest.raises(KeyboardInterrupt):
        run(method, tmp_path / "cut", watcher=tiny.Stop(steps=4))
    again = resume(tmp_path / "cut", space=tiny.own(), data=tiny.images())
    assert again.text == whole.text
    tiny.assert_same_run(again.run, whole.run)


@pytest.mark.parametrize(
    ("rule", "space"),
    [
        ("perturbed-zc", "nasbench201"),
        *(
            pytest.param(rule, space, marks=pytest.mark.slow)
            for rule in RULES
            for space in ("nasbench201", "nasbench-macro")
        ),
    ],
)
def test_every_rule_works(rule, space, tmp_path):
    found = run("darts", tmp_path / "run", space=space, select=rule, steps_per_epoch=1)
    assert make(space).parse(found.text) == found.architecture


def test_cells_of_nodes_are_decided_edge_by_edge_and_node_by_node(tmp_path):
    space = make("darts").restrict(
        {c.name: ["skip_connect", "max_pool_3x3"] for c in make("darts").choices}
    )
    found = run("darts", tmp_path / "run", space=space, depth=2, steps_per_epoch=1)
    assert sum(bool(kept) for kept in found.architecture.values()) == 16


def test_the_search_before_it_is_that_without_it(tmp_path):
    plain = run("darts", tmp_path / "plain", select="magnitude")
    other = run("darts", tmp_path / "other")
    without = {k: v for k, v in other.history[0].items() if k not in ("phase", *TIMES)}
    assert without == tiny.timeless(plain.history)[0]


def test_the_rule_decides_and_not_the_magnitude(monkeypatch):
    """The weakest option by alpha is the one that cannot be missed."""
    problem = tiny.problem(make("nasbench201"))
    method = Selecting(find("darts").build(tiny.config("darts")), SELECT)
    state = method.init(problem)
    with torch.no_grad():
        state.alphas[0].copy_(torch.arange(5.0).expand(6, 5))

    def under(net, gates):
        return Inherited(float(gates.weights["cell"][:, 1].count_nonzero()), 0.0)

    monkeypatch.setattr(state.evaluator, "under", under)
    assert set(method.derive(state, problem.space).values()) == {("avg_pool_3x3",)}
    for step in range(6):
        method.step(state, problem, Clock(0, 1, step, 6, "select"))
    assert set(method.derive(state, problem.space).values()) == {("skip_connect",)}


@pytest.mark.parametrize("method", [n for n in methods() if n not in ABLE])
def test_methods_without_gates_refuse_it(method, tmp_path):
    with pytest.raises(ConfigError, match="select is 'perturbed-accuracy', and method") as caught:
        run(method, tmp_path / "run")
    assert "accepted: magnitude, or one of the methods darts" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_proxy_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'nwot'"):
        run("darts", tmp_path / "run", select="perturbed-zc", evaluation_proxy="nwott")
    assert not (tmp_path / "run").exists()
    assert Settings().selection.rule == "magnitude"
