"""`without`: options that a search leaves out of its space."""

from __future__ import annotations

import pytest

import tiny
from morphogen.core import SpaceError, UnknownNameError
from morphogen.engine.search.search import resume, search
from morphogen.reports.run import Run
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import make
from morphogen.supernets import space_of

SETTINGS = tiny.changed(tiny.SETTINGS, depth=3, epochs=2, steps_per_epoch=1, diagnostic_images=0)


def run(path, **changes):
    given = {"method": tiny.config("gdas"), "space": "darts-s3", "settings": {"without": "none"}}
    given = {**given, **changes}
    return search(
        given["method"],
        space=given["space"],
        data=tiny.images(),
        settings=tiny.changed(SETTINGS, **given["settings"]),
        run=path,
        watcher=given.get("watcher", tiny.Told),
    )


def test_a_search_has_no_option_that_is_left_out_and_resumes_so(tmp_path):
    whole = run(tmp_path / "whole")
    assert "none" not in whole.text
    assert [len(row) for row in whole.history[-1]["gates"]["normal"]] == [2] * 14
    assert all(sum(row) == pytest.approx(1) for row in whole.history[-1]["gates"]["normal"])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halted", watcher=tiny.Stop(epochs=1))
    again = resume(tmp_path / "halted", data=tiny.images())
    tiny.assert_same_run(again.run, whole.run)
    read = Run(str(whole.run), "finished", RunDirectory(whole.run).config(), [], {})
    assert read.space.choices[0].options == ("skip_connect", "sep_conv_3x3")


def test_without_none_the_darts_space_has_seven_operations():
    space = make("darts").without(["none"])
    assert {len(c.options) for c in space.choices} == {7}
    assert space.without([]) is space
    assert space.size() == (180 * 7**8) ** 2  # darts 4A: none is never kept


def test_an_own_module_is_searched_without_an_option(tmp_path):
    result = run(tmp_path / "run", space=tiny.own(), settings={"without": "skip, max"})
    assert [len(result.history[-1]["gates"][g][0]) for g in ("block1", "block2", "pool")] == [
        2,
        2,
        1,
    ]
    assert "pool=average" in result.text
    names = tiny.state(result.run)["state"]["net"]
    assert not any("option_max" in name for name in names)


@pytest.mark.parametrize(
    ("without", "error", "words"),
    [
        ("nune", UnknownNameError, "'nune'.*none"),
        ("skip_connect,sep_conv_3x3,none", SpaceError, "has no option but none, skip_connect"),
    ],
)
def test_what_cannot_be_left_out_is_said_before_anything_is_written(
    tmp_path, without, error, words
):
    with pytest.raises(error, match=words):
        run(tmp_path / "run", settings={"without": without})
    assert not (tmp_path / "run").exists()


def test_a_space_keeps_its_kind():
    space = space_of(tiny.own())
    assert type(space.without(["skip"])) is type(space)
