"""A task of a user's own is searched by all families, trained, reported, exported and resumed."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss, mean_absolute_error
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import forked
import morphogen
import own_tasks as own
import tiny
from morphogen.core import ConfigError, MorphogenError, RunError, SpaceError
from morphogen.engine.record.watch import Silent
from morphogen.reports.reading import read_run
from morphogen.supernets.nested import call, mapped, tensors_of


def outputs(task: morphogen.Task, net: nn.Module) -> tuple[Any, Any]:
    """Of a network on the test part, in one batch of our own, with the targets; as arrays."""
    data = task._test
    collate = task._collate or torch.utils.data.default_collate
    x, y = collate([data[i] for i in range(len(data))])
    with torch.no_grad():
        given = call(net, tuple(x) if isinstance(x, list) else x)
    return mapped(Tensor.numpy, given), mapped(Tensor.numpy, y)


BY_HAND: dict[str, Any] = {
    "table": lambda o, y: 100 * mean_absolute_error(y, o),
    "sequences": lambda o, y: 100 * np.mean(o.argmax(1) == y),
    "signals": lambda o, y: np.abs(o - y).mean(),
    "two inputs": lambda o, y: ((o - y) ** 2).mean(),
    "two outputs": lambda o, y: (
        ((o["number"] - y["number"]) ** 2).mean() + log_loss(y["sign"], softmax(o["sign"], axis=1))
    ),
    "labels": lambda o, y: 100 * f1_score(y, o > 0, average="micro"),
}


@pytest.mark.parametrize("kind", own.TASKS)
def test_searched_trained_measured_and_exported(kind: str, tmp_path: Path) -> None:
    found = own.search("gdas", kind, tmp_path / "run", epochs=1)
    task = own.TASKS[kind][0]()
    trained = found.train(morphogen.Training(epochs=1, **own.TRAINING), run=tmp_path / "trained")
    given, y = outputs(task, trained.network())
    assert trained.test["mean"] == pytest.approx(BY_HAND[kind](given, y), rel=1e-4)

    config = yaml.safe_load((tmp_path / "trained" / "config.yaml").read_text())
    assert config["data"] == "(a task passed from Python)"
    assert config["task"]["metric"] == task.metric.describe()
    for result in (found, trained):
        text = re.sub(
            r"<(style|script|pre).*?</\1>", "", result.report().path.read_text(), flags=re.S
        )
        words = re.findall(r"\b(?:images?|classes|accurac\w+)\b", re.sub(r"<[^>]*>", " ", text))
        assert set(map(str.lower, words)) <= ({"accuracy"} if kind == "sequences" else set())
        assert task.metric.name in text

    (file,) = trained.export("safetensors")
    model = morphogen.load(file.path, module=own.seeded(own.TASKS[kind][1]))
    x = task.batch("train", torch.arange(5)).x
    with torch.no_grad():
        pairs = zip(tensors_of(model(x)), tensors_of(call(trained.network(), x)), strict=True)
        assert all(torch.equal(found, expected) for found, expected in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sequences", "two inputs"])
def test_programs_take_batches_of_other_sizes(kind: str, tmp_path: Path) -> None:
    found = own.search("gdas", kind, tmp_path / "run", epochs=1)
    trained = found.train(morphogen.Training(epochs=1, **own.TRAINING), run=tmp_path / "trained")
    archive, graph = trained.export(["torch-export", "onnx"])
    task = own.TASKS[kind][0]()
    program = torch.export.load(archive.path).module()
    for rows in (torch.arange(1), torch.arange(3, 20)):
        x = task.batch("train", rows).x
        expected = call(trained.network(), x).detach()
        for run in (morphogen.load(graph.path), lambda x: call(program, x)):
            torch.testing.assert_close(run(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("darts", {"epochs": 1}),
        ("idarts", {"epochs": 1}),
        ("darts-pt", {"epochs": 1}),
        ("zero-cost-pt", {"epochs": 1}),
        ("spos", {"epochs": 1}),
        ("aging-evolution", {"evaluation": {"budget": 2}}),
        ("nsga2", {"evaluation": {"budget": 2, "objectives": "mae,params,latency"}}),
    ],
)
def test_all_families(method: str, settings: dict[str, Any], tmp_path: Path) -> None:
    found = own.search(method, "table", tmp_path / "run", **settings)
    last = found.history[-1]
    assert found.text.startswith("first=")
    if method == "aging-evolution":  # less is better: the best is the least of them
        best = min(found.history, key=lambda row: row["mae"])
        assert found.text == best["candidate"]
        assert last["score"] == -last["mae"]
        assert read_run(found.run).headline == ("best mae in points", best["mae"], False)
        runs = [found.run, shutil.copytree(found.run, tmp_path / "copy")]
        page = morphogen.report(runs, tmp_path / "two.html").path.read_text()
        assert "best search-validation mae after 1 epoch of training in points" in page
        assert "Lower is better." in page
    if method == "spos":  # the best first
        values = [candidate["mae"] for candidate in found.candidates]
        assert values == sorted(values)
        assert values[0] == last["best_mae"]


def test_the_best_epoch_and_patience_go_by_less(tmp_path: Path) -> None:
    found = own.search("random", "table", tmp_path / "run", evaluation={"budget": 1})
    # Of steps this large some make it worse.
    training = morphogen.Training(epochs=30, patience=2, lr=0.5, clip=0.0, **own.TRAINING)
    trained = found.train(training, run=tmp_path / "trained")
    curve = [row["held_out_mae"] for row in trained.history]
    assert trained.held_out["mean"] == min(curve)
    assert len(curve) == curve.index(min(curve)) + 3


class Noisy:
    """A data set with augmentation of its own."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Any:
        x, y = self.data[i]
        return x + 0.1 * torch.randn(x.shape), y


