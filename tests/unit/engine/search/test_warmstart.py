"""`--from RUN`: what a supernet takes from another run, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from morphogen.core import MorphogenError, RunError, SpaceError
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import resume, search
from morphogen.methods.darts import DARTSConfig
from morphogen.runs.directory import RunDirectory
from morphogen.supernets import NetworkSpec, build, space_of, take_weights
from morphogen.tasks.classification import Images

FIRST = replace(tiny.SETTINGS, epochs=1)


def other_images(classes: int = 3) -> Images:
    """Other classes than those of `tiny.images`, as many pixels."""
    whole = tiny.images()
    keep = torch.nonzero(whole.labels < classes).flatten()
    some = whole.take(keep)
    return Images(some.pixels, some.labels, tuple("xyz"[:classes]))


def own(classes: int) -> Any:
    torch.manual_seed(11)
    return tiny.OwnNetwork(1, classes, channels=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A run in NAS-Bench-201 that has a supernet."""
    path = tmp_path_factory.mktemp("start") / "trained"
    return search(
        tiny.config("darts"), space="nasbench201", data=tiny.images(), settings=FIRST, run=path
    )


def begun(trained: SearchResult, path: Path, **given: Any) -> SearchResult:
    settings = given.pop("settings", replace(FIRST, epochs=1))
    return search(
        given.pop("method", tiny.config("supernet-shifting")),
        space=given.pop("space", "nasbench201"),
        data=given.pop("data", tiny.images()),
        settings=settings,
        run=path,
        start=trained.run,
        **given,
    )


def test_a_supernet_takes_all_weights_and_statistics_of_the_same_data(trained, tmp_path):
    frozen = replace(tiny.config("supernet-shifting"), shift_steps=0)
    found = begun(trained, tmp_path / "new", method=frozen)
    before, after = (tiny.state(r.run)["state"]["net"] for r in (trained, found))
    assert tiny.same(before, after)
    assert [row["phase"] for row in found.history if "phase" in row] == []  # one phase alone
    assert RunDirectory(found.run).start_file.exists()


def test_on_other_data_only_the_classifier_is_drawn_anew(trained, tmp_path):
    frozen = replace(tiny.config("supernet-shifting"), shift_steps=0)
    found = begun(
        trained,
        tmp_path / "new",
        method=frozen,
        data=other_images(),
        settings=tiny.changed(FIRST, valid_images=50),
    )
    before, after = (tiny.state(r.run)["state"]["net"] for r in (trained, found))
    assert after["classifier.weight"].shape[0] == 3
    assert list(before) == list(after)
    for name, tensor in before.items():
        if not name.startswith("classifier"):
            assert torch.equal(tensor, after[name]), name


def test_the_other_run_may_be_gone_when_the_new_one_is_resumed(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained.run, copy)
    moved = replace(trained, run=copy)
    whole = begun(moved, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        begun(moved, tmp_path / "cut", watcher=tiny.Stop(steps=1))
    shutil.rmtree(copy)
    again = resume(tmp_path / "cut", data=tiny.images())
    assert again.text == whole.text
    assert tiny.metrics(again.run) == tiny.metrics(whole.run)


def refusal(trained: SearchResult, path: Path, **given: Any) -> str:
    with pytest.raises(MorphogenError) as caught:
        begun(trained, path, **given)
    assert not (path / "config.yaml").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_space_or_size_or_a_run_without_a_supernet_is_refused(trained, tmp_path):
    said = refusal(trained, tmp_path / "a", settings=tiny.changed(FIRST, channels=4))
    assert "channels is 4" in said
    assert "accepted: channels 2" in said
    assert "space is nasbench-macro" in refusal(trained, tmp_path / "b", space="nasbench-macro")
    black_box = search(
        tiny.config("random"),
        space=tiny.own(),
        data=tiny.images(),
        settings=FIRST,
        run=tmp_path / "random",
    )
    assert "trains no supernet" in refusal(black_box, tmp_path / "c")
    bare = tmp_path / "bare"
    shutil.copytree(trained.run, bare, ignore=shutil.ignore_patterns("checkpoint.*"))
    said = refusal(replace(trained, run=bare), tmp_path / "e")
    assert "checkpoint.pt is not there any more; accepted: a run that has it" in said
    assert "no config.yaml" in refusal(replace(trained, run=tmp_path / "none"), tmp_path / "d")


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(
            DARTSConfig(),
            space=tiny.own(),
            data=tiny.images(),
            settings=FIRST,
            run=tmp_path / "cut",
            watcher=tiny.Stop(epochs=1),
        )
    with pytest.raises(RunError, match="not finished"):
        search(
            DARTSConfig(),
            space=tiny.own(),
            data=tiny.images(),
            settings=FIRST,
            run=tmp_path / "new",
            start=tmp_path / "cut",
        )


def test_grey_images_become_coloured_for_a_supernet_that_takes_colours():
    grey = tiny.images()
    coloured = grey.with_channels(3)
    assert coloured.pixels.shape == (200, 3, 8, 8)
    assert all(torch.equal(coloured.pixels[:, i], grey.pixels[:, 0]) for i in range(3))
    with pytest.raises(MorphogenError, match="3 channels; accepted: 1"):
        coloured.with_channels(1)


def test_weights_of_another_shape_are_refused_by_name():
    space = space_of(tiny.own())
    net, wide = build(space, NetworkSpec()), build(space_of(own(7)), NetworkSpec())
    left = take_weights(net, wide.state_dict(), classes=7)
    assert left
    assert all(name.rpartition(".")[0].endswith("classifier") for name in left)
    with pytest.raises(SpaceError, match="accepted: \\[4"):
        take_weights(net, wide.state_dict())
    with pytest.raises(SpaceError, match="no linear layer of 5 outputs"):
        take_weights(net, wide.state_dict(), classes=5)


def test_weights_left_by_a_search_that_broke_off_at_once_are_not_taken_for_a_new_ones(
    trained, tmp_path
):
    begun(trained, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").unlink()
    for file in ("checkpoint.pt", "checkpoint.previous", "metrics.jsonl", "result.json"):
        (tmp_path / "run" / file).unlink(missing_ok=True)
    with pytest.raises(RunError, match=r"holds the start\.safetensors of a run"):
        begun(trained, tmp_path / "run")
