"""`morphogen rank` as a user sees it; and truths, scorers and records behind it."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from scipy.stats import kendalltau

from morphogen import benchmarks, spaces
from morphogen.cli import main
from morphogen.core import DataError, RunError
from morphogen.core.rng import numpy_stream
from morphogen.engine.judge.rank import rank
from morphogen.engine.judge.ranking import Scorer
from morphogen.engine.judge.scorers import predictor_scorer, supernet_scorer
from morphogen.engine.judge.truth import file_truth, same_data, table_truth
from morphogen.engine.search.search import search
from tiny import SETTINGS, changed

SPACE = spaces.make("nasbench-macro")


def said(capsys, *words, code=0):
    assert main(["rank", *words]) == code
    return capsys.readouterr()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on shipped data, so that the command line finds them again."""
    path = tmp_path_factory.mktemp("ranked") / "run"
    settings = replace(SETTINGS, epochs=1)
    search("gdas", space="nasbench-macro", settings=settings, run=path)
    return path


# -- columns and predictors ------------------------------------------------------------------------


def test_a_column_is_ranked_against_another(capsys):
    words = ("--column", "cifar10_valid_12", "--sample", "100", "--bootstrap", "20")
    found = json.loads(said(capsys, *words, "--json").out)
    table = benchmarks.load("nasbench201")
    assert (found["truth"], found["n"]) == ("cifar10_test_200", 100)
    rows = numpy_stream(0, "ranking/sample").permutation(len(table))[:100]
    expected = kendalltau(
        table.values("cifar10_test_200")[rows], table.values("cifar10_valid_12")[rows]
    ).statistic
    assert found["levels"][0]["tau"]["value"] == pytest.approx(expected)
    assert found["levels"][0]["tau"]["low"] < expected < found["levels"][0]["tau"]["high"]
    text = " ".join(said(capsys, *words).out.split())
    assert f"all 100 {expected:.2f} (" in text
    assert "truly best 10 % 10 " in text
    assert "Best predicted: |" in text


def test_within_looks_at_the_best_alone(capsys):
    words = ("--column", "cifar10_valid_12", "--within", "0.01", "--bootstrap", "0", "--json")
    found = json.loads(said(capsys, *words).out)
    assert found["n"] == 156
    assert found["levels"][0]["tau"]["value"] == pytest.approx(0.3411, abs=5e-5)
    assert found["levels"][0]["tau"]["low"] is None


def test_a_predictor_is_judged_on_what_it_did_not_see(tmp_path):
    truth = table_truth(SPACE).sample(400, 1)
    scorer = predictor_scorer("ridge", truth, fit=100, seed=3)
    found = rank(scorer, truth, resamples=0)
    assert found.ranking.n == 300
    assert not set(found.truth.archs) & scorer.known
    assert found.ranking.levels[0].tau.value > 0.6
    page = found.report(tmp_path / "order.html")
    assert "Scored: 300 architectures of " in page.path.read_text()


def test_a_sample_holds_the_smaller_one():
    truth = table_truth(SPACE)
    assert truth.sample(30, 2).archs[:10] == truth.sample(10, 2).archs
    assert truth.sample(10, 3).archs != truth.sample(10, 2).archs


def test_a_figure_to_be_made_small_is_turned_round():
    truth = table_truth(SPACE, "params")
    smallest = min(truth.figures)
    assert truth.values.max() == -smallest
    perfect = Scorer("s", "s", ("score",), lambda a: (-truth.figures[truth.archs.index(a)],))
    found = rank(perfect, truth.sample(20, 0), resamples=0).to_mapping()
    assert found["levels"][0]["tau"]["value"] == pytest.approx(1)
    assert found["regret"]["value"] == 0


def test_names_of_data_are_compared_loosely():
    assert same_data("CIFAR-10", "cifar10:/data/x")
    assert same_data("CIFAR-10", "../data/cifar-10-batches-py")
    assert not same_data("CIFAR-10", "cifar100:/data")
    assert not same_data("CIFAR-10", "fashion-mnist")


# -- the supernet of a run -------------------------------------------------------------------------


