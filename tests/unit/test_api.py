"""What a user types in Python: the names, their documentation, and what a result can do."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import morphogen
import tiny
from morphogen import SearchResult, Training, TrainResult
from morphogen.core import ConfigError, RunError
from morphogen.methods import find

HOSTILE = "<img src=x onerror=alert(1)>"
TRAINING = Training(
    epochs=1, seeds=2, task={"image_size": 8}, network={"channels": 2}, hardware={"threads": 1}
)
FUNCTIONS = (
    *("search", "train", "resume", "report", "compare", "rank", "score", "predict", "load"),
    *("open_run", "export", "space_of"),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A tiny search, in a folder whose name is markup."""
    run = tmp_path_factory.mktemp("api") / HOSTILE
    return morphogen.search("darts", data=tiny.images(), settings=tiny.SETTINGS, run=run)


@pytest.fixture(scope="module")
def trained(found: SearchResult) -> TrainResult:
    """Its architecture, trained."""
    return found.train(TRAINING, run=found.run.parent / "train")


# -- names -----------------------------------------------------------------------------------------


def test_dir_shows_what_a_user_needs_and_nothing_private() -> None:
    names = dir(morphogen)
    assert [n for n in names if n.startswith("_")] == ["__version__"]
    assert {*FUNCTIONS, "OneOf", "Settings", "Task", "Metric"} <= set(names)
    assert not {"annotations", "import_module", "engine", "cli"} & set(names)
    for name in names:
        value = getattr(morphogen, name)
        assert isinstance(value, str) or inspect.getdoc(value), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_documented(name: str) -> None:
    function = getattr(morphogen, name)
    text = inspect.getdoc(function) or ""
    told = re.findall(r"^    (\w+): ", text.partition("Args:\n")[2], re.MULTILINE)
    arguments = list(inspect.signature(function).parameters)
    assert [n for n in told if n in arguments] == arguments


# -- what a result can do --------------------------------------------------------------------------


def test_the_network_of_a_search_is_fresh_and_of_the_counted_size(found: SearchResult) -> None:
    untrained = replace(found, trainings=[])
    first, second = untrained.network(), morphogen.open_run(found).network()
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert first(torch.zeros(3, 1, 8, 8)).shape == (3, tiny.CLASSES)
    spec = morphogen.supernets.NetworkSpec(channels=2, depth=1, classes=4, in_channels=1)
    counted = morphogen.cost.of(found.space, found.architecture, spec, (1, 8, 8))
    assert sum(p.numel() for p in first.parameters()) == counted.params
    with pytest.raises(RunError, match=r"is not trained; accepted: first result\.train\(\)"):
        untrained.export()


def test_a_training_belongs_to_the_result_it_is_of(
    found: SearchResult, trained: TrainResult, tmp_path: Path
) -> None:
    for seed in (0, 1):
        weights = load_file(trained.run / f"seed-{seed}-best.safetensors")
        torch.testing.assert_close(trained.network(seed).state_dict(), weights, rtol=0, atol=0)
    with pytest.raises(ConfigError, match="seed is 7; accepted: 0 to 1"):
        trained.network(7)
    best = found.network()
    torch.testing.assert_close(best.state_dict(), trained.network().state_dict(), rtol=0, atol=0)
    (file,) = found.export("safetensors", tmp_path)
    pixels = tiny.images(5).pixels.permute(0, 2, 3, 1).numpy()
    said = morphogen.predict(file.path, pixels)
    assert said == morphogen.predict(trained, list(pixels)) == morphogen.predict(tmp_path, pixels)
    with torch.no_grad():
        scores = best(morphogen.load(trained).preprocess(list(pixels)))
    shares = [list(p.probabilities.values()) for p in said]
    np.testing.assert_allclose(shares, scores.softmax(1).numpy(), atol=1e-6)


def test_a_run_is_read_as_it_is_written(found: SearchResult, tmp_path: Path) -> None:
    run = morphogen.open_run(found.run)
    assert run.config == yaml.safe_load((found.run / "config.yaml").read_text())
    lines = (found.run / "metrics.jsonl").read_text().splitlines()
    assert run.metrics == [json.loads(line) for line in lines] == found.history
    assert run.result == json.loads((found.run / "result.json").read_text())
    assert (run.architecture, run.state) == (found.architecture, "finished")
    page = run.report(tmp_path / "page.html")
    assert page.path.read_bytes() == Path(found.report(tmp_path / "again.html")).read_bytes()
    shutil.copytree(found.run, tmp_path / "cut")
    (tmp_path / "cut" / "result.json").unlink()
    cut = morphogen.open_run(tmp_path / "cut")
    assert (cut.state, cut.text) == ("cut off", found.text)
    with pytest.raises(RunError, match="not finished; accepted: first `morphogen resume"):
        cut.network()
    assert "is cut off: the page shows what is there" in morphogen.report(cut).notes[0]


