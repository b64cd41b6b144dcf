"""Trainings beside a baseline: the same recipe for all, and what is said of the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from morphogen import cost, spaces
from morphogen.core import Choice, RunError
from morphogen.core.config import altered
from morphogen.core.statistics import contrast
from morphogen.engine.resume import resume
from morphogen.engine.search.search import search
from morphogen.engine.train import recipe
from morphogen.engine.train.baseline import opponents
from morphogen.engine.train.origin import found_in
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import (
    TrainedNetwork,
    Training,
    TrainingHardware,
    paper_training,
    quick_training,
)
from morphogen.exports.writing import export
from morphogen.reports import notebook
from morphogen.reports.page import render
from morphogen.reports.reading import read_run
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import Constrained, SearchSpace, reference_of
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification.config import ImageConfig
from morphogen.testing.toys import SETTINGS, own

SPACE = spaces.make("nasbench201")
ARCH = SPACE.parse(
    "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
)
RESNET = reference_of(SPACE)
TINY = Training(
    epochs=1,
    batch_size=32,
    seeds=2,
    task=ImageConfig(image_size=8),
    network=TrainedNetwork(channels=2, depth=1),
    hardware=TrainingHardware(threads=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """200 training and 60 test images in a file."""
    return tiny.saved(tmp_path_factory.mktemp("data"), test=60)


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with a baseline that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(ARCH, data=data, training=TINY, run=run, baseline=True)
    return run


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())  # type: ignore[no-any-return]


def test_what_is_said_is_of_three_trainings_by_one_recipe(whole: Path) -> None:
    folders = [whole, whole / "reference", whole / "random"]
    settings = [RunDirectory(folder).config()["settings"] for folder in folders]
    assert settings[1] == settings[2] == settings[0]
    values = [result(folder)["test_accuracy"]["values"] for folder in folders]
    assert RESNET is not None
    assert result(whole / "reference")["architecture"] == SPACE.format(RESNET.architecture)
    told = result(whole)["comparison"]
    for place, verdict in enumerate(told["verdicts"], start=1):
        found = contrast(values, 0, place)
        assert verdict["difference"] == found.difference
        assert (verdict["low"], verdict["high"]) == (found.low, found.high)
    assert [v["against"] for v in told["verdicts"]] == [
        "the reference (ResNet)",
        "a random architecture",
    ]
    assert told["reached"] == result(whole)["test_accuracy"]
    assert "Compared by test accuracy" in read_run(whole).compared
    page = render([read_run(whole)], "1")
    assert "the reference (ResNet)" in notebook.run(read_run(whole))
    assert page.count("the reference (ResNet)") == page.count("from a random architecture") == 1


@pytest.mark.parametrize("steps", [13, pytest.param(25, marks=pytest.mark.slow)])
def test_cut_off_in_any_of_them_it_goes_on_to_the_same_bits(
    steps: int, whole: Path, data: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(
            ARCH,
            data=data,
            training=TINY,
            run=cut,
            baseline=True,
            watcher=tiny.Stop(steps=steps),
        )
    assert read_run(cut).state == "cut off"
    again = resume(cut)
    assert read_run(cut).state == "finished"
    for folder in (".", "reference", "random"):
        tiny.assert_same_run(whole / folder, cut / folder)
    assert resume(cut).comparison == again.comparison is not None


def test_the_reference_itself_is_not_trained_twice(data: str, tmp_path: Path) -> None:
    assert RESNET is not None
    run = tmp_path / "run"
    found = train(RESNET.architecture, data=data, training=TINY, run=run, baseline=True)
    assert found.comparison is not None
    assert found.comparison.verdicts[0].sentence == "it is the reference (ResNet) itself"
    assert not (run / "reference").exists()
    assert found.comparison.verdicts[1].seeds == 2


def test_opponents_are_drawn_within_the_limits_and_none_twice() -> None:
    drawn = [opponents(SPACE, SPACE.sample(np.random.default_rng(i)), 0)[1] for i in range(20)]
    assert len({other.architecture for other in drawn}) > 15  # another for each that is compared
    assert opponents(SPACE, ARCH, 0) == opponents(SPACE, ARCH, 0)
    pooled = Constrained(
        SPACE, lambda arch: arch["edge_0_1"] == ("avg_pool_3x3",), "one pool at least"
    )
    reference, random = opponents(SPACE, ARCH, 0, pooled)
    assert reference.against == "the reference (ResNet, beyond the limit one pool at least)"
    assert random.architecture["edge_0_1"] == ("avg_pool_3x3",)
    small = SearchSpace("two", [Choice("only", ("a", "b"))])
    first = small.parse("only=a")
    assert [small.format(o.architecture) for o in opponents(small, first, 0)] == ["only=b"]
    alone = Constrained(small, lambda arch: False, "nothing")
    assert opponents(small, first, 0, alone) == ()


@pytest.mark.parametrize("steps", [17, pytest.param(0, marks=pytest.mark.slow)])
def test_a_search_ends_with_it_and_says_so(steps: int, data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = tiny.changed(
        SETTINGS, evaluations=2, image_size=8, without="none", limit="params<=20K"
    )
    given = {"data": data, "settings": settings, "run": run, "baseline": TINY}
    if steps:
        with pytest.raises(KeyboardInterrupt):
            search("random", **given, watcher=tiny.Stop(steps=steps))
        assert read_run(run).state == "cut off"
        found = resume(run)
    else:
        found = search("random", **given)
    assert found.comparison is not None
    assert result(run)["comparison"]["training"] == "trained"
    assert result(run / "trained")["architecture"] == found.text
    # The reference has options that the search left out, and is trained all the same.
    assert "none" in result(run / "trained" / "reference")["architecture"]
    assert "none" not in result(run / "trained" / "random")["architecture"]
    assert resume(run).comparison == found.comparison  # which writes result.json again
    read = read_run(run)
    assert read.headline is not None
    assert read.headline[:2] == (
        "test accuracy in %, trained from scratch, 2 seeds",
        found.comparison.reached.mean,
    )
    if steps:
        return
    longer = resume(run, evaluations=8)  # and what that finds is compared in its turn
    assert longer.text != found.text
    assert longer.comparison is not None
    assert result(run)["comparison"]["training"] == "trained-2"


def test_a_training_sees_the_data_as_the_search_did(data: str, tmp_path: Path) -> None:
    settings = tiny.changed(SETTINGS, epochs=1, image_size=8, flip=False, class_weights="0=2")
    found = search("gdas", data=data, settings=settings, run=tmp_path / "search")
    assert found.comparison is None
    assert "Not compared with anything: `morphogen train" in read_run(tmp_path / "search").compared
    assert "Not compared with anything.</p>" in render([read_run(tmp_path / "search")], "1")
    directory = RunDirectory(tmp_path / "search")
    written = json.loads(directory.result_file.read_text())
    same = {**written, "architecture": SPACE.format(RESNET.architecture)}
    directory.result_file.write_text(json.dumps(same))
    for text in (read_run(directory.path).compared, render([read_run(directory.path)], "1")):
        assert "It is the reference itself (ResNet), which nobody searched" in text
    directory.result_file.write_text(json.dumps(written))
    told = tiny.Told()
    plain = Training(
        epochs=1, network=TrainedNetwork(channels=2, depth=1), hardware=TrainingHardware(threads=1)
    )
    trained = found.train(plain, run=tmp_path / "train", watcher=told)
    values = RunDirectory(trained.run).config()
    assert values["settings"]["task"] == RunDirectory(found.run).config()["settings"]["task"]
    assert told.notices[0] == values["inherited"]
    assert values["inherited"] in render([read_run(trained.run)], "1")
    assert values["inherited"] == (
        f"data settings as in {tmp_path / 'search'}: image size 8, flip off, crop on, "
        "auto augment none, cutout 0, label smoothing 0.0, class weights 0=2"
    )
    origin = found_in(found.run)
    flipped = ImageConfig(image_size=8, flip=True, class_weights="0=2")
    assert origin.kept(Training(task=flipped)).endswith(
        "class weights 0=2; other than there: flip on"
    )
    assert not origin.taken  # of a supernet
    assert origin.of("other data").task is None
    asked = origin.task
    assert quick_training("nasbench201", asked).task == asked
    published = paper_training("nasbench201", asked).task
    assert published == ImageConfig(image_size=0, flip=False, class_weights="0=2")


@pytest.mark.parametrize("method", ["spos", "successive-halving"])
def test_a_training_keeps_the_limits_of_the_search(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Also of a network that was delivered; a recipe of one's own has its own sizes."""
    monkeypatch.setattr(recipe, "MOST_EPOCHS", 14)  # which few data have
    sizes = {"channels": 4, "depth": 1, "epochs": 1, "image_size": 8}
    limit = "params<=20K" if method == "spos" else ""
    settings = tiny.changed(SETTINGS, **sizes, limit=limit)
    config = tiny.config(method)
    found = search(config, space=SPACE, data=data, settings=settings, run=tmp_path / "search")
    short = quick_training("nasbench201", settings.task)
    assert short.network.channels != 4
    trained = found.train(run=tmp_path / "train")
    spec = NetworkSpec(channels=4, depth=1, classes=4, in_channels=1)
    assert trained.cost["params"] == cost.of(SPACE, found.architecture, spec, (1, 8, 8)).params
    values = RunDirectory(trained.run).config()
    longer = method != "spos"
    rest = f", epochs 1, batch size {settings.batch_size}, precision 32-true" if longer else ""
    what = "Recipe" if longer else "Sizes"
    said = f". {what} as in {found.run}: channels 4, depth 1{rest}"
    assert values["inherited"].endswith(said)
    assert values["settings"]["epochs"] == (1 if longer else 14)
    wider = altered(short, {"epochs": 1, "network.channels": 6, "batch_size": settings.batch_size})
    other = found.train(wider, run=tmp_path / "wider")
    said = RunDirectory(other.run).config()["inherited"]
    assert said.endswith("; other than there: channels 6")


def test_an_own_module_is_compared_with_its_first_options(tmp_path: Path) -> None:
    settings = tiny.changed(SETTINGS, epochs=1)
    run = tmp_path / "run"
    found = search(
        "gdas", space=own(), data=tiny.images(), settings=settings, run=run, baseline=TINY
    )
    assert found.comparison is not None
    assert found.comparison.metric == "held-out accuracy"  # there is no test part
    against = [verdict.against for verdict in found.comparison.verdicts]
    assert against[0] == "the reference (the first option of every choice)"
    first = result(run / "trained" / "reference")["architecture"]
    assert first == "block1=conv3;block2=conv3;pool=average"
    with pytest.raises(RunError, match=r"accepted: the run of a training, .*trained"):
        export(run)
