"""Pages that compare runs: names, seeds, intervals, and nothing subtracted across measures."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from scipy import stats

import run_directories as made
from morphogen import benchmarks
from morphogen.reports.groups import names
from morphogen.reports.reading import read_run
from read_page import page

OWN = "recalibrated accuracy in % on the search-validation part"
TABLE = "{} test accuracy in %, from the NAS-Bench-201 table"
TEST = "test accuracy in %, trained from scratch"


def training(path: Path, values: list[float], first: int = 0, cell: str = made.CONV) -> Path:
    """A finished training of one epoch a seed, which reached `values` on the test part."""
    settings = {"seed": first, "seeds": len(values)}
    config = made.config("train", **settings) | {"config": {"architecture": cell}}
    rows = [
        {"epoch": i + 1, "seed": first + i, "seed_epoch": 1, "architecture": cell}
        | {"train_loss": 1.0 + i, "held_out_accuracy": v, "seconds": 2.0, "cpu_seconds": 1.0}
        for i, v in enumerate(values)
    ]
    reached = {"mean": sum(values) / len(values), "n": len(values), "values": values}
    if len(values) > 1:
        low, high = _interval(values)
        reached |= {"low": low, "high": high}
    weights = [f"seed-{first + i}-best.safetensors" for i in range(len(values))]
    result = {**made.TRAINED, "architecture": cell, "test_accuracy": reached}
    result |= {"seeds": len(values), "weights": weights}
    return made.write(path, config, rows, **result)


def _interval(values: list[float]) -> tuple[float, float]:
    mean, error = sum(values) / len(values), stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    return float(low), float(high)


def _shown(values: list[float]) -> str:
    low, high = _interval(values)
    return f"{sum(values) / len(values):.2f} ({max(low, 0):.2f} to {min(high, 100):.2f})"


def test_trainings_count_every_seed_by_the_names_of_their_runs(tmp_path: Path) -> None:
    """Of one architecture in two runs the five seeds are one sample; scipy says the interval."""
    first, second = [70.0, 72.0, 74.0], [71.0, 75.5]
    other = [60.0, 61.0, 65.0, 63.0]
    paths = [
        training(tmp_path / "wide", first),
        training(tmp_path / "wide-more", second, first=3),
        training(tmp_path / "narrow", other, cell=made.SKIP),
    ]
    _, read = page(*paths)
    head = read.cells[0]
    assert head[:3] == ["configuration", "seeds", TEST]
    assert ["wide + wide-more", "5", _shown(first + second)] in [c[:3] for c in read.cells]
    assert ["narrow", "4", _shown(other)] in [c[:3] for c in read.cells]
    both = stats.ttest_rel((first + second)[:4], other)
    low, high = both.confidence_interval(0.95)
    gap = sum((first + second)[:4]) / 4 - sum(other) / 4
    assert (
        f"wide + wide-more: better than narrow by {gap:.1f} points "
        f"(95 % interval {low:.1f} to {high:.1f}, 4 seeds)."
    ) in read.text
    # Architectures stand in the runs' own sections and among what differs, and nowhere before.
    assert made.CONV not in read.text[: read.text.index("Settings in which")]
    assert ["wide + wide-more minus narrow, seed 0", "70.00", "60.00", "+10.00"] in read.cells


def test_measures_have_columns_of_their_own(tmp_path: Path) -> None:
    """A training's own accuracy never stands below a table's, nor is one taken from the other."""
    value = benchmarks.load("nasbench201").query(made.CONV)["cifar10_test_200"]
    paths = [
        training(tmp_path / "t", [70.0, 72.0]),
        made.search(tmp_path / "s", found=made.CONV, data="cifar10:c"),
    ]
    _, read = page(*paths)
    at = read.cells[0].index
    table = TABLE.format("CIFAR-10")
    trained, searched = read.cells[1], read.cells[2]
    assert trained[at(TEST)] == _shown([70.0, 72.0])
    assert trained[at(table)] == f"its architecture: {value:.2f}"
    assert searched[at(TEST)] == ""
    assert searched[at(table)] == f"{value:.2f}"
    assert searched[at(OWN)] == "48.00"
    assert "minus" not in read.text
    assert "Differences" not in [heading for _, heading in read.headings]


def test_searches_on_other_data_stand_in_other_columns(tmp_path: Path) -> None:
    table = benchmarks.load("nasbench201")
    value = table.query(made.MIXED)["cifar100_test_200"]
    rank = table.rank(made.MIXED, "cifar100_test_200")
    paths = [
        made.search(tmp_path / "own", data="photos/"),
        made.search(tmp_path / "theirs", data="cifar100:c"),
    ]
    _, read = page(*paths)
    own, theirs = (
        dict(zip(next(c for c in read.cells if c[0] == "run"), row, strict=True))
        for name in ("1: own", "2: theirs")
        for row in read.cells
        if row[0] == name
    )
    assert own[f"{OWN}, of photos/"] == "48.00"
    assert own[f"{OWN}, of cifar100:c"] == ""
    assert own[TABLE.format("CIFAR-10")].startswith("92.3")
    assert theirs[TABLE.format("CIFAR-100")] == f"{value:.2f}, rank {rank:,} of 15,625"
    assert "are of different data" in read.text
    assert "Seed by seed" not in read.text


def test_searches_are_grouped_over_seeds(tmp_path: Path) -> None:
    found = {"idarts": [made.CONV, made.MIXED], "darts": [made.SKIP, made.MIXED]}
    paths = [
        made.search(tmp_path / f"{method}-{seed}", method, seed, text, data="cifar10:c")
        for method, texts in found.items()
        for seed, text in enumerate(texts)
    ]
    _, read = page(*paths)
    table = benchmarks.load("nasbench201")
    value = {t: table.query(t)["cifar10_test_200"] for t in (made.CONV, made.MIXED, made.SKIP)}
    column = read.cells[0].index(TABLE.format("CIFAR-10"))
    assert read.cells[1][:2] == ["idarts", "2"]
    assert read.cells[1][column] == _shown([value[made.CONV], value[made.MIXED]])
    gap = value[made.CONV] - value[made.SKIP]
    row = [f"{value[made.CONV]:.2f}", f"{value[made.SKIP]:.2f}", f"{gap:+.2f}"]
    assert ["idarts minus darts, seed 0", *row] in read.cells
    assert "fewer than three seeds" in read.text
    assert len(read.ids) == len(set(read.ids))


def test_configurations_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    paths = [made.search(tmp_path / name, seed=n) for n, name in enumerate("abc")]
    _changed(paths[1], {}, {"lr": 0.5})
    _changed(paths[2], {"epochs": 7, "limit": "params<=1M"}, {"lr": 0.7})
    _changed(paths[0], {"limit": ""}, {})
    _, read = page(*paths)
    assert "idarts (b): search by idarts, 1 seed" not in read.text
    assert "idarts (epochs 6, alpha.lr 0.5): search by idarts, 1 seed" in read.text
    assert "idarts (c): search by idarts, 1 seed" in read.text  # too much for a name
    assert ["idarts (c)", "epochs 7; limit params<=1M; alpha.lr 0.7"] in read.cells


def _changed(path: Path, settings: dict, alpha: dict) -> None:
    """Other settings in the run's config.yaml."""
    values = yaml.safe_load((path / "config.yaml").read_text())
    values["settings"] |= settings
    values["config"].setdefault("alpha", {}).update(alpha)
    (path / "config.yaml").write_text(yaml.safe_dump(values))


def test_a_seed_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    _, read = page(training(tmp_path / "a", [70.0, 72.0]), training(tmp_path / "b", [99.0], 1))
    assert ["a + b", "2", _shown([70.0, 72.0])] in [c[:3] for c in read.cells]
    assert "a and b have the same settings and seed 1, which counts once" in read.text


def test_other_protocols_are_said(tmp_path: Path) -> None:
    paths = [training(tmp_path / "a", [70.0]), training(tmp_path / "b", [72.0], cell=made.SKIP)]
    _, read = page(*paths)
    assert "differ in more than" not in read.text
    _changed(paths[1], {"epochs": 100}, {})
    _, read = page(*paths)
    assert "The trainings differ in more than the architecture: epochs" in read.text


@pytest.mark.parametrize(
    ("paths", "expected"),
    [(["x/a", "x/b"], ["a", "b"]), (["x/a", "y/a", "y/b"], ["x/a", "y/a", "b"])],
)
def test_names_of_runs_are_as_short_as_they_can_be(
    paths: list[str], expected: list[str], tmp_path: Path
) -> None:
    assert names([read_run(made.search(tmp_path / path)) for path in paths]) == expected