def test_a_supernet_is_ranked_and_the_same_command_goes_on(run, tmp_path, capsys):
    words = [str(run), "--images", "40", "--recalibration-images", "40", "--bootstrap", "20"]
    plot = tmp_path / "order.html"
    first = json.loads(said(capsys, *words, "--sample", "12", "--json").out)
    assert first["scored_now"] == 12
    rows = list(csv.DictReader((run / "scores.csv").read_text().splitlines()))
    assert len(rows) == 12
    scorer, space = supernet_scorer(run, images=40, recalibration_images=40)
    for row in rows[:3]:
        accuracy, loss = scorer.score(space.parse(row["architecture"]))
        assert (float(row["score"]), float(row["loss"])) == (accuracy, loss)
    more = said(capsys, *words, "--sample", "30", "--plot", str(plot))
    assert "scores 30/30" in more.err
    assert "The scorer saw fashion-mnist, the truth is of CIFAR-10" in " ".join(more.out.split())
    assert f"Written:\n  {run / 'scores.csv'}\n  {plot}" in more.out
    lines = (run / "scores.csv").read_bytes().splitlines()
    assert len(lines) == 31
    assert "</html>" in plot.read_text()
    kept = json.loads((run / "rank.json").read_text())
    assert (kept["n"], kept["scored_now"], len(kept["points"])) == (30, 18, 30)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Order of the supernet" in page
    assert "30 architectures of nasbench-macro" in page
    kept["levels"][0]["tau"] = 0.5
    (run / "rank.json").write_text(json.dumps(kept))
    capsys.readouterr()
    assert main(["report", str(run)]) == 0
    assert "rank.json is damaged; `morphogen rank` writes it anew" in capsys.readouterr().out
    # Cut short by a crash, the last line is scored again.
    (run / "scores.csv").write_bytes(b"\n".join(lines[:-1]) + b"\n" + lines[-1][:20])
    by_loss = json.loads(said(capsys, *words, "--sample", "30", "--by", "loss", "--json").out)
    assert (by_loss["scored_now"], by_loss["by"]) == (1, "loss")
    assert (run / "scores.csv").read_bytes().splitlines()[-1] == lines[-1]
    # Other norms are another scorer.
    other = json.loads(
        said(capsys, *words, "--sample", "3", "--norms", "batch", "--bootstrap", "0", "--json").out
    )
    assert other["scored_now"] == 3


