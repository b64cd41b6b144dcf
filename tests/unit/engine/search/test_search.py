"""The front door: names and objects, what the run directory says, what a watcher is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn

import tiny
from morphogen.core import ConfigError, RunError
from morphogen.core.config import from_mapping
from morphogen.engine.record.recorder import in_all_processes
from morphogen.engine.search.presets import altered, quick_config
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.methods import find, methods
from morphogen.methods.darts import DARTSConfig
from morphogen.runs.config import identity
from morphogen.supernets import space_of

RATES = {"alpha.lr": 0.01, "weights.lr": 0.025}
EVOLUTION = {"generations": 6, "fitness_images": 500, "recalibration_images": 500}
QUICK = {
    "darts": RATES,
    "darts-prime": {**RATES, "threshold": 100.0},
    "darts-pt": {**RATES, "interval": 1, "selection_images": 500},
    "dartsformer": {"alpha.lr": 0.01, "weights.lr": 2e-3, "weights.warm_up": 200},
    "gdas": RATES,
    "idarts": RATES,
    "sd-darts": {**RATES, "strength": 3.0},
    "snas": RATES,
    "unas": {
        "samples": "batch",
        "softening": 0.08,
        "warm_up": 1,
        "fitted": 300,
        "latency_ramp": 100,
        "alpha.lr": 0.02,
        "weights.lr": 2e-3,
    },
    "spos": EVOLUTION,
    "supernet-shifting": EVOLUTION,
    "gold-nas": {
        "weights.lr": 0.025,
        "weights.lr_end": 0.025,
        "lambda0": 0.01,
        "stable_rounds": 0,
    },
    "nevonas": {
        "population": 10,
        "encoding": "categorical",
        "forward": "path",
        "connected": True,
        "fitness_images": 500,
    },
    "few-shot": {
        "leaf_epochs": 4,
        "candidates": 30,
        "fitness_images": 500,
        "leaf.alpha.lr": 0.01,
    },
    "gm-nas": {
        "leaf_epochs": 6,
        "repeats": 3,
        "candidates": 30,
        "fitness_images": 500,
        "leaf.alpha.lr": 0.01,
    },
    "single-stage": {"alpha.lr": 0.01, "weights.lr": 0.05},
    "pevonas": {"generations": 6, "fitness_images": 500, "forward": "path"},
    "zero-cost-pt": {"validation": 10},
}
"""What searches of minutes have other than the paper's; results/ were measured with them."""


def run(path, **options):
    options = {"method": tiny.config("darts"), "space": tiny.own(), **options}
    options = {"data": tiny.images(), "settings": tiny.SETTINGS, **options}
    return search(run=path, **options)


def test_a_name_means_the_quick_configuration_an_object_itself(tmp_path):
    for name, info in methods().items():
        quick = altered(info.config(), QUICK.get(name, {}))
        assert quick_config(info) == quick, name
    settings = replace(tiny.SETTINGS, epochs=1)
    for given, rate in (("darts", 0.01), (DARTSConfig(), 3e-4)):
        result = run(tmp_path / str(rate), method=given, settings=settings)
        config = yaml.safe_load((result.run / "config.yaml").read_text())["config"]
        assert from_mapping(DARTSConfig, config).alpha.lr == rate


