"""Searches that end with a trained network: its file, its figure, and the use of both."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import delivering
import morphogen
import tiny
from morphogen.cli import main
from morphogen.core import ConfigError, RunError
from morphogen.engine.record.opened import open_run
from morphogen.engine.search.search import resume
from morphogen.exports.writing import export
from morphogen.methods import _contract
from morphogen.reports.measures import measured
from morphogen.reports.reading import read_run
from morphogen.runs.directory import RunDirectory
from morphogen.tasks import Task
from morphogen.testing import MethodChecks


@pytest.fixture(autouse=True)
def pick(monkeypatch):
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.INFO)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_contract._REGISTRY, "pick", delivering.INFO)
        return delivering.run(tmp_path_factory.mktemp("delivered") / "run")


CHECKED = [
    p
    for p in MethodChecks.promises()
    if "deliver" in p or "resume" in p or p == "a_finished_run_is_left_alone"
]


@pytest.mark.parametrize("promise", CHECKED)
def test_the_toy_method_keeps_the_promises_of_those_that_deliver(promise, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_contract._REGISTRY, "pick", delivering.INFO)
        suite = MethodChecks(delivering.PickConfig(), tmp_path_factory.mktemp("checked"))
        suite.check(promise)


def test_the_record_says_what_was_measured_and_with_which_interval(done):
    """The interval against Wilson's two roots of (p - share)^2 = z^2 p (1 - p) / n."""
    held = json.loads((done.run / "result.json").read_text())
    reached = held["test_accuracy"]
    assert (reached["n"], reached["examples"]) == (1, 60)
    share, z = reached["mean"] / 100, 1.959964
    for end in (reached["low"] / 100, reached["high"] / 100):
        assert (end - share) ** 2 == pytest.approx(z**2 * end * (1 - end) / 60, rel=1e-5)
    assert held["weights"] == ["network.safetensors"] == [done.weights.name]
    assert len(held["test_openings"]) == 1
    assert held["split"].endswith("opened after the search, to measure the delivered network")
    net = done.network()
    assert held["cost"]["params"] == sum(p.numel() for p in net.parameters())


def test_a_kill_between_weights_and_result_measures_what_it_would_have(done, tmp_path, monkeypatch):
    written = RunDirectory.write_result

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "write_result", killed)
    with pytest.raises(KeyboardInterrupt):
        delivering.run(tmp_path / "run")
    assert (tmp_path / "run" / "network.safetensors").exists()
    monkeypatch.setattr(RunDirectory, "write_result", written)
    resume(tmp_path / "run", space=tiny.own(), task=delivering.task())
    tiny.assert_same_run(tmp_path / "run", done.run)


def test_lost_weights_are_written_again(tmp_path):
    found = delivering.run(tmp_path / "run")
    before = found.weights.read_bytes()
    found.weights.unlink()
    resume(found.run, space=tiny.own(), task=delivering.task())
    assert found.weights.read_bytes() == before


def test_searched_on_the_network_until_then_keeps_its_file(tmp_path):
    found = delivering.run(tmp_path / "run")
    before = found.weights.read_bytes()
    longer = resume(found.run, space=tiny.own(), task=delivering.task(), epochs=4)
    kept = [file.read_bytes() for file in found.run.glob("network-*.safetensors")]
    assert kept == [before] != [longer.weights.read_bytes()]


class Another(delivering.Pick):
    """Its network is not the one of its architecture."""

    def network(self, state, space):
        return torch.nn.Linear(2, 2)


class Unsure(delivering.Pick):
    """It has no network yet."""

    def network(self, state, space):
        return None


def test_a_network_of_something_else_is_refused(monkeypatch, tmp_path):
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.info(Another))
    with pytest.raises(ConfigError, match=r"'pick' delivers a network that is not its arch.* acc"):
        delivering.run(tmp_path / "run", epochs=1)
    assert not (tmp_path / "run" / "network.safetensors").exists()