def test_resume_serves_searches_and_trainings(found: SearchResult, trained: TrainResult) -> None:
    data = tiny.images()
    assert morphogen.resume(found, data=data).architecture == found.architecture
    again = morphogen.resume(trained, data=data)
    assert isinstance(again, TrainResult)
    assert again.held_out == trained.held_out
    with pytest.raises(ConfigError, match=r"epochs is 9, and .* is a training"):
        morphogen.resume(trained, data=data, epochs=9)


def test_methods_are_compared_by_name_and_by_configuration() -> None:
    short = {"seeds": 2, "budget": 6, "workers": 1}
    config = find("weaknas").config(predictor="ridge")
    by_name = morphogen.compare(["weaknas:predictor=ridge", "random"], **short)
    by_config = morphogen.compare([config, "random"], **short)
    assert [e["name"] for e in by_name.entries] == [e["name"] for e in by_config.entries]
    assert by_name.tests == by_config.tests
    assert "weaknas:predictor=ridge" in Page(by_name._repr_html_()).text


def test_what_has_no_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="fit is 9; accepted: with predictor only"):
        morphogen.rank(proxy="nwot", fit=9)
    with pytest.raises(ConfigError, match="proxy, column to rank by; accepted: one of run"):
        morphogen.rank(proxy="nwot", column="cifar10_valid_12")


def test_a_result_stands_for_its_run(found: SearchResult, tmp_path: Path) -> None:
    settings = replace(tiny.SETTINGS, epochs=1)
    begun = morphogen.search(
        "darts", data=tiny.images(), settings=settings, start=found, run=tmp_path / "begun"
    )
    assert morphogen.open_run(begun).config["start"] == str(found.run)
    shutil.rmtree(begun.run)
    assert begun._repr_html_() is None  # then a notebook shows the text


# -- in a notebook ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """Text and elements; every element that is opened is closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.text, self.open, self.elements = "", [], set[str]()
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.elements.add(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def test_a_search_shows_itself(found: SearchResult) -> None:
    page = Page(found._repr_html_() or "")
    assert {"svg", "dl", "style"} <= page.elements
    assert not {"img", "script", "link"} & page.elements
    assert HOSTILE in page.text
    for part in (found.text, "darts in NAS-Bench-201", "test accuracy in %", "Cost", "undecided"):
        assert part in page.text
    assert Page(morphogen.open_run(found)._repr_html_()).text == page.text


def test_a_training_shows_itself(trained: TrainResult) -> None:
    page = Page(trained._repr_html_() or "")
    assert "Held-out accuracy in %, 2 seeds" in page.text
    assert f"{trained.held_out['mean']:.4g}" in page.text


def test_scores_and_rankings_show_themselves() -> None:
    scores = morphogen.score(
        "nasbench-macro", sample=4, proxies=["params"], channels=2, image_size=8, batch_size=8,
        workers=1, resamples=0,
    )  # fmt: skip
    page = Page(scores._repr_html_())
    best = max(scores.scored, key=lambda s: s.scores["params"])
    assert scores.scoring.space.format(best.architecture) in page.text
    assert "Order, against test_acc" in page.text
    order = morphogen.rank(column="cifar10_valid_12", sample=20, resamples=0)
    page = Page(order._repr_html_())
    assert f"{order.ranking.levels[0].tau.value:.2f}" in page.text


@pytest.mark.slow
def test_in_a_kernel_a_search_shows_its_progress_and_itself(tmp_path: Path) -> None:
    """As in Jupyter: one output that was updated to the end, and the card of the result."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    code = (
        f"import sys; sys.path[:0] = {sys.path}; import tiny, morphogen\n"
        "morphogen.search('darts', data=tiny.images(), settings=tiny.SETTINGS)"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, resources={"metadata": {"path": str(tmp_path)}}).execute()
    progress, card = (output["data"] for output in book.cells[0].outputs)
    shown = Page("".join(progress["text/html"])).text
    assert "epoch 3/3  step 2/2" in shown
    assert "train loss" in shown
    assert "darts in NAS-Bench-201" in Page("".join(card["text/html"])).text