def test_own_trainings_are_the_truth(run, tmp_path, capsys):
    archs = table_truth(SPACE).sample(5, 9).archs
    file = tmp_path / "trained.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["architecture", "accuracy"])
        for i, arch in enumerate(archs):
            writer.writerows([[SPACE.format(arch), 80 + i], [SPACE.format(arch), 82 + i]])
    words = [str(run), "--images", "40", "--recalibration-images", "40", "--bootstrap", "0"]
    found = json.loads(said(capsys, *words, "--truth", str(file), "--json").out)
    assert (found["n"], found["truth"], found["best"]) == (5, "accuracy", 85)
    truth = file_truth(file, SPACE)
    assert truth.archs == archs
    assert truth.figures.tolist() == [81, 82, 83, 84, 85]
    table = pa.table({"arch": [SPACE.format(a) for a in archs], "top1": [1.0, 2, 3, 4, 5]})
    parquet.write_table(table, tmp_path / "trained.parquet")
    again = file_truth(tmp_path / "trained.parquet", SPACE, "top1")
    assert (again.archs, again.figures.tolist()) == (archs, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("architecture,accuracy\n", "has no rows"),
        ("architecture,score\n1,2\n", "columns architecture, score; accepted: architecture and a"),
        ("architecture,accuracy\n9,2\n", "line 2 of .*: "),
        ("architecture,accuracy\n00000000,x\n", "line 2 of .*'x' is no number"),
        ("architecture,accuracy\n00000000,nan\n", "has accuracy nan; accepted: a number"),
    ],
)
def test_a_truth_that_cannot_be_read_is_one_sentence(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        file_truth(tmp_path / "t.csv", SPACE)


def test_a_truth_of_another_kind_is_one_sentence(tmp_path):
    (tmp_path / "t.parquet").write_text("no")
    for name, message in (
        ("t.parquet", "is no parquet file"),
        ("t.txt", "accepted: a .csv or a .parquet file"),
        ("none.csv", "cannot read .*no such file"),
    ):
        with pytest.raises(DataError, match=message):
            file_truth(tmp_path / name, SPACE)


def test_a_record_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    scorer = Scorer("s", "s", ("score",), lambda _: (0.0,))
    with pytest.raises(RunError, match="no record of scores; accepted: what rank wrote"):
        rank(scorer, table_truth(SPACE).sample(5, 0), record=tmp_path / "x.csv")


# -- proxies, drawings, mistakes -------------------------------------------------------------------


def test_a_proxy_is_ranked_and_drawn(tmp_path, capsys):
    words = ["--proxy", "params", "--space", "nasbench-macro", "--channels", "2", "--image-size"]
    words += ["8", "--batch-size", "8", "--sample", "20", "--bootstrap", "10"]
    plot, record = tmp_path / "deep" / "plot.svg", tmp_path / "scores.csv"
    said(capsys, *words, "--plot", str(plot), "--output", str(record))
    drawing = ElementTree.parse(plot).getroot()
    text = "".join(drawing.itertext())
    assert "proxy params against test_acc" in text
    assert "20 architectures, tau-b" in text
    assert len(drawing.findall(".//{*}circle")) in (1, 2)
    again = json.loads(said(capsys, *words, "--output", str(record), "--json").out)
    assert again["scored_now"] == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "nothing to rank by; accepted: one of RUN"),
        (["runs/a", "--proxy", "nwot"], "RUN, --proxy to rank by; accepted: one of RUN"),
        (["--column", "cifar10"], "unknown metric"),
        (["--column", "cifar10_valid_12", "--norms", "batch"], "accepted: with RUN only"),
        (["--column", "cifar10_valid_12", "--within", "2"], "accepted: a share above 0, at most 1"),
        (["--column", "cifar10_valid_12", "--sample", "20000"], "accepted: at most 15625"),
        (["--column", "cifar10_valid_12", "--sample", "9", "--all"], "accepted: one of them"),
        (["--predictor", "tre"], "did you mean 'tree'"),
        (["--predictor", "tree", "--fit", "15625"], "accepted: 1 to 15624 architectures"),
        (["--proxy", "nwt"], "did you mean 'nwot'"),
        (["--column", "cifar10_valid_12", "--plot", "x.png"], "accepted: a file that ends in"),
        (["no/run"], "holds no run"),
        (["--proxy", "nwot", "--space", "darts"], "has no benchmark table; accepted: a truth of"),
    ],
)
def test_a_mistake_is_one_sentence(words, part, capsys):
    assert main(["rank", *words]) > 0
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_run_without_a_supernet_is_refused(tmp_path, capsys):
    settings = changed(SETTINGS, evaluator="table", evaluations=3)
    search("random", settings=settings, run=tmp_path / "run")
    assert main(["rank", str(tmp_path / "run")]) > 0
    err = capsys.readouterr().err
    assert "'random' trains no supernet; accepted: a run of a method that does" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("score", ["high", "nan", ""])
def test_a_score_on_record_that_is_no_number_is_refused(score, tmp_path):
    record = tmp_path / "x.csv"
    truth = table_truth(SPACE).sample(5, 0)
    text = SPACE.format(truth.archs[0])
    record.write_text(f"architecture,score,loss,scorer\n{text},{score},,s\n")
    with pytest.raises(RunError, match=r"line 2 of .*x\.csv has .*accepted: numbers"):
        rank(Scorer("s", "s", ("score",), lambda _: (0.0,)), truth, record=record)


def test_a_record_that_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.csv")
    scorer = Scorer("s", "s", ("score",), lambda _: (0.0,))
    with pytest.raises(RunError, match=r"x\.csv: a named pipe, not a file; accepted: a file"):
        rank(scorer, table_truth(SPACE).sample(5, 0), record=tmp_path / "x.csv")
