"""Evaluator proxy: scores of untrained networks, in a search as alone."""

from __future__ import annotations

import json
import math
import sqlite3

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from morphogen import Settings, proxies, search
from morphogen.cli import main
from morphogen.core import DataError, UnknownNameError
from morphogen.core.rng import seed_for
from morphogen.evaluators.proxy import ProxyEvaluator
from morphogen.methods.nsga2 import NSGA2Config
from morphogen.methods.random import RandomSearchConfig
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.supernets import NetworkSpec, network
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

SMALL = {
    "split": {"train_images": 60, "valid_images": 20},
    "task": {"image_size": 8},
    "network": {"channels": 4},
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def problem() -> Problem:
    task = ImageTask.of("fashion-mnist", train_images=60, valid_images=20, size=8, seed=3)
    spec = NetworkSpec(channels=4, depth=1, in_channels=1)
    return Problem(NASBench201(), task, spec, batch_size=8, seed=3)


def test_a_score_is_the_proxy_of_a_fresh_network_on_training_images(problem: Problem) -> None:
    """Step by step: weights of the seed and the architecture, images of the train part."""
    space = problem.space
    arch = space.sample(np.random.default_rng(0))
    torch.manual_seed(seed_for(3, f"proxies/weights/{space.format(arch)}"))
    net = network(space, arch, problem.spec).train()
    x, y, _ = proxies.batch_of(problem.task, 8, 3)
    norms = sum(
        float(g.norm())
        for m, g in (
            (m, torch.autograd.grad(F.cross_entropy(net(x), y), [m.weight], allow_unused=True)[0])
            for m in net.modules()
            if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)
        )
        if g is not None
    )
    assert ProxyEvaluator(problem, "grad_norm", 8)([arch]) == [pytest.approx(norms, rel=1e-5)]


def test_the_batch_is_of_the_train_part_without_augmentation(problem: Problem) -> None:
    x, y, _ = proxies.batch_of(problem.task, 8, 3)
    every, labels, _ = next(problem.task.once("train", 60))
    for image, label in zip(x, y, strict=True):
        same = [
            (image == other).all() and label == c for other, c in zip(every, labels, strict=True)
        ]
        assert any(same)
    with pytest.raises(DataError, match="61"):
        proxies.batch_of(problem.task, 61, 3)


def test_a_score_depends_on_seed_and_architecture_alone(problem: Problem) -> None:
    rng = np.random.default_rng(1)
    a, b = problem.space.sample(rng), problem.space.sample(rng)
    evaluate = ProxyEvaluator(problem, "zen", 8)
    torch.manual_seed(0)
    both = evaluate([a, b])
    torch.manual_seed(1)
    assert ProxyEvaluator(problem, "zen", 8)([b, a]) == both[::-1]
    other = Problem(problem.space, problem.task, problem.spec, batch_size=8, seed=4)
    assert ProxyEvaluator(other, "zen", 8)([a]) != both[:1]


def test_a_disconnected_cell_is_worst(problem: Problem) -> None:
    dead = problem.space.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    with pytest.raises(UnknownNameError, match="did you mean 'nwot'"):
        ProxyEvaluator(problem, "nwt", 8)
    for name in ("synflow", "jacob_cov", "nwot"):
        (score,) = ProxyEvaluator(problem, name, 8)([dead])
        alive = ProxyEvaluator(problem, name, 8)([problem.space.sample(np.random.default_rng(2))])
        assert score < alive[0]
    assert ProxyEvaluator(problem, "jacob_cov", 8)([dead]) == [-math.inf]


def test_a_search_by_a_proxy_records_it_by_its_name(tmp_path) -> None:
    settings = Settings(
        **SMALL, seed=1, evaluation={"evaluator": "proxy", "proxy": "synflow", "budget": 6}
    )
    result = search(RandomSearchConfig(), settings=settings, run=tmp_path / "run")
    rows = result.history
    assert all(row["proxy_synflow"] == row["score"] for row in rows)
    assert "accuracy" not in rows[0]
    best = max(rows, key=lambda row: row["score"])
    assert result.text == best["candidate"]
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "untrained networks" in written["split"]
    with sqlite3.connect(tmp_path / "run" / "evaluations.sqlite") as database:
        (text,) = database.execute("SELECT objectives FROM evaluations LIMIT 1").fetchone()
    database.close()
    assert list(json.loads(text)) == ["proxy_synflow"]


def test_a_proxy_can_be_weighed_against_a_cost(tmp_path, capsys) -> None:
    """Proxy params is to be large, the cost params small: two names, two directions."""
    settings = Settings(
        **SMALL,
        evaluation={
            "evaluator": "proxy",
            "proxy": "params",
            "objectives": "accuracy,params",
            "budget": 12,
        },
    )
    result = search(NSGA2Config(population=6), settings=settings, run=tmp_path / "run")
    front = result.candidates
    assert all(m["proxy_params"] == pytest.approx(m["params"] / 1e6) for m in front)
    every = {row["params"] for row in result.history}
    assert {m["params"] for m in front} == every  # neither is better in both
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    assert "zero-cost proxy params" in (tmp_path / "page.html").read_text()


def test_an_unknown_proxy_is_one_sentence(tmp_path, capsys) -> None:
    words = ["search", "random", "--evaluator", "proxy", "--evaluation-proxy", "snipp"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "unknown proxy 'snipp'; did you mean 'snip'?" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