def test_the_run_directory_holds_the_whole_truth(tmp_path):
    result = run(tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert from_mapping(Settings, config["settings"]) == tiny.SETTINGS
    assert from_mapping(find(config["method"]).config, config["config"]) == tiny.config("darts")
    assert config["versions"]["torch"] == torch.__version__
    assert set(config) >= {"command", "created", "machine", "space", "data"}
    assert config["identity"] == identity(config)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["architecture"] == result.text == result.history[-1]["architecture"]
    assert written["seed"] == 0
    assert "test data was not opened" in written["split"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    last = result.history[-1]
    assert last["examples"] == {"train": 96, "valid": 96}
    assert result.cost["train_examples"] == 96
    assert result.cost["seconds"] == pytest.approx(sum(r["seconds"] for r in result.history))
    assert {"entropy", "skips", "decisions_changed", "supernet_accuracy"} <= set(last)
    for group, gates in last["gates"].items():
        alpha = torch.tensor(last["alpha"][group])
        torch.testing.assert_close(torch.tensor(gates), torch.softmax(alpha, dim=-1))


def test_metrics_are_means_over_the_steps_of_an_epoch(tmp_path):
    """Epochs of one step and of two: the first step is the same."""
    one = run(tmp_path / "one", settings=replace(tiny.SETTINGS, epochs=1, steps_per_epoch=1))
    two = run(tmp_path / "two", settings=replace(tiny.SETTINGS, epochs=1, steps_per_epoch=2))
    from morphogen.methods.darts import DARTS

    problem = tiny.problem(space_of(tiny.own()))
    method = DARTS(tiny.config("darts"))
    state = method.init(problem)
    clocks = [replace(tiny.CLOCK, epochs=1, step=s) for s in range(2)]
    losses = [float(method.step(state, problem, c)["train_loss"]) for c in clocks]
    assert one.history[0]["train_loss"] == pytest.approx(losses[0], rel=1e-6)
    assert two.history[0]["train_loss"] == pytest.approx(sum(losses) / 2, rel=1e-6)


def test_an_epoch_is_a_pass_over_the_validation_images_by_default(tmp_path):
    result = run(tmp_path / "run", settings=replace(tiny.SETTINGS, epochs=1, steps_per_epoch=0))
    assert result.history[0]["examples"]["valid"] == 96  # 6 whole batches of 16 in 100 images


class Dropping(nn.Module):
    """A module that draws random numbers itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny.own()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(nn.functional.dropout(self.inner(x), 0.1, self.training))


def test_a_module_with_dropout_is_searched_and_resumed_to_the_same_bits(tmp_path):
    reference = run(tmp_path / "reference", space=Dropping())
    torch.rand(5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", space=Dropping(), watcher=tiny.Stop(steps=3))
    torch.rand(5)
    resume(tmp_path / "run", space=Dropping(), data=tiny.images())
    tiny.assert_same_run(tmp_path / "run", reference.run)


def test_diagnostics_do_not_change_the_search(tmp_path):
    """Also where the module draws random numbers itself."""
    module = Dropping()
    rows = []
    for images in (0, 40):
        settings = tiny.changed(tiny.SETTINGS, diagnostic_images=images)
        rows.append(
            tiny.timeless(run(tmp_path / str(images), space=module, settings=settings).history)
        )
    assert "supernet_accuracy" not in rows[0][0]
    assert "supernet_accuracy" in rows[1][0]
    for without, with_them in zip(*rows, strict=True):
        assert without.items() <= with_them.items()


def test_a_figure_that_could_not_be_measured_is_left_out(tmp_path, monkeypatch):
    """A discretised network may overflow where the supernet does not; JSON has no NaN."""
    figures = {"entropy": 0.5, "discrete_loss": torch.nan, "recalibrated_loss": torch.inf}
    monkeypatch.setattr("morphogen.engine.search.loop.diagnostics.report", lambda *args: figures)
    for row in run(tmp_path / "run").history:
        assert row["entropy"] == 0.5
        assert not {"discrete_loss", "recalibrated_loss"} & set(row)
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_watcher_is_told_of_every_step_and_epoch(tmp_path):
    told = []

    class Watch(tiny.Told):
        def started(self, config, path, finished_epochs):
            told.append(("started", config["method"], path, finished_epochs))

        def stepped(self, clock):
            told.append(("step", clock.epoch, clock.step, clock.steps, clock.epochs))

        def epoch(self, row):
            told.append(("epoch", row["epoch"]))

    run(tmp_path / "run", settings=replace(tiny.SETTINGS, epochs=2), watcher=Watch)
    assert told == [
        ("started", "darts", tmp_path / "run", 0),
        *[("step", 0, 1, 2, 2), ("step", 0, 2, 2, 2), ("epoch", 1)],
        *[("step", 1, 1, 2, 2), ("step", 1, 2, 2, 2), ("epoch", 2)],
    ]


def test_another_version_of_torch_is_mentioned_on_resume(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", watcher=tiny.Stop(epochs=1))
    file = tmp_path / "run" / "config.yaml"
    values = yaml.safe_load(file.read_text())
    values["versions"]["torch"] = "1.0"
    file.write_text(yaml.safe_dump(values))
    told = tiny.Told()
    resume(tmp_path / "run", space=tiny.own(), data=tiny.images(), watcher=told)
    (notice,) = told.notices
    assert "torch 1.0" in notice
    assert str(torch.__version__) in notice


def test_a_failure_in_one_process_is_a_failure_in_all():
    class Other:
        """The view of a process whose neighbour has failed, or has not."""

        device = torch.device("cpu")

        def __init__(self, others: float) -> None:
            self.others = others

        def mean(self, tensors):
            return [(t + self.others) / 2 for t in tensors]

    done = []
    in_all_processes(Other(0.0), lambda: done.append(1))
    assert done == [1]
    with pytest.raises(RunError, match="another process could not write"):
        in_all_processes(Other(1.0), lambda: done.append(2))

    def fails() -> None:
        raise ConfigError("mine")

    with pytest.raises(ConfigError, match="mine"):
        in_all_processes(Other(0.0), fails)


def test_settings_are_decisive_for_identity_and_the_rest_is_not():
    values = {"method": "m", "space": "s", "data": "d", "settings": {"seed": 0}, "config": {}}
    assert identity(values) == identity({**values, "command": "x", "created": "now"})
    changed = [{**values, k: "other"} for k in values]
    assert len({identity(v) for v in [values, *changed]}) == 6
