"""Pages from run directories with known numbers: what they must say, and not ask for."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import run_directories as made
from morphogen import benchmarks
from morphogen.cli import main
from morphogen.core import RunError
from morphogen.reports.reading import read_run
from morphogen.reports.scale import BOTTOM, HEIGHT, TOP
from morphogen.reports.sections import facts
from morphogen.runs.tabled import metric_on
from read_page import page


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 4) -> str:
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("morphogen: ")
    assert err.count("\n") == 1
    return err


def test_a_search_in_a_space_with_a_table(tmp_path: Path) -> None:
    markup, read = page(made.search(tmp_path / "run"))
    table = benchmarks.load("nasbench201")
    value = table.query(made.MIXED)["cifar10_test_200"]
    row = next(cells for cells in read.cells if cells[:1] == ["CIFAR-10"])
    assert row[1] == f"{value:.2f}"
    assert row[2] == f"{table.rank(made.MIXED, 'cifar10_test_200'):,} of 15,625"
    assert made.MIXED in read.text
    assert "Discretization gap after the last epoch: 12.0 points" in read.text
    assert ["1", "2", "2.2"] in read.cells  # losses of the first epoch: 2 / 1, 2.2 / 1
    assert ["6", "0.3333", "0.3667"] in read.cells
    assert "morphogen search idarts --space nasbench201" in read.text
    assert "9.0 s" in read.text  # six epochs of 1.5 s
    assert len(markup) < 400_000


def test_phases_are_told_apart(tmp_path: Path) -> None:
    names = ["supernet"] * 4 + ["selection"] * 2
    rows = [made.epoch(i, made.CONV) | {"phase": n} for i, n in enumerate(names, start=1)]
    run = made.write(tmp_path / "run", made.config("darts-pt"), rows, architecture=made.CONV)
    markup, read = page(run)
    assert "6 epochs: supernet 4, selection 2" in read.text
    loss = next(label for label in read.labels if label.startswith("Loss"))
    assert "; supernet from epoch 1; selection from epoch 5. " in loss
    # A line at the fifth of six epochs: four fifths of the way from the first to the last.
    stops = next(h["stops"] for h in read.hover if h["stops"][0]["t"][0] == "epoch 1")
    left, right = stops[0]["x"], stops[-1]["x"]
    (at, *_) = re.findall(r'<line class="start" x1="([\d.]+)"', markup)
    assert float(at) == pytest.approx(left + 0.8 * (right - left), abs=0.2)


def test_a_search_of_one_phase_has_none(tmp_path: Path) -> None:
    markup, read = page(made.search(tmp_path / "run"))
    assert 'class="start"' not in markup
    assert "6 epochs" in read.text
    assert "6 epochs:" not in read.text


def test_the_page_is_sound(tmp_path: Path) -> None:
    _, read = page(made.search(tmp_path / "run"))
    levels = [level for level, _ in read.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert len(read.ids) == len(set(read.ids))


def test_nothing_is_fetched(tmp_path: Path) -> None:
    markup, _ = page(made.search(tmp_path / "run"))
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", markup)
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|import\(", markup)


def test_hover_data_stands_where_the_points_are(tmp_path: Path) -> None:
    _, read = page(made.search(tmp_path / "run"))
    stops = next(h for h in read.hover if h["mode"] == "x")["stops"]
    assert [s["t"] for s in stops[:1]] == [
        ["epoch 1", "train loss (train part): 2", "valid loss (search-validation part): 2.2"]
    ]
    # Six epochs are evenly spaced, and 2, 1, 2/3, ... keep their proportions on a linear axis.
    gaps = [b["x"] - a["x"] for a, b in pairwise(stops)]
    assert max(gaps) - min(gaps) < 0.3
    y = [s["y"][0][0] for s in stops]
    assert (y[2] - y[0]) / (y[1] - y[0]) == pytest.approx((2 - 2 / 3) / (2 - 1), abs=0.01)


def test_gates_are_drawn_and_the_kept_option_is_marked(tmp_path: Path) -> None:
    markup, read = page(made.search(tmp_path / "run"))
    grids = [h for h in read.hover if h["mode"] == "grid"]
    assert len(grids) == 6
    assert grids[0]["rows"][-1] == "avg_pool_3x3"
    assert len(grids[0]["gate"]) == 6
    assert sum(grids[0]["gate"][5]) == pytest.approx(1, abs=0.001)
    # The gates are 0.06 to 0.46, and drawn on a scale from 0 to 1.
    assert "gate 0 1. ▸ marks" in " ".join(read.text.split())
    assert not {f"q{n}" for n in range(6, 12)} & set(re.findall(r'path class="(q\d+)"', markup))
    kept = [cells[0] for cells in read.cells if cells and cells[0].endswith("(kept)")]
    assert kept[0] == "edge 0 to 1: nor_conv_3x3 (kept)"
    assert len(kept) == 6


def test_shares_are_drawn_from_0_to_1(tmp_path: Path) -> None:
    """Of six epochs with an entropy of 0.99 to 0.94: a line that hardly falls."""
    markup, _ = page(made.search(tmp_path / "run"))
    for title, values in (
        ("Entropy of the gates", [1 - 0.01 * n for n in range(1, 7)]),
        ("Decisions changed", [0.5 / n for n in range(1, 7)]),
    ):
        drawn = markup[markup.index(f">{title}<") :]
        (points,) = re.findall(r'polyline class="line s0" points="([^"]+)"', drawn)[:1]
        heights = [float(pair.split(",")[1]) for pair in points.split()]
        whole = HEIGHT - TOP - BOTTOM  # of the axis
        assert [(HEIGHT - BOTTOM - h) / whole for h in heights] == pytest.approx(values, abs=1e-3)


def test_a_long_search_is_thinned_and_says_so(tmp_path: Path) -> None:
    rows = [made.epoch(n, made.CONV) for n in range(1, 201)]
    path = made.write(tmp_path / "run", made.config(), rows, architecture=made.CONV)
    markup, read = page(path)
    grid = next(h for h in read.hover if h["mode"] == "grid")
    assert grid["cols"][-1] == "epoch 200"
    assert len(grid["cols"]) <= 80
    assert "Every 3th" not in read.text
    assert "One epoch in 3 is drawn" in read.text
    assert len(markup) < 1_000_000


def test_darts_cells(tmp_path: Path) -> None:
    _, read = page(made.darts(tmp_path / "run"))
    assert sum(h["mode"] == "grid" for h in read.hover) == 28
    drawn = next(text for text in read.labels if text.startswith("Reduction cell"))
    assert "node 3 takes sep_conv_3x3 of 1, node 3 takes max_pool_3x3 of 2" in drawn
    assert "Where it stands" not in read.text


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    values = made.config()
    listed = [{"name": "stem", "options": ["narrow", "wide"]}]
    values["space"] = {"name": "own", "code": "module", "choices": listed}
    row = made.epoch(1, "stem=wide") | {"gates": {"stem": [[0.25, 0.75]]}, "alpha": {}}
    _, read = page(made.write(tmp_path / "run", values, [row], architecture="stem=wide"))
    assert ["stem", "wide"] in read.cells
    assert ["stem: wide (kept)", "0.7500", "0.7500", ""] in read.cells


def test_a_user_s_strings_are_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    values = made.config() | {"data": evil, "command": evil, "machine": evil}
    path = made.write(tmp_path / "run", values, [made.epoch(1, made.CONV)], architecture=evil)
    markup, read = page(path)
    assert "<img" not in markup
    assert read.text.count(evil) >= 4


def test_macro_table_has_a_cloud_by_parameters(tmp_path: Path) -> None:
    text = "12012012"
    rows = [{"epoch": 1, "candidate": text, "architecture": text, "score": 90.0, "seconds": 0.1}]
    values = made.config(
        "random", "nasbench-macro", evaluation={"evaluator": "table", "metric": "params"}
    )
    _, read = page(made.write(tmp_path / "run", values, rows, architecture=text))
    titles = [title for _, title in read.headings]
    assert "All 6,561 architectures: test against parameters" in titles
    record = benchmarks.load("nasbench-macro").query(text)
    stop = next(h for h in read.hover if "cloud" in h)["stops"][-1]
    assert stop["t"][1] == f"parameters: {record['params'] / 1e6:.4g} M"
    low, high = record.interval("test_acc")
    assert f"{low:.2f} to {high:.2f}" in read.text


def test_scores_failures_and_the_front(tmp_path: Path) -> None:
    rows = [
        {"epoch": n, "candidate": made.CONV, "architecture": made.CONV, "score": made.wave(n)}
        | {"accuracy": made.wave(n), "params": 1000.0 * n, "seconds": 0.1, "cpu_seconds": 0.1}
        for n in range(1, 5001)
    ]
    rows[9] = {"epoch": 10, "candidate": made.CONV, "failed": "it raised", "seconds": 0.1}
    front = [{"architecture": made.CONV, "accuracy": 60.0, "params": 1000.0}]
    front.append({"architecture": made.SKIP, "accuracy": 70.0, "params": 2000.0})
    path = made.write(
        tmp_path / "run",
        made.config("nsga2", evaluation={"evaluator": "table"}),
        rows,
        architecture=made.CONV,
        candidates=front,
        hypervolume=12.5,
        reference={"accuracy": 1.0, "params": 9e6},
    )
    markup, read = page(path)
    assert "1 of 5,000 evaluations failed" in read.text
    assert "Hypervolume 12.5" in read.text
    stops = next(h for h in read.hover if h["mode"] == "x")["stops"]
    best = max(made.wave(n) for n in range(1, 5001))
    assert float(stops[-1]["t"][1].split(": ")[1].replace(",", "")) == pytest.approx(best, 1e-3)
    assert len(stops) <= 2000
    assert len(markup) < 1_500_000


def test_what_a_search_offers_beside_its_result(tmp_path: Path) -> None:
    rows = [made.epoch(i, made.CONV) for i in (1, 2)]
    several = [{"architecture": made.CONV, "accuracy": 61.25}]
    several.append({"architecture": made.SKIP, "accuracy": 60.5})
    path = made.write(
        tmp_path / "run", made.config("spos"), rows, architecture=made.CONV, candidates=several
    )
    _, read = page(path)
    assert "The 2 architectures that the search offers, the best first" in read.text
    assert "61.25" in read.text


def test_own_data_come_before_a_table_of_others(tmp_path: Path) -> None:
    table = benchmarks.load("nasbench201")
    value = table.query(made.MIXED)["cifar100_test_200"]
    rank = f"rank {table.rank(made.MIXED, 'cifar100_test_200'):,} of 15,625"
    own = dict(facts(read_run(made.search(tmp_path / "own", data="photos/"))))
    names = list(own)
    assert names[1] == "Recalibrated accuracy in % on the search-validation part"
    assert own[names[1]] == "48, one seed: no interval"
    assert names[2] == "Not these data: CIFAR-10 test accuracy in %, from the table"
    theirs = dict(facts(read_run(made.search(tmp_path / "theirs", data="cifar100:c"))))
    assert theirs["CIFAR-100 test accuracy in %, from the table"] == f"{value:.4g}, {rank}"
    assert not any(name.startswith(("Not these", "Recalibrated")) for name in theirs)


@pytest.mark.parametrize(
    ("data", "evaluation", "metric"),
    [
        ("cifar10:here", {}, "cifar10_test_200"),
        ("fashion-mnist", {}, None),
        ("hf:photos", {"evaluator": "training", "metric": "cifar100_valid_12"}, None),
        ("fashion-mnist", {"evaluator": "table", "metric": ""}, "cifar10_test_200"),
        ("fashion-mnist", {"evaluator": "table", "metric": "params"}, "cifar10_test_200"),
        ("x", {"evaluator": "table", "metric": "cifar100_valid_12"}, "cifar100_test_200"),
    ],
)
def test_the_table_s_column_of_the_run_s_own_data(data: str, evaluation: dict, metric: str) -> None:
    values = made.config(data=data, evaluation=evaluation)
    assert metric_on(benchmarks.load("nasbench201"), values) == metric


def test_a_training(tmp_path: Path) -> None:
    rows = [
        {"epoch": 3 * s + e, "seed": s, "seed_epoch": e, "architecture": made.CONV}
        | {"train_loss": 1 / e, "train_accuracy": 50.0 + e, "held_out_accuracy": 60.0 + e + s}
        | {"seconds": 1.0, "cpu_seconds": 1.0}
        for s in (0, 1)
        for e in (1, 2, 3)
    ]
    test = {"mean": 64.5, "low": 58.1, "high": 70.9, "n": 2, "values": [64.0, 65.0]}
    values = made.config("train") | {"config": {"architecture": made.CONV}}
    result = {**made.TRAINED, "architecture": made.CONV, "test_accuracy": test}
    path = made.write(tmp_path / "run", values, rows, **result)
    _, read = page(path)
    assert ["test", "64.50", "58.10 to 70.90", "2", "64.00, 65.00"] in read.cells
    assert ["3", "63", "64"] in read.cells
    first = dict(facts(read_run(path)))
    assert first["Test accuracy in %, 2 seeds"] == "64.5 (95 % interval 58.10 to 70.90)"
    assert "The training" in [title for _, title in read.headings]


# -- what is wrong is said -------------------------------------------------------------------------


def test_unfinished_runs_are_reported_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.write(tmp_path / "cut", made.config(), [made.epoch(1, made.CONV)])
    _, read = page(path)
    assert "This run is not finished: what follows is its state after 1 epoch." in read.text
    assert f"morphogen resume {path}" in read.text
    empty = made.write(tmp_path / "empty", made.config(), [])
    _, read = page(empty)
    assert "after 0 epochs" in read.text
    assert main(["report", str(path)]) == 0
    assert "is cut off" in capsys.readouterr().out
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert read_run(path).state == "running"
    os.close(handle)
    assert read_run(path).state == "cut off"


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    path = made.search(tmp_path / "run")
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines[3] = lines[3][:40] + "\n"
    (path / "metrics.jsonl").write_text("".join(lines))
    (path / "result.json").write_text("{")
    _, read = page(path)
    assert "metrics.jsonl is damaged: its last 3 lines cannot be read" in read.text
    assert "result.json is damaged" in read.text


@pytest.mark.parametrize(
    "change",
    [
        {"gates": {"cell": [[0.5, "x"]]}},
        {"gates": {"cell": [[0.1] * 5] * 3}},
        {"gates": {"cell": []}},
        {"gates": 3, "alpha": None},
        {"train_loss": "low", "valid_loss": float("nan"), "skips": None},
        {"architecture": "|no|such|cell|"},
        {"examples": {"train": "many"}},
        {"seconds": "long"},
    ],
)
def test_lines_of_metrics_with_strange_values_end_in_no_traceback(
    tmp_path: Path, change: dict
) -> None:
    rows = [made.epoch(1, made.CONV), made.epoch(2, made.CONV) | change]
    page(made.write(tmp_path / "run", made.config(), rows, architecture=made.CONV))


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no run" in refused(capsys, "report", str(tmp_path))
    assert "RUN... missing" in refused(capsys, "report", "--open", code=2)
    path = made.search(tmp_path / "run")
    assert "ends in .html" in refused(capsys, "report", str(path), "--out", "x.pdf", code=2)
    (tmp_path / "file").touch()
    said = refused(capsys, "report", str(path), "--out", str(tmp_path / "file" / "x.html"))
    assert "cannot write" in said
    (path / "config.yaml").write_text("method: idarts\n")
    assert "has no space" in refused(capsys, "report", str(path))
    assert "is no directory" in refused(capsys, "runs", str(tmp_path / "none"))


# -- runs ------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = made.search(tmp_path / "deep" / "old")
    new = made.write(tmp_path / "new", made.config("darts", "darts"), [])
    values = made.config("darts", "darts") | {"created": "2026-02-02T03:04:05+00:00"}
    (new / "config.yaml").write_text(yaml.safe_dump(values))
    assert main(["runs", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [entry["run"] for entry in listed] == [str(new), str(old)]
    assert [entry["state"] for entry in listed] == ["cut off", "finished"]
    best = listed[1]["best"]
    assert best["value"] == 48.0  # on Fashion-MNIST, of which the table says nothing
    assert best["what"] == "recalibrated accuracy in % on the search-validation part"
    assert (best["seeds"], best["interval_95"]) == (1, None)
    assert listed[1]["cost"] == {"seconds": 9.0, "cpu_seconds": 7.5}
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[:2] == ["run", "state"]
    assert lines[2].split("\t")[:4] == [str(old), "finished", "idarts", "nasbench201"]


def test_damaged_runs_do_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.search(tmp_path / "good")
    bad = made.search(tmp_path / "bad")
    (bad / "config.yaml").write_text("{")
    assert main(["runs", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.startswith("note: cannot read ")
    shutil.rmtree(tmp_path / "good")
    shutil.rmtree(bad)
    assert main(["runs", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out


def _settings(**changed: object) -> Callable[[Path], object]:
    values = made.config(**changed)  # type: ignore[arg-type]
    return lambda run: (run / "config.yaml").write_text(yaml.safe_dump(values))


def _bytes(name: str, raw: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(raw)


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return edit


def _cost(value: object) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        result = json.loads((run / "result.json").read_text())
        result["cost"]["seconds"] = value
        (run / "result.json").write_text(json.dumps(result))

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_settings(seed="abc"), "config.yaml has settings.seed 'abc'; accepted: a whole number"),
        (_settings(seed=None), "config.yaml has settings.seed None"),
        (_settings(seed=float("nan")), "config.yaml has settings.seed nan"),
        (_settings(more=10**30), "settings.more 1000000000000000000000000000000"),
        (_bytes("config.yaml", b"[" * 500), "config.yaml, line 1: more than 100 lists"),
        (_bytes("config.yaml", b"a: &a [1]\nb: *a"), "config.yaml, line 2: an alias"),
        (_instead("config.yaml", os.mkfifo), "config.yaml: a named pipe, not a file"),
        (_instead("config.yaml", Path.mkdir), "config.yaml: a folder, not a file"),
        (_bytes("result.json", b"[" * 200_000), "result.json is damaged; `morphogen resume` wri"),
        (_bytes("result.json", b"\0"), "result.json is damaged; `morphogen resume` writes it"),
        (_instead("result.json", Path.mkdir), "result.json: a folder, not a file"),
        (_cost(float("inf")), "result.json is damaged"),
        (_cost(10**400), "it has cost.seconds a number of hundreds of digits"),
        (_cost("long"), "it has cost.seconds 'long'; accepted: a number"),
        (_bytes("rank.json", b"{}"), "rank.json is damaged; `morphogen rank` writes it anew"),
        (_instead("metrics.jsonl", os.mkfifo), "metrics.jsonl: a named pipe, not a file"),
        (_bytes("metrics.jsonl", b'{"epoch": true}\n'), "(line 1 of it has epoch True; accepted"),
    ],
)
def test_a_damaged_run_is_named_with_its_fault_and_the_others_are_listed(
    edit: Callable[[Path], object],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made.search(tmp_path / "good")
    bad = made.search(tmp_path / "bad")
    edit(bad)
    assert main(["runs", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert str(tmp_path / "good") in out
    (note,) = err.splitlines()
    assert str(bad) in note
    assert said in note
    code = main(["report", str(bad), "--out", str(tmp_path / "r.html")])
    out, err = capsys.readouterr()
    assert said in (out if code == 0 else err)
    assert code in (0, RunError.exit_code)


def test_a_damaged_store_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.write(tmp_path / "run", made.config("random"), [])
    (path / "evaluations.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path / "evaluations.sqlite").execute("SELECT 1 FROM sqlite_master")
    assert "is damaged" in refused(capsys, "report", str(path))
