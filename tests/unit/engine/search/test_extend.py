"""`resume --epochs N`: on from a finished run, with a word on schedules; black boxes to the bit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

import tiny
from morphogen.cli import main
from morphogen.core import ConfigError
from morphogen.engine.search.search import resume, search
from morphogen.runs.directory import RunDirectory


def run(path: Path, method: str, watcher=tiny.Told, **changed: object) -> Path:
    settings = tiny.changed(tiny.SETTINGS, epochs=2, evaluations=4, **changed)  # type: ignore[arg-type]
    data = {"space": tiny.own(), "data": tiny.images()}
    search(tiny.config(method), **data, settings=settings, run=path, watcher=watcher)
    return path


def go_on(path: Path, watcher=tiny.Told, **length: int):
    return resume(path, space=tiny.own(), data=tiny.images(), watcher=watcher, **length)


def test_a_finished_search_goes_on_and_says_what_schedules_do(tmp_path):
    path = run(tmp_path / "run", "darts")
    first = (path / "result.json").read_bytes()
    before = tiny.metrics(path)
    told = tiny.Told()
    result = go_on(path, told, epochs=4)
    assert (told.finished, len(result.history)) == (2, 4)
    assert tiny.metrics(path)[:2] == before
    assert (path / "result-2-epochs.json").read_bytes() == first
    (note,) = [n for n in told.notices if "searched on" in n]
    assert "from epoch 2" in note
    assert "not that of a search of 4 epochs from the start" in note
    assert note in result.remarks
    values = yaml.safe_load((path / "config.yaml").read_text())
    (entry,) = values["extended"]
    assert (entry["before"], entry["after"], entry["done"]) == (2, 4, 2)
    assert values["settings"]["epochs"] == 4
    assert json.loads((path / "result.json").read_text())["epochs"] == 4
    assert go_on(path).text == result.text  # it is finished


def test_the_rate_goes_on_as_that_of_the_longer_search(tmp_path):
    """By hand: half a cosine over N epochs, at epoch e: lr (1 + cos(pi e / N)) / 2."""
    path = run(tmp_path / "run", "darts")
    go_on(path, epochs=3)
    (group,) = tiny.state(path)["state"]["weight_optimiser"]["param_groups"]
    c = tiny.config("darts").weights
    expected = c.lr_end + (c.lr - c.lr_end) * (1 + math.cos(math.pi * 2 / 3)) / 2
    assert group["lr"] == pytest.approx(expected)


def test_cut_off_while_it_goes_on_it_ends_in_the_same_bits(tmp_path):
    whole = run(tmp_path / "whole", "darts")
    go_on(whole, epochs=4)
    cut = run(tmp_path / "cut", "darts")
    for stop in (tiny.Stop(steps=1), tiny.Stop(epochs=3)):
        with pytest.raises(KeyboardInterrupt):
            go_on(cut, stop, epochs=4)
    go_on(cut)
    assert tiny.metrics(cut) == tiny.metrics(whole)
    for part in ("state", "problem", "torch_rng"):
        assert tiny.same(tiny.state(cut)[part], tiny.state(whole)[part])


def test_an_unfinished_search_is_lengthened_or_shortened_to_what_is_done(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", "darts", tiny.Stop(epochs=1))
    path = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"epochs: |epochs is 0"):
        go_on(path, epochs=0)
    assert len(go_on(path, epochs=1).history) == 1
    assert len(go_on(path, epochs=3).history) == 3
    with pytest.raises(ConfigError, match="epochs is 2, and 3 are done; accepted: 3 or more"):
        go_on(path, epochs=2)
    assert RunDirectory(path).result() is not None


@pytest.mark.parametrize("size", [1, 2])
def test_a_black_box_search_ends_as_one_of_that_length_from_the_start(size, tmp_path):
    whole = tmp_path / "whole"
    settings = {"round_size": size, "image_size": 8}
    run(whole, "aging-evolution", **settings)
    go_on(whole, evaluations=5)
    reference = tmp_path / "reference"
    search(
        tiny.config("aging-evolution"),
        space=tiny.own(),
        data=tiny.images(),
        settings=tiny.changed(tiny.SETTINGS, epochs=2, evaluations=5, round_size=size),
        run=reference,
    )
    assert tiny.metrics(whole) == tiny.metrics(reference)


def test_a_round_that_was_cut_by_the_end_is_asked_again_as_it_was(tmp_path):
    path = run(tmp_path / "run", "aging-evolution", round_size=3)  # rounds of 3 and 1
    before = tiny.metrics(path)
    told = tiny.Told()
    go_on(path, told, evaluations=5)
    assert tiny.metrics(path)[:4] == before
    assert len(tiny.metrics(path)) == 5
    assert any("not quite that of a search of 5 from the start" in n for n in told.notices)
    with pytest.raises(ConfigError, match="evaluations is 4, and 5 are done"):
        go_on(path, evaluations=4)


def test_a_longer_search_keeps_the_population_that_it_began_with_and_says_so(tmp_path):
    path, told = run(tmp_path / "run", "aging-evolution"), tiny.Told()
    began = RunDirectory(path).config()["config"]["population"]
    go_on(path, told, evaluations=8)
    assert RunDirectory(path).config()["config"]["population"] == began == 2
    assert any("2 of which were the random beginning" in n for n in told.notices)
    assert any("begins with 4" in n for n in told.notices)


def test_what_cannot_be_lengthened_is_refused_and_unchanged(tmp_path, capsys):
    evolved = run(tmp_path / "spos", "spos")
    box = run(tmp_path / "box", "random")
    for path, length, said in (
        (evolved, {"epochs": 4}, "the phase 'evolution' has begun, after 2 epochs of 'supernet'"),
        (evolved, {"evaluations": 4}, "'spos' trains a supernet; accepted: epochs"),
        (box, {"epochs": 4}, "'random' asks for scores; accepted: evaluations"),
    ):
        before = {p.name: p.read_bytes() for p in path.iterdir()}
        with pytest.raises(ConfigError, match=said):
            go_on(path, **length)
        assert {p.name: p.read_bytes() for p in path.iterdir()} == before
    assert main(["resume", str(box), "--epochs", "many"]) == 2
    assert "--epochs is 'many'; accepted: a whole number" in capsys.readouterr().err