def noisy() -> morphogen.Task:
    return own.table(train=Noisy(own.waves(120, 0)))


def begun(run: Path | str, watcher: Any = Silent) -> None:
    module, settings = own.seeded(own.convolutions), morphogen.Settings(epochs=3, **own.SETTINGS)
    morphogen.search(
        "gdas", space=module, task=noisy(), settings=settings, run=run, watcher=watcher
    )


def test_interrupted_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        begun(tmp_path / "cut", tiny.Stop(steps=3))
    module = own.seeded(own.convolutions)
    with pytest.raises(RunError, match=r"the task of .* was an object of yours; .*task=\.\.\."):
        morphogen.resume(tmp_path / "cut", space=module)
    with pytest.raises(RunError, match="are not those with which"):
        morphogen.resume(tmp_path / "cut", space=module, task=own.signals())
    morphogen.resume(tmp_path / "cut", space=module, task=noisy())
    begun(tmp_path / "whole")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "cut")


class Killed(Silent):
    """Kills its own process in the second epoch."""

    def epoch(self, row: Any) -> None:
        self.epochs = getattr(self, "epochs", 0) + 1

    def stepped(self, clock: Any) -> None:
        if getattr(self, "epochs", 0) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def doomed(run: str) -> None:
    begun(run, Killed)


@pytest.mark.slow
def test_killed_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    process = forked.process(doomed, str(tmp_path / "cut"))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    module = own.seeded(own.convolutions)
    morphogen.resume(tmp_path / "cut", space=module, task=noisy())
    begun(tmp_path / "whole")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "cut")


X, Y = torch.zeros(40, 10), torch.zeros(40, 1)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"train": TensorDataset(X, Y[:, 0])}, SpaceError, r"gives \[2, 1\] .*\[2\]"),
        ({"train": TensorDataset(X[:, :3], Y)}, SpaceError, r"\[2, 3\]"),
        ({"train": TensorDataset(X, Y, Y)}, MorphogenError, "has 3 values; accepted: a pair"),
        ({"train": list(zip(X, Y, strict=True)), "collate": len}, MorphogenError, "has int"),
        ({"loss": lambda o, y: 1.0}, ConfigError, "gives a float; accepted: a function that gives"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as caught:
        morphogen.search(
            "gdas",
            space=own.layers(10, 1),
            task=own.table(test=None, **options),
            settings=morphogen.Settings(epochs=1, **own.SETTINGS),
            run=tmp_path / "run",
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_data_and_task_are_one_or_the_other(tmp_path: Path) -> None:
    for given in ({"data": "digits", "task": own.signals()}, {"data": own.signals()}):
        with pytest.raises(ConfigError, match="accepted"):
            morphogen.search("gdas", space=own.convolutions(), run=tmp_path / "run", **given)


def test_proxies_that_apply() -> None:
    space = morphogen.space_of(own.layers(10, 1))
    arch = ["first=relu;second=none"]
    with pytest.raises(ConfigError, match=r"epe_nas.* reads classes.*accepted for these data: nw"):
        morphogen.score(space, arch, task=own.table(), proxies="epe_nas")
    options = {"task": own.table(), "proxies": ["synflow", "params"]}
    (scored,) = morphogen.score(space, arch, **options).scored
    assert scored.scores["params"] == pytest.approx((10 * 24 + 24 + 24 + 1) / 1e6)
    assert scored.scores["synflow"] > 0
