"""A package that is not ours adds a kind of data in one file: that of the page on adding a task."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

import morphogen
from documents import blocks
from morphogen.cli import main
from morphogen.core import ConfigError, plugins
from morphogen.core.config import from_mapping
from morphogen.engine.search.settings import Settings
from morphogen.reports.reading import read_run
from morphogen.tasks import configs

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-task.md"
SMALL = ["--steps-per-epoch", "1", "--batch-size", "8", "--channels", "2", "--threads", "1"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The page's package where pip would put it, and one that cannot be imported."""
    site = tmp_path / "site-packages"
    info = site / "nas_stripes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nas-stripes\nVersion: 1.0\n")
    entries = "[morphogen.tasks]\nstripes = nas_stripes\nspots = nas_spots\n"
    (info / "entry_points.txt").write_text(entries)
    (site / "nas_stripes.py").write_text(blocks(PAGE.read_text(encoding="utf-8"))[0])
    (site / "nas_spots.py").write_text("import no_such_module\n")
    monkeypatch.setattr(configs, "_CONFIGS", dict(configs.task_configs()))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(plugins, "_SEEN", {})
    importlib.invalidate_caches()
    yield
    sys.modules.pop("nas_stripes", None)


def test_it_is_listed_searched_resumed_and_reported(installed, tmp_path, capsys):
    assert main(["list", "data"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^  stripes +Stripes: the noise in the pictures; --noise$", out, re.MULTILINE)
    assert "nas-stripes adds 'spots' to morphogen.tasks and cannot be imported" in err

    run = tmp_path / "run"
    words = ["search", "darts", "--data", "stripes:40", "--noise", "0.25", "--run", str(run)]
    assert main([*words, "--epochs", "2", *SMALL]) == 0
    out = capsys.readouterr().out
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["settings"]["task"] == {"name": "stripes", "noise": 0.25}
    assert config["task"]["metric"]["unit"] == "pixels"
    assert from_mapping(Settings, config["settings"]).task.noise == 0.25
    found = json.loads((run / "result.json").read_text())["architecture"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert 0 < rows[-1]["supernet_error"] < 12

    again = out.splitlines()[-1].split()[1:]
    assert again[again.index("--noise") + 1] == "0.25"
    assert main([*again, "--run", str(tmp_path / "again")]) == 0
    (run / "result.json").unlink()
    assert main(["resume", str(run)]) == 0
    assert json.loads((run / "result.json").read_text())["architecture"] == found
    assert main(["report", str(run)]) == 0

    trained = tmp_path / "trained"
    words = ["train", str(run), "--epochs", "1", "--channels", "2", "--threads", "1"]
    assert main([*words, "--noise", "0.25", "--run", str(trained)]) == 0
    assert "pixels" in capsys.readouterr().out
    assert read_run(run).headline[0] == "recalibrated error in pixels on the search-validation part"
    assert main(["export", str(trained), "--to", "safetensors"]) == 0
    assert "morphogen.load(" in capsys.readouterr().out
    model = morphogen.load(trained / "export")
    assert model(torch.zeros(2, 1, 12, 12)).shape == (2, 1)
    assert main(["predict", str(trained), "x.png"]) == 2
    assert "accepted: morphogen.load in Python" in capsys.readouterr().err


def test_options_of_other_data_are_refused_in_a_sentence(installed, tmp_path, capsys):
    run = ["--run", str(tmp_path / "run")]
    for data, flag, kind, own in (
        ("stripes:40", "--no-flip", "images", "stripes"),
        ("fashion-mnist", "--noise=1", "stripes", "images"),
    ):
        assert main(["search", "darts", "--data", data, flag, *run]) == 2
        said = capsys.readouterr().err
        assert f"{flag.partition('=')[0]} is an option for {kind}, and the data" in said
        assert f"are {own}" in said
    assert main(["search", "darts", "--data", "stripes:40", "--train-images", "9", *run]) == 2
    assert "train_images is 9, and the data are a task" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="nas-stripes adds 'spots'"):
        from_mapping(Settings, {"task": {"name": "spots"}})
    assert not (tmp_path / "run").exists()


def test_help_has_the_options_of_every_kind_of_data(installed, capsys):
    assert main(["search", "darts", "--help"]) == 0
    text = capsys.readouterr().out
    assert "\nStripes: the noise in the pictures:\n  --noise X" in text
    assert text.count("--label-smoothing") == 1
