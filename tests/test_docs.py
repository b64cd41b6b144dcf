"""The pages of docs/ do what they say: every command and Python block is run, in the page's order.

The default tier runs the first pages, the slow one the others; CI runs both.

A page is run in a folder of its own, which holds what a reader is told to have: pictures/, new/.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

import morphogen
from documents import SMALL, commands, pictures, small, steps
from morphogen import benchmarks, spaces
from morphogen.cli import main
from morphogen.cli.catalogue import method_entries
from morphogen.cli.commands import NAMES
from morphogen.tasks.configs import task_configs

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FIRST = ("index", "first-search", "own-data")
"""Read by everybody, so run in the default tier."""

INCLUDED = "adding-a-method.md"
"""CONTRIBUTING.md by reference, which tests/test_readme.py runs."""

SMALLER: dict[str, tuple[tuple[str, str], ...]] = {
    "first-search.md": (("epochs=5,", "epochs=1, steps_per_epoch=2, **SIZE,"),),
    "own-data.md": (
        (
            'epochs=2, split={"train_images": 2000, "valid_images": 1000}',
            "epochs=1, steps_per_epoch=2, **SIZE",
        ),
    ),
    "faq.md": (
        (
            'epochs=2, split={"train_images": 2000, "valid_images": 1000}',
            "epochs=2, steps_per_epoch=2, **SIZE",
        ),
    ),
    "signals.md": (
        (
            'epochs=2, task={"jitter": 0.05}, network={"depth": 3}',
            'epochs=1, task={"jitter": 0.05}, network={"depth": 3, "channels": 2}, '
            'steps_per_epoch=2, batch_size=8, hardware={"threads": 1}',
        ),
    ),
    "in-python.md": (
        ('time="30m"', 'time="20s", settings=morphogen.Settings(epochs=1, **SIZE)'),
        ("epochs=2, seed=1", "epochs=2, seed=1, steps_per_epoch=2, **SIZE"),
        (
            "Training(epochs=2, seeds=2)",
            "Training(epochs=1, seeds=2, task={'image_size': 8}, hardware={'threads': 1})",
        ),
        ('sample=20, proxies=["nwot", "params"]', 'sample=4, proxies=["nwot", "params"], **NETS'),
        ('proxy="params", sample=20', 'proxy="params", sample=4, **NETS'),
        ("seeds=3, budget=30", "seeds=2, budget=8"),
    ),
    "comparing.md": (("population=20,sample=5", "population=2,sample=2"),),
    "own-module.md": (
        (
            '["darts", "idarts", "gdas", "zero-cost-pt", "spos"]',
            '["darts", "zero-cost-pt", "spos"]',
        ),
        ('["random", "aging-evolution", "weaknas"]', '["random", "weaknas"]'),
        ("epochs=3)", "epochs=1, steps_per_epoch=2, **SIZE)"),
        ('evaluation={"budget": 8})', 'evaluation={"budget": 3}, **SIZE)'),
        (
            'limit="params<=20K", evaluation={"budget": 8,',
            'limit="params<=20K", **SIZE, evaluation={"budget": 3,',
        ),
        ("report runs/own-gdas", "report runs/own-darts"),
        (
            "Training(epochs=4)",
            "Training(epochs=1, task={'image_size': 8}, hardware={'threads': 1})",
        ),
    ),
    "own-task.md": (
        ("epochs=5, batch_size=32)", "epochs=1, steps_per_epoch=2, batch_size=32)"),
        ("epochs=20, seeds=2", "epochs=2, seeds=2"),
        ('"budget": 12, "epochs": 5', '"budget": 4, "epochs": 1'),
        ("epochs=2, batch_size=32)", "epochs=1, steps_per_epoch=2, batch_size=32)"),
    ),
    "policies.md": (
        ("--epochs 90", "--epochs 90 --horizon 8 --episodes 3"),
        ("--baseline --epochs 100", "--baseline --epochs 100 --seeds 2"),
        ("--run runs/drawn", "--run runs/drawn --horizon 8 --episodes 2"),
        (
            'Settings(epochs=2, diagnostics={"images": 2})',
            'Settings(epochs=2, diagnostics={"images": 2}, batch_size=8, task={"name": "policies", '
            '"envs": 2, "horizon": 8, "episodes": 2}, hardware={"threads": 1})',
        ),
    ),
    "one-shot.md": (
        (
            "--run supernet",
            "--run supernet --generations 1 --population 2 --parents 1 --mutants 1 "
            "--crossovers 0 --norms batch",
        ),
        ("--sample 300", "--sample 12 --norms batch"),
        ("--run small", "--run small --generations 1 --population 2 --norms batch"),
        ("--run front", "--run front --evaluation-norms batch"),
        ("--run moved", "--run moved --generations 1 --population 2 --norms batch"),
    ),
    "ranking.md": (
        (
            "spos --generations 3",
            "spos --generations 1 --population 2 --parents 1 --mutants 1 "
            "--crossovers 0 --norms batch",
        ),
        ("--sample 300", "--sample 12 --norms batch"),
        ("--sample 200 --by loss", "--sample 3 --norms batch --by loss"),
        ("--proxy nwot --sample 100", "--proxy nwot --sample 3 --channels 2 --image-size 8"),
        ("forest --fit 100 --sample 1000", "ridge --fit 9 --sample 40"),
        ("cifar10_valid_12 --sample 1000", "cifar10_valid_12 --sample 50"),
        ("sample=100", "sample=4"),
    ),
}
"""By page: what its Python says, and what is run instead."""

SIZE: dict[str, Any] = {
    "split": {"train_images": 32, "valid_images": 32}, "task": {"image_size": 8}, "batch_size": 8,
    "network": {"channels": 2}, "hardware": {"threads": 1}, "diagnostics": {"images": 16},
}  # fmt: skip

WITHOUT = {
    "signals": ("--image-size",),
    "segmentation": ("--image-size", "--depth", "--train-images", "--valid-images"),
    "sequences": ("--image-size", "--channels", "--depth", "--train-images", "--valid-images"),
    "policies": ("--image-size", "--train-images", "--valid-images"),
    "adding-a-task": ("--image-size", "--train-images", "--valid-images"),
}
"""By page: flags that its data do not have."""

NETS: dict[str, Any] = {"channels": 2, "depth": 1, "image_size": 8, "batch_size": 8}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages suppose to be there."""
    pictures(tmp_path / "pictures")
    (tmp_path / "new").mkdir()
    for name in ("cat", "dog"):
        shutil.copy(tmp_path / "pictures" / "test" / "a" / "100.png", tmp_path / f"new/{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # What a page registers is there for the page.
    monkeypatch.setattr("morphogen.spaces.registry._REGISTRY", dict(spaces.registered()))
    monkeypatch.setattr("morphogen.tasks.configs._CONFIGS", dict(task_configs()))
    return tmp_path


def text_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    for said, run in SMALLER.get(page.name, ()):
        assert said in text, f"{page.name} no longer says {said!r}"
        text = text.replace(said, run)
    return text


@pytest.mark.parametrize(
    "page",
    [p if p.stem in FIRST else pytest.param(p, marks=pytest.mark.slow) for p in PAGES],
    ids=lambda page: page.stem,
)
def test_every_command_and_block_of_a_page_runs(
    page: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "SIZE": SIZE, "NETS": NETS}
    for step in steps(text_of(page)):
        if isinstance(step, str):
            exec(compile(step, page.name, "exec", dont_inherit=True), names)
        else:
            code = main(small(step, without=WITHOUT.get(page.stem, ())))
            out, err = capsys.readouterr()
            assert code == 0, f"{step}: {err}"
            assert out


def test_no_step_of_a_page_is_overlooked() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fences = re.findall(r"^```(\w*)$", text, re.MULTILINE)
        # Every block opens with its language and closes; `sh` and `text` are not for the reader's
        # morphogen: installing it, and a tree of folders.
        assert set(fences) <= {"console", "python", "sh", "text", ""}, page.name
        assert len(fences) == 2 * fences.count("")
        lines = [line for line in text.splitlines() if line.startswith("$ ")]
        found = [step for step in steps(text) if not isinstance(step, str)]
        assert len(found) == len(lines) == len(commands(text)), page.name
        assert sum(isinstance(step, str) for step in steps(text)) == fences.count("python")


def test_what_is_made_from_the_code_is_as_the_code_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    record = importlib.import_module("record")
    for path, text in record.made().items():
        assert path.read_text(encoding="utf-8") == text, "run: python benchmarks/record.py"
    # By another way, so that nothing is left out: what `--help` prints.
    page = record.COMMANDS.read_text(encoding="utf-8")
    for words in [[name] for name in NAMES] + [["search", name] for name in method_entries()]:
        main([*words, "--help"])
        title = f"#{'#' * len(words)} {' '.join(words)}\n"
        assert title in page
        for flag in re.findall(r"^  (--\S+)", capsys.readouterr().out, re.MULTILINE):
            # Those of every method stand once, before the first.
            there = page if words[0] == "search" else page[page.index(title) :]
            assert f"- `{flag}" in there, (words, flag)


def test_every_public_name_is_in_the_reference() -> None:
    told = re.findall(r"^::: (\S+)", (ROOT / "docs" / "reference.md").read_text("utf-8"), re.M)
    for name in morphogen.__all__:
        found = getattr(morphogen, name)
        if name.startswith("__") or isinstance(found, types.ModuleType):
            continue
        # Itself, or its module with all that is in it.
        assert {f"{found.__module__}.{found.__qualname__}", found.__module__} & set(told), name


def test_commands_within_sentences_have_options_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    helps: dict[tuple[str, ...], str] = {}
    for page in (p for p in PAGES if p.name != "command-line.md"):
        for line in re.findall(r"`morphogen ([^`]+)`", page.read_text(encoding="utf-8")):
            words = line.replace("'", "").split()
            known = words[0] == "search" and len(words) > 1 and words[1] in method_entries()
            named = tuple(words[: 1 + known])
            flags = [word for word in words if word.startswith("--") and word != "--help"]
            if not flags or named[0] not in NAMES or named == ("search",):
                continue
            if named not in helps:
                main([*named, "--help"])
                helps[named] = capsys.readouterr().out
            for flag in flags:
                assert re.search(rf"{flag}\b", helps[named]), f"{page.name}: {line}"


def test_the_page_on_methods_is_the_one_text_of_contributing() -> None:
    assert (ROOT / "docs" / INCLUDED).read_text(encoding="utf-8") == '--8<-- "CONTRIBUTING.md"\n'


def test_every_page_and_picture_is_reached() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for page in PAGES:
        assert f": {page.name}" in nav
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"(images/{picture.name})" in pages
    for name in re.findall(r"\]\((images/[^)]+|[\w-]+\.md)\)", pages):
        assert (ROOT / "docs" / name).is_file(), name


def test_small_sizes_are_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for name, options in SMALL.items():
        words = [name, "gdas"] if name == "search" else [name]
        main([*words, "--help"])
        told = capsys.readouterr().out
        assert all(re.search(rf"{flag}\b", told) for flag in options), name


def test_citing_says_what_the_citation_file_says() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told["authors"] == project["authors"] == [{"name": "The morphogen developers"}]
    assert (told["version"], told["license"]) == (project["version"], project["license"])
    for field, value in {
        "author": f"{{{told['authors'][0]['name']}}}",
        "title": told["title"],
        "version": told["version"],
        "year": str(told["date-released"])[:4],
        "license": told["license"],
    }.items():
        assert f"{field} = {{{value}}}" in re.sub(" +", " ", page), field


def test_figures_of_choosing_are_those_of_results() -> None:
    """Each is computed here from its file, and stands on the page beside that file's name."""
    page = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z0-9-]+\.(?:json|md))`", page):
        assert (ROOT / "results" / name).is_file(), name

    def figures(name: str) -> Any:
        text = (ROOT / "results" / f"{name}.json").read_text(encoding="utf-8")
        return json.loads(text)["figures"]

    def shown(of: dict[str, float]) -> str:
        return f"{of['mean']:.2f} % ({of['low']:.2f} to {of['high']:.2f})"

    def row(name: str, method: str) -> str:
        found = [r for r in page.splitlines() if r.endswith(f"`{name}` |") and f"`{method}`" in r]
        (line,) = found
        return line

    searches, race, proxies = map(figures, ("first-search", "idarts-vs-darts", "zerocost-pt"))
    first, planned = (
        searches[f"morphogen search {of}"] for of in ("idarts", "--space nasbench201")
    )
    darts_pt = figures("darts-pt-nasbench201")["darts supernet, perturbation"]
    spos = figures("supernet-shifting")["nasbench201"]
    block = benchmarks.of(spaces.make("nasbench201"))
    (cell,) = {c[-1] for c in commands(page) if c[0] == "query"}
    value = block.query(cell).values["cifar10_test_200"]
    assert f"{value:.2f} % on CIFAR-10" in " ".join(page.split())
    assert f"rank {block.rank(cell, 'cifar10_test_200')} of 15,625" in page
    for name, method, mean, seeds in (
        ("first-search", "idarts", first["cifar10_test_200"], None),
        ("idarts-vs-darts", "darts", race["DARTS, first order"]["cifar10_test_200"],
         race["DARTS, first order"]["cifar10_test_200 of each seed"]),
        ("idarts-vs-darts", "idarts", race["iDARTS"]["cifar10_test_200"],
         race["iDARTS"]["cifar10_test_200 of each seed"]),
        ("darts-pt-nasbench201", "darts-pt", darts_pt["table test accuracy"],
         darts_pt["of each seed"]),
        ("supernet-shifting", "spos", spos["spos: table"], spos["spos: table, each seed"]),
        ("zerocost-pt", "zero-cost-pt", proxies["nasbench201"]["test accuracy"],
         proxies["nasbench201"]["of each seed"]),
    ):  # fmt: skip
        line = row(name, method)
        assert shown(mean) in line
        above = sum(s >= round(value, 2) for s in seeds) if seeds else 0
        assert f"| {above} of {mean['n']} |" in line
    ranks = "rank on cifar10_test_200 of 15,625"
    assert min(first[ranks]) > block.rank(cell, "cifar10_test_200")
    assert set(planned[ranks]) == {block.rank(cell, "cifar10_test_200")}
    for name, data in (
        ("few", "CIFAR-10, 500 images"), ("cifar10", "CIFAR-10"),
        ("fashion-mnist", "Fashion-MNIST"), ("patches", "street patches"),
        ("watch", "motions of a watch"), ("japanese-vowels", "spoken vowels"),
    ):  # fmt: skip
        found = figures("planned-search")[f"{name}, 10 min"]
        gain = found["search minus untuned"]
        cells = [f"{found[kind]['mean']:.1f} %" for kind in ("search", "untuned")]
        cells.append(f"{gain['mean']:.1f} ({gain['low']:.1f} to {gain['high']:.1f})")
        wanted = rf"^\| {data}[^|]* \| {re.escape(' | '.join(cells))} \|$"
        assert re.search(wanted, page, re.MULTILINE), name
    (line,) = [r for r in page.splitlines() if r.startswith("| two minutes, no data |")]
    usual = searches["morphogen search"]
    assert f"{usual['wall seconds, imports and data included']['mean']:.0f} s" in line
    for found in (usual, planned):
        assert shown(found["test accuracy of what is delivered"]) in line
    (line,) = [r for r in page.splitlines() if r.startswith("| environments in which")]
    for game in ("breakout", "space_invaders"):
        found = figures("rl-darts")[game]
        cells = [found["cell"]["test"], found["impala-cnn"]["test"]]
        for of in (*cells, found["test: cell minus the median random cell"]):
            assert f"{of['mean']:.1f} ({of['low']:.1f} to {of['high']:.1f})" in line
        seconds = found["supernet"]["frames"] / found["supernet"]["frames per CPU second"]["mean"]
        assert seconds == pytest.approx(140, rel=0.1)