def test_without_a_network_it_is_a_search_like_others(monkeypatch, tmp_path):
    monkeypatch.setitem(_contract._REGISTRY, "pick", delivering.info(Unsure))
    task = delivering.task()
    found = delivering.run(tmp_path / "run", epochs=1, given={"task": task})
    assert (found.weights, dict(found.test), task.test_openings) == (None, {}, ())
    with pytest.raises(RunError, match="the run of a search, whose network is not trained"):
        export(found.run)
    before = found.run.joinpath("result.json").read_bytes()
    assert resume(found.run, space=tiny.own(), task=task).weights is None
    assert found.run.joinpath("result.json").read_bytes() == before


def test_an_unfinished_one_is_named_as_such(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        delivering.run(tmp_path / "run", epochs=2, given={"watcher": tiny.Stop(epochs=1)})
    with pytest.raises(RunError, match=r"is not finished; accepted: first `morphogen resume"):
        export(tmp_path / "run")


@pytest.fixture(scope="module")
def built_in(tmp_path_factory):
    """A run in a built-in space on a file with a test part, as the command line has them."""
    folder = tmp_path_factory.mktemp("built-in")
    images = tiny.images(260)
    x, y = images.pixels[:, 0].numpy(), images.labels.numpy()
    data = folder / "own.npz"
    np.savez(data, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_contract._REGISTRY, "pick", delivering.INFO)
        found = delivering.run(
            folder / "run", epochs=1, given={"space": "nasbench201", "task": None, "data": data}
        )
    return found, x


def test_export_predict_and_load_work_on_the_run_itself(built_in, capsys):
    found, x = built_in
    files = found.export(["safetensors"], found.run / "made")
    run = open_run(found.run)
    with torch.no_grad():
        scores = [net(torch.ones(1, 1, 8, 8)) for net in (found.network(), run.network())]
    assert torch.equal(*scores)
    loaded = [morphogen.load(path).predict([x[0]])[0] for path in (found.run, files[0].path)]
    assert loaded[0].label == loaded[1].label
    card = (found.run / "made" / "README.md").read_text()
    assert f" to {found.test['high']:.2f} for 60 test images, one seed" in card
    assert "epoch 1 (delivered)" in card
    assert main(["export", str(found.run), "--to", "safetensors"]) == 0
    assert "model.safetensors" in capsys.readouterr().out


def test_a_comparison_has_it_in_a_column_of_its_own(built_in):
    found, _ = built_in
    (measure, values), *_ = measured(read_run(found.run)).items()
    assert measure.name == "test accuracy in %, network that the search trained"
    assert values == {0: found.test["mean"]}


def test_reports_and_lists_begin_with_what_the_network_reaches(built_in, capsys):
    found, _ = built_in
    value = found.test["mean"]
    assert main(["runs", str(found.run.parent)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert f"{value:.4g}\ttest accuracy, 1 seed, {found.test['low']:.4g} to " in line
    page = found.report().path.read_text()
    assert f"{value:.4g} (95 % interval {found.test['low']:.2f} to" in page
    assert "says nothing of what another seed would reach" in page
    assert main(["resume", str(found.run)]) == 0
    said = capsys.readouterr().out
    assert f"Test accuracy of the trained network: {value:.2f} %, 95 % interval" in said
    assert f"morphogen export {found.run}" in said
    assert "network.safetensors" in said


def test_of_a_metric_of_ones_own_the_interval_is_not_known(tmp_path):
    """Nobody knows how its mean varies; the network is used all the same."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(160, 1, 8, 8, generator=g)
    data = TensorDataset(x, torch.randint(0, 4, (160,), generator=g))
    own = Task(
        train=Subset(data, range(120)),
        test=Subset(data, range(120, 160)),
        loss=torch.nn.functional.cross_entropy,
        outputs=4,
    )
    found = delivering.run(
        tmp_path / "run",
        epochs=1,
        train_images=60,
        valid_images=60,
        given={"task": own, "space": "nasbench201"},
    )
    assert set(found.test) == {"mean", "n", "examples", "values"}
    again = resume(found.run, task=own)
    assert again.test == found.test
    (file,) = found.export("safetensors")
    with torch.no_grad():
        assert torch.equal(morphogen.load(file.path)(x[:2]), found.network()(x[:2]))
    assert "loss reached" in found.report().path.read_text().lower()
