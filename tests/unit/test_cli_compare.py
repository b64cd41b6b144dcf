"""`morphogen compare` as a user sees it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from morphogen.cli import main
from morphogen.cli.compare import configured
from morphogen.methods.random import RandomSearchConfig

SMALL = ["--seeds", "3", "--budget", "25", "--workers", "1"]


def test_everything_is_written_and_the_same_command_goes_on(tmp_path, capsys):
    words = ["compare", "random", "local-search", *SMALL, "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {e["name"] for e in found["entries"]} == {"random", "local-search"}
    assert (found["search_metric"], found["report_metric"]) == (
        "cifar10_valid_12",
        "cifar10_test_200",
    )
    assert all(e["reported"]["n"] == 3 for e in found["entries"])
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written == found
    for name in ("regret.svg", "search-regret.svg"):
        drawing = ElementTree.parse(tmp_path / "out" / name).getroot()
        assert len(drawing.findall(".//{*}polyline")) == 2
        assert "random" in "".join(drawing.itertext())
    trials = (tmp_path / "out" / "trials.jsonl").read_bytes()
    assert len(trials.splitlines()) == 6
    assert main(words) == 0
    text = capsys.readouterr()
    assert (tmp_path / "out" / "trials.jsonl").read_bytes() == trials  # nothing was done again
    assert "searches 6/6" in text.err
    assert "3 seeds, 25 look-ups each, searched by cifar10_valid_12" in " ".join(text.out.split())
    assert "\x1b" not in text.out + text.err


def test_a_table_of_test_figures_is_searched_only_when_it_is_said(capsys):
    words = ["compare", "random", "--space", "nasbench-macro", "--benchmark", "test_acc", *SMALL]
    assert main(words) == 2
    assert "is a test figure" in capsys.readouterr().err
    assert main([*words, "--oracle"]) == 0
    assert "a test figure: to compare methods" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "METHOD... missing"),
        (["darts"], "'darts' trains a supernet and asks for no scores"),
        (["rando"], "did you mean 'random'"),
        (["random:repeat=1"], "did you mean 'repeats'"),
        (["random:repeats"], "accepted: METHOD:option=value"),
        (["random:repeats=perhaps"], "repeats is 'perhaps'"),
        (["random", "random"], "named twice"),
        (["random", "--seeds", "0"], "--seeds is '0'"),
        (["random", "--budget", "many"], "--budget is 'many'"),
        (["random", "--space", "darts"], "has no benchmark table"),
        (["random", "--report", "cifar10_test"], "did you mean"),
        (["random", "--seed", "3"], "did you mean --seeds"),
    ],
)
def test_a_mistake_is_one_sentence(words, part, capsys):
    code = main(["compare", *words, "--json"])
    err = capsys.readouterr().err
    assert code == 2
    assert part in err
    assert err.count("\n") == 1


def test_an_unwritable_place_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["compare", "random", *SMALL, "--out", str(tmp_path / "file")]) == 4
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith("morphogen: cannot ")


def test_options_of_methods_are_read_with_their_types():
    assert configured("random") == ("random", RandomSearchConfig())
    assert configured("random:repeats=true") == ("random", RandomSearchConfig(repeats=True))
    name, config = configured("aging-evolution:population=20,sample=5")
    assert (name, config.population, config.sample) == ("aging-evolution", 20, 5)
