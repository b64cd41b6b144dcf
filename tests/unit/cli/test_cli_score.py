"""`morphogen score` as a user sees it, and what it is made of."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from morphogen import benchmarks, proxies, spaces
from morphogen.cli import main
from morphogen.core import ConfigError, RunError
from morphogen.engine.judge.proxy_scores import Scored, Scoring, against, sample_of, score_all
from read_page import Page

SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|"
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
TINY = ["--channels", "4", "--depth", "1", "--image-size", "8", "--batch-size", "8"]
SMALL = {"channels": 4, "depth": 1, "image_size": 8, "batch_size": 8}


def test_named_architectures_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", "nasbench201", SKIP, CONV, DEAD, *TINY, "--proxy", "nwot, params,jacob_cov"]
    assert main(words) == 0
    found = capsys.readouterr()
    assert found.err == ""
    text = " ".join(found.out.split())
    assert f"1 {SKIP} 2 {CONV} 3 {DEAD}" in text
    assert "8 images of fashion-mnist, each [1, 8, 8]; seed 0. Higher is better." in text
    assert "params: trainable parameters, in millions" in text
    assert text.split("params: ")[0].count(" none ") >= 1  # no Jacobian of a network without paths
    assert main([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    first, second, dead = content["architectures"]
    assert first["scores"]["nwot"] < second["scores"]["nwot"]
    assert dead["scores"]["jacob_cov"] is None
    assert [p["name"] for p in content["proxies"]] == ["nwot", "params", "jacob_cov"]
    assert content["network"]["channels"] == 4


def test_a_sample_is_judged_by_the_table(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    file = tmp_path / "new" / "scores.jsonl"
    words = ["score", "nasbench201", *TINY, "--proxy", "synflow,params", "--workers", "1"]
    words += ["--output", str(file), "--seed", "2"]
    assert main([*words, "--sample", "12"]) == 0
    found = capsys.readouterr()
    assert "architectures 12/12" in found.err
    text = " ".join(found.out.split())
    assert "12 random architectures" in text
    assert "Rank correlations with cifar10_test_200" in text
    assert f"Written: {file}" in text
    assert found.out.splitlines()[-1] == f"Page: {file.with_suffix('.html')}"
    read = Page(file.with_suffix(".html").read_text())
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    best = max(lines, key=lambda row: row["scores"]["synflow"] or -math.inf)
    row = [best["architecture"], *(f"{best['scores'][n]:.5g}" for n in ("synflow", "params"))]
    assert read.cells[1] == row
    value = benchmarks.load("nasbench201").query(best["architecture"])["cifar10_test_200"]
    stop = read.hover[0]["stops"][-1]
    assert stop["t"][0] == "best by synflow"
    assert stop["t"][2] == f"cifar10_test_200: {value:.4g}"
    assert main([*words, "--sample", "12", "--page", "x.pdf"]) == 2
    assert "--page is 'x.pdf'" in capsys.readouterr().err
    assert "\x1b" not in found.out + found.err

    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0]["proxy_scores"]["proxies"] == ["synflow", "params"]
    table = benchmarks.load("nasbench201")
    truth = table.scores(
        [table.space.parse(r["architecture"]) for r in rows[1:]], "cifar10_test_200"
    )
    assert main([*words, "--sample", "12", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    for name in ("synflow", "params"):
        found = [r["scores"][name] for r in rows[1:]]
        values = [-1e9 if value is None else value for value in found]  # no score: the worst
        judged = content["against"]["proxies"][name]
        assert judged["kendall"]["value"] == pytest.approx(kendalltau(truth, values).statistic)
        assert judged["spearman"]["value"] == pytest.approx(spearmanr(truth, values).statistic)
        assert judged["kendall"]["low"] < judged["kendall"]["value"] < judged["kendall"]["high"]

    assert set(content["against"]["proxies"]) == {"synflow", "params", "sum of their ranks"}

    before = file.read_bytes()
    assert main([*words, "--sample", "15"]) == 0  # a larger sample goes on
    assert file.read_bytes().startswith(before)
    assert len(file.read_text().splitlines()) == 16


def test_a_record_cut_anywhere_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    space = spaces.make("nasbench201")
    scoring = Scoring.of(space, ["synflow", "zen"], **SMALL)
    archs = sample_of(space, 6, 0)
    file = tmp_path / "scores.jsonl"
    whole = score_all(archs, scoring, record=file, workers=1)
    content = file.read_bytes()
    for cut in (0, 5, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:cut])
        if cut == 5:  # not even the first line: it may be anything
            with pytest.raises(RunError, match="no record of scores"):
                score_all(archs, scoring, record=file, workers=1)
            continue
        assert score_all(archs, scoring, record=file, workers=1) == whole
        assert file.read_bytes() == content


def test_a_record_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    space = spaces.make("nasbench201")
    scoring = Scoring.of(space, ["params"], **SMALL)
    file = tmp_path / "scores.jsonl"
    score_all(sample_of(space, 2, 0), scoring, record=file, workers=1)
    before = file.read_bytes()
    for other, why in (
        (Scoring.of(space, ["params"], **SMALL, seed=1), "made with seed 0, not 1"),
        (Scoring.of(space, ["l2_norm"], **SMALL), "made with proxies"),
        (scoring, "line 2 of"),
    ):
        with pytest.raises(RunError, match=why):
            score_all(sample_of(space, 2, 5), other, record=file, workers=1)
        assert file.read_bytes() == before
    for content in ("not json\n", "[1]\n", '{"a": 1}\n'):
        file.write_text(content)
        with pytest.raises(RunError, match="what score wrote"):
            score_all(sample_of(space, 2, 0), scoring, record=file, workers=1)


def test_a_score_does_not_depend_on_its_neighbours() -> None:
    space = spaces.make("nasbench201")
    scoring = Scoring.of(space, ["zen", "snip"], **SMALL)
    archs = sample_of(space, 3, 0)
    forth = score_all(archs, scoring, workers=1)
    back = score_all(archs[::-1], scoring, workers=1)
    assert forth == back[::-1]
    batch, spec = scoring.batch, scoring.spec
    direct = proxies.score_architecture(("zen",), space, archs[1], batch, spec, 0)
    assert forth[1].scores["zen"] == direct["zen"]


def test_samples_are_different_and_begin_alike() -> None:
    for name in ("nasbench201", "darts"):
        space = spaces.make(name)
        few, more = sample_of(space, 20, 3), sample_of(space, 50, 3)
        assert more[:20] == few
        assert len(set(more)) == 50
        assert sample_of(space, 20, 4) != few
    macro = spaces.make("nasbench-macro")
    assert len(set(sample_of(macro, macro.size(), 0))) == macro.size()
    with pytest.raises(ConfigError, match="accepted: 1 to 6561"):
        sample_of(macro, 6562, 0)


def test_a_table_whose_figure_is_small_for_good_ones_is_turned(monkeypatch) -> None:
    table = benchmarks.load("nasbench201")
    archs = sample_of(table.space, 10, 0)
    truth = table.scores(archs, "cifar10_test_200")
    scored = [Scored(a, {"x": float(t)}) for a, t in zip(archs, truth, strict=True)]
    assert against(table, "cifar10_test_200", scored)["x"].levels[0].tau.value == pytest.approx(1)
    worst = [Scored(a, {"x": -np.inf}) for a in archs]
    constant = against(table, "cifar10_test_200", worst)["x"].levels[0].tau.value
    assert np.isnan(constant)  # nothing was ordered


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "SPACE missing"),
        (["nasbench201"], "nothing to score; accepted: one of ARCH..., --sample N"),
        (["nasbench201", SKIP, "--all"], "ARCH and --all to score"),
        (["nasbench201", SKIP, SKIP], "named twice"),
        (["nasbench201", "x"], "'x'"),
        (["nasbench202", "--all"], "did you mean 'nasbench201'"),
        (["nasbench201", "--sample", "0"], "--sample is '0'"),
        (["nasbench201", "--sample", "20000"], "accepted: 1 to 15625"),
        (["darts", "--all"], "all architectures of darts are"),
        (["nasbench201", "--all", "--proxy", "nwt"], "did you mean 'nwot'"),
        (["nasbench201", "--all", "--proxy", "nwot,nwot"], "each once"),
        (["nasbench201", "--all", "--proxy", ""], "--proxy is empty"),
        (["nasbench201", "--all", "--proxy", ","], "unknown proxy ''"),
        (["nasbench201", SKIP, "--batch-size", "1"], "--batch-size is '1'"),
        (["nasbench201", SKIP, "--batch-size", "9999999"], "9999999"),
        (["nasbench201", SKIP, "--data", "nowhere"], "unknown data set"),
        (["nasbench201", SKIP, "--benchmark", "cifar10"], "did you mean"),
        (["darts", "DARTS_V2", "--benchmark", "a"], "has no table"),
        (["nasbench201", SKIP, "--sampel", "3"], "did you mean --sample"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *words, "--json"]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1


def test_networks_that_fail_on_the_images_are_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["score", "darts", "DARTS_V2", "--channels", "4", "--depth", "3", "--image-size", "13"]
    assert main([*words, "--batch-size", "8"]) == 2
    err = capsys.readouterr().err
    assert "features of 13x13 pixels cannot be halved" in err
    assert err.count("\n") == 1


def test_the_list_of_proxies_is_that_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "proxies", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["proxies"]
    assert [p["name"] for p in listed] == list(proxies.PROXIES)
    assert main(["list", "proxies"]) == 0
    text = capsys.readouterr().out
    assert all(p.summary in text for p in proxies.PROXIES.values())


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_file(tmp_path: Path) -> None:
    words = ["score", "nasbench201", *TINY, "--proxy", "jacob_cov,zen", "--sample", "40"]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    assert main([*words, "--workers", "1", "--output", str(one)]) == 0
    code = "import sys; from morphogen.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words, "--workers", "2", "--output", str(two)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not two.exists() or two.read_bytes().count(b"\n") < 6):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 5 < two.read_bytes().count(b"\n") < 41
    subprocess.run(command, check=True, capture_output=True)
    assert two.read_bytes() == one.read_bytes()
