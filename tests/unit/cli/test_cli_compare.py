"""`morphogen compare` as a user sees it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

import run_directories as made
from morphogen.cli import main
from morphogen.core import ConfigError
from morphogen.engine.judge.compare import configured
from morphogen.methods.random import RandomSearchConfig
from read_page import Page

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
    file = tmp_path / "out" / "comparison.html"
    assert text.out.splitlines()[-1] == f"Page: {file}"
    read = Page(file.read_text())
    first = found["entries"][0]
    value = first["reported"]
    shown = f"{value['mean']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    assert [first["name"], f"{first['mean_rank']:.2f}", shown] in [c[:3] for c in read.cells]
    stops = read.hover[0]["stops"]
    assert stops[-1]["t"][0] == "architectures looked up 25"
    regret = float(f"{first['regret']['mean']:.4g}")
    assert f"{first['name']}: {regret:g}" in stops[-1]["t"]
    assert "Wilcoxon's signed ranks" in read.text


def test_a_page_without_a_folder(tmp_path, capsys):
    words = ["compare", "random", "--seeds", "1", "--budget", "5", "--workers", "1"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("--page FILE.html")
    page = tmp_path / "one.html"
    assert main([*words, "--page", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Page: {page}"
    assert "nothing is known of another" in Page(page.read_text()).text
    assert main([*words, "--page", "one.pdf"]) == 2
    assert "--page is 'one.pdf'; accepted: a file that ends in .html" in capsys.readouterr().err


def test_runs_are_compared_by_report(tmp_path, capsys):
    run = made.search(tmp_path / "run")
    assert main(["compare", str(run)]) == 2
    assert "runs are compared by `morphogen report RUN RUN`" in capsys.readouterr().err


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
    name, config = configured("weaknas:pool=7, sizes.mlp.width=64,encoding=path")
    assert (config.pool, config.sizes.mlp.width, config.encoding) == (7, 64, "path")
    name, config = configured("aging-evolution:population=20,sample=5")
    assert (name, config.population, config.sample) == ("aging-evolution", 20, 5)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("weaknas:pool=3,pool.size=4", "pool.size' is there twice, or with a part of it"),
        ("weaknas:pool.size=4,pool=3", "pool' is there twice, or with a part of it"),
        ("weaknas:pool=3,pool.a.b=4", "pool.a.b' is there twice"),
        ("weaknas:pool=3,pool=4", "pool' is there twice"),
        ("weaknas:sizes=3", "sizes is '3'; accepted: "),
        ("weaknas:sizes.mlp.width=10000000000", "sizes.mlp.width is '10000000000'; accepted: "),
        ("weaknas:pool.size=4", "pool is {'size': '4'}; accepted: "),
        ("weaknas:pool=", "cannot read 'pool='"),
        ("weaknas:=3", "cannot read '=3'"),
        ("weaknas:", "cannot read ''"),
        ("weaknas:pool=3,", "cannot read ''"),
        ("weaknas:.=3", "unknown field of WeakNASConfig ''"),
        ("weaknas:pool=" + "[" * 50_000, "pool is '[[["),
        ("weaknas:pool=&a [*a]", "pool is '&a [*a]'; accepted: "),
        ("weaknas:pool=!!python/name:os.system", "pool is '!!python/name:os.system'"),
        ("weaknas:" + "a." * 20_000 + "b=1", "unknown field of WeakNASConfig 'a'"),
        ("weaknas:pool=" + "9" * 5000, "pool is '9999"),
        ("x" * 10_000, "unknown method 'xxx"),
    ],
    ids=lambda v: v[:30],
)
def test_options_of_methods_that_cannot_be_read_are_one_short_sentence(text, part):
    with pytest.raises(ConfigError) as caught:
        configured(text)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 1500
