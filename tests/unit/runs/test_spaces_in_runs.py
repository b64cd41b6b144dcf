"""Any space survives a run directory: resume and train by the command line, report, export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import morphogen
import tiny
from morphogen import spaces
from morphogen.cli import main
from morphogen.core import RunError
from morphogen.engine.search.search import resume, search
from morphogen.reports.run import Run
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.spaces.darts import DARTS
from morphogen.spaces.nasbench201 import NASBench201

SETTINGS = tiny.changed(tiny.SETTINGS, epochs=2, steps_per_epoch=1, diagnostic_images=0)
TRAINED = "--epochs 1 --batch-size 16 --image-size 8 --channels 2 --depth 1 --threads 1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """200 training and 60 test images in a file."""
    return tiny.saved(tmp_path_factory.mktemp("data"), test=60)


def held(path: Path) -> Run:
    """A run as reports see it."""
    directory = RunDirectory(path)
    return Run(str(path), "finished", directory.config(), [], directory.result() or {})


@pytest.mark.parametrize(
    ("space", "depth", "title"),
    [
        (NASBench201(operations=("nor_conv_3x3", "none", "nor_conv_1x1")), 1, "NAS-Bench-201"),
        (DARTS("two-poolings", ("max_pool_3x3", "sep_conv_3x3")), 3, "the space two-poolings"),
        (
            spaces.make("darts-s3").restrict({"normal_2_0": ["none", "sep_conv_3x3"]}),
            3,
            "the space darts-s3",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_space_without_a_name_of_its_own_goes_on_from_the_command_line(
    space: SearchSpace, depth: int, title: str, data: str, tmp_path: Path
) -> None:
    method, settings = tiny.config("gdas"), tiny.changed(SETTINGS, depth=depth)
    given = {"space": space, "data": data, "settings": settings}
    whole = search(method, **given, run=tmp_path / "whole", watcher=tiny.Told)
    with pytest.raises(KeyboardInterrupt):
        search(method, **given, run=tmp_path / "cut", watcher=tiny.Stop(epochs=1))
    assert main(["resume", str(tmp_path / "cut"), "--json"]) == 0
    tiny.assert_same_run(tmp_path / "cut", whole.run)
    run = held(tmp_path / "cut")
    assert (run.space, run.space_title) == (space, title)
    assert run.architecture == whole.architecture
    assert main(["report", str(tmp_path / "cut")]) == 0


def test_what_was_found_is_trained_exported_and_loaded(data: str, tmp_path: Path) -> None:
    space = NASBench201("mine", ("nor_conv_3x3", "avg_pool_3x3")).without(["avg_pool_3x3"])
    settings = replace(SETTINGS, epochs=1)
    found = search(
        tiny.config("gdas"), space=space, data=data, settings=settings, run=tmp_path / "found"
    )
    trained = str(tmp_path / "trained")
    assert main(["train", str(found.run), "--run", trained, *TRAINED.split()]) == 0
    assert held(tmp_path / "trained").space == space
    assert main(["export", trained, "--to", "safetensors"]) == 0
    (file,) = (tmp_path / "trained" / "export").glob("*.safetensors")
    assert morphogen.load(file).predict([tiny.images().pixels[0, 0].numpy()])


def test_a_module_is_passed_again_and_only_the_same(tmp_path: Path) -> None:
    path, data = tmp_path / "run", tiny.images()
    settings = replace(SETTINGS, without="skip")
    given = {"data": data, "settings": settings, "run": path}
    with pytest.raises(KeyboardInterrupt):
        search(tiny.config("gdas"), space=tiny.own(), watcher=tiny.Stop(epochs=1), **given)
    run = held(path)
    assert run.space_title == "a module of one's own"
    assert run.space.choices[0].options == ("conv3", "separable")
    with pytest.raises(RunError, match=r"pass it again: resume\('.*', space=\.\.\.\)"):
        resume(path, data=data)
    for other in (tiny.smooth(), "nasbench201"):
        with pytest.raises(RunError, match="the space that is passed is not the one of"):
            resume(path, space=other, data=data)
    assert "skip" not in resume(path, space=tiny.own(), data=data).text


def test_a_space_that_is_not_installed_is_one_sentence(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run"
    search(
        "random", space="nasbench201", settings=tiny.changed(SETTINGS, evaluator="table"), run=path
    )
    file = path / "config.yaml"
    file.write_text(file.read_text().replace("name: nasbench201", "name: hexagon"))
    assert held(path).space is None
    assert held(path).space_title == "the space hexagon"
    assert main(["report", str(path)]) == 0
    assert main(["resume", str(path)]) == 4  # the file is not as it was written
    assert json.loads((path / "result.json").read_text())["space"] == "nasbench201"
