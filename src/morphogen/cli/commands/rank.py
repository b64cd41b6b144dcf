"""`morphogen rank`: how well a supernet, a proxy, a predictor or a column orders architectures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import TABLE, Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError, UnknownNameError, ranges
from morphogen.core.names import shown
from morphogen.core.ranges import Range

if TYPE_CHECKING:
    from morphogen.engine.judge.ranking import Ranked, Scorer
    from morphogen.engine.judge.truth import Truth

SAMPLE = 200
"""Architectures that are scored by default where that takes time."""

SUBJECTS = ("run", "proxy", "predictor", "column")

PLOTS = (".html", ".htm", ".svg")

OF = {
    "norms": ("run",),
    "recalibration-images": ("run",),
    "images": ("run",),
    "by": ("run",),
    "space": ("proxy", "predictor", "column"),
    "data": ("proxy",),
    "channels": ("proxy",),
    "depth": ("proxy",),
    "image-size": ("proxy",),
    "batch-size": ("proxy",),
    "fit": ("predictor",),
    "encoding": ("predictor",),
}
"""Options that only some subjects have a use for."""


def run(given: dict[str, Any]) -> int:
    """`morphogen rank`, from its options."""
    from morphogen.engine.judge.ranking import rank
    from morphogen.reports import ranking
    from morphogen.runs.directory import RunDirectory

    subject = _subject(given)
    seed = whole("--seed", given["seed"], ranges.SEED)
    resamples = whole("--bootstrap", given["bootstrap"], ranges.RESAMPLES)
    plot = Path(given["plot"]) if given["plot"] else None
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise ConfigError(f"--plot is {str(plot)!r}; accepted: a file that ends in .html or .svg")
    scorer, truth = _scorer(subject, given, seed)
    truth = _chosen(truth, given, subject, seed)
    record = Path(given["output"]) if given["output"] else None
    if record is None and subject == "run":
        record = RunDirectory(Path(given["run"])).scores_file
    kept = f"no finished score is lost; the same command goes on from {record}"
    advice = kept if record else "nothing is kept without --output FILE.csv"
    with advised(lambda: advice), counted("scores", len(truth)) as done:
        found = rank(
            scorer,
            truth,
            by=given["by"],
            record=record,
            resamples=resamples,
            seed=seed,
            done=done,
        )
    content = found.to_mapping()
    files = [*([record] if record else []), *_write(found, content, plot, subject, given)]
    if given["json"]:
        print_json(content | {"files": [str(file) for file in files]})
        return 0
    print(ranking.text(content, width()))
    if files:
        print("\nWritten:\n" + "\n".join(f"  {shown(file)}" for file in files))
    return 0


def _subject(given: dict[str, Any]) -> str:
    named = [name for name in SUBJECTS if given[name]]
    if len(named) != 1:
        said = ", ".join("RUN" if n == "run" else f"--{n}" for n in named) or "nothing"
        raise ConfigError(
            f"{said} to rank by; accepted: one of RUN (a finished search that trained a supernet), "
            "--proxy NAME, --predictor KIND, --column METRIC"
        )
    (subject,) = named
    defaults = {option.name: option.default for option in OPTIONS.options}
    for name, subjects in OF.items():
        if given[name] != defaults[name] and subject not in subjects:
            fit = " or ".join("RUN" if s == "run" else f"--{s}" for s in subjects)
            raise ConfigError(f"--{name} is {given[name]!r}; accepted: with {fit} only")
    return subject


def _scorer(subject: str, given: dict[str, Any], seed: int) -> tuple[Scorer, Truth]:
    """What is judged, and by what."""
    from morphogen import spaces
    from morphogen.engine.judge import scorers

    threads = whole("--threads", given["threads"] or "0", ranges.THREADS)
    if threads:
        import torch

        torch.set_num_threads(threads)
    if subject == "run":
        if given["norms"] not in ("recalibrate", "batch"):
            raise UnknownNameError("norms", given["norms"], ["recalibrate", "batch"])
        scorer, space = scorers.supernet_scorer(
            given["run"],
            norms=given["norms"],
            recalibration_images=whole(
                "--recalibration-images", given["recalibration-images"], ranges.IMAGES
            ),
            images=whole("--images", given["images"], ranges.IMAGES.or_zero),
        )
        return scorer, _truth(space, given, scorer.data)
    space = spaces.make(given["space"])
    if subject == "proxy":
        truth = _truth(space, given, given["data"])
        return _proxy(space, given, seed), truth
    if subject == "predictor":
        truth = _truth(space, given, "")
        fit = whole("--fit", given["fit"], ranges.COUNT)
        return (
            scorers.predictor_scorer(
                given["predictor"], truth, fit=fit, encoding=given["encoding"], seed=seed
            ),
            truth,
        )
    scorer = scorers.column_scorer(space, given["column"], given["table"])
    return scorer, _truth(space, given, scorer.data)


def _proxy(space: Any, given: dict[str, Any], seed: int) -> Scorer:
    from morphogen.engine.judge.scorers import proxy_scorer
    from morphogen.engine.search.settings import Settings

    sizes = {
        name: whole(f"--{name}", given[name], accepted)
        for name, accepted in (
            ("channels", ranges.WIDTH),
            ("depth", ranges.DEPTH),
            ("image-size", ranges.SIDE),
            ("batch-size", ranges.COUNT),
        )
    }
    settings = Settings(
        seed=seed,
        channels=sizes["channels"],
        depth=sizes["depth"],
        image_size=sizes["image-size"],
        batch_size=sizes["batch-size"],
    )
    return proxy_scorer(given["proxy"], space, given["data"], settings=settings)


def _truth(space: Any, given: dict[str, Any], data: str) -> Truth:
    from morphogen.engine.judge.truth import file_truth, table_truth

    if given["truth"]:
        return file_truth(given["truth"], space, given["metric"] or "accuracy")
    return table_truth(space, given["metric"], data=data, file=given["table"])


def _chosen(truth: Truth, given: dict[str, Any], subject: str, seed: int) -> Truth:
    """The architectures that are ranked."""
    if given["all"] and given["sample"]:
        raise ConfigError(f"--all and --sample {given['sample']}; accepted: one of them")
    if given["within"]:
        try:
            share = float(given["within"])
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            raise ConfigError(
                f"--within is {given['within']!r}; accepted: a share above 0, at most 1"
            )
        truth = truth.within(share)
    if given["sample"]:
        return truth.sample(whole("--sample", given["sample"], Range(3, ranges.COUNT.most)), seed)
    if given["all"] or given["truth"] or subject in ("predictor", "column"):
        return truth
    return truth.sample(min(SAMPLE, len(truth)), seed)


def _write(
    found: Ranked, content: dict[str, Any], plot: Path | None, subject: str, given: dict[str, Any]
) -> Sequence[Path]:
    from morphogen import __version__
    from morphogen.core.files import made, write_anew
    from morphogen.reports import rankingpage
    from morphogen.runs.directory import RunDirectory

    files: dict[Path, str] = {}
    kept = []
    if plot is not None and plot.suffix.lower() == ".svg":
        files[plot] = rankingpage.svg(content, found.points)
    elif plot is not None:
        files[plot] = rankingpage.page(content, found.points, __version__)
    if subject == "run":
        directory = RunDirectory(Path(given["run"]))
        points = [[_number(v) for v in pair] for pair in found.points]
        directory.write_ranking(content | {"points": points})
        kept.append(directory.rank_file)
    for path, text in files.items():
        with made(path.parent):
            write_anew(path, text)
    return [*files, *kept]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


OPTIONS = Section(
    "Options",
    (
        Option(
            (),
            "RUN",
            "a finished search that trained a supernet: each architecture is scored with the "
            "weights that it inherits, on the search-validation images",
            "",
        ),
        Option(
            ("--proxy",),
            "NAME",
            "instead of a run: a zero-cost proxy of untrained networks, e.g. nwot, synflow",
            "",
        ),
        Option(
            ("--predictor",),
            "KIND",
            "instead of a run: mlp, tree, forest, gbdt or ridge, fitted to --fit architectures and "
            "judged on the others",
            "",
        ),
        Option(
            ("--column",),
            "METRIC",
            "instead of a run: another column of the table, such as a short training",
            "",
        ),
        Option(
            ("--truth",),
            "FILE",
            "the true order: a .csv or .parquet file with the columns architecture and accuracy, "
            "of networks that you trained (default: the benchmark table of the space)",
            "",
        ),
        TABLE,
        Option(
            ("--metric",),
            "NAME",
            "column of the table or of the file that is the truth (default: the table's test "
            "figure after the longest training, on the same data if it has them)",
            "",
        ),
        Option(
            ("--sample",),
            "N",
            f"architectures drawn at random (default: {SAMPLE} for a run or a proxy, else all); a "
            "larger sample of the same seed holds the smaller one",
            "",
        ),
        Option(("--all",), "", "all architectures of the truth", False),
        Option(
            ("--within",),
            "SHARE",
            "draw from the truly best architectures only, 0.1 for the best tenth: the local order, "
            "where a sample of all has too few of them",
            "",
        ),
        Option(("--by",), "accuracy|loss", "what of a supernet orders (default: accuracy)", ""),
        Option(
            ("--norms",),
            "recalibrate|batch",
            "batch norms of a supernet: statistics made anew for each architecture, or those of "
            "each batch",
            "recalibrate",
        ),
        Option(
            ("--recalibration-images",), "N", "training images from which they are made", "1000"
        ),
        Option(("--images",), "N", "search-validation images to score on; 0: all", "1000"),
        Option(("--fit",), "N", "architectures that a predictor is fitted to", "100"),
        Option(
            ("--encoding",),
            "onehot|adjacency|path",
            "how a predictor sees an architecture; all spaces have onehot",
            "onehot",
        ),
        Option(("--space",), "NAME", "space of a proxy, predictor or column", "nasbench201"),
        Option(("--data",), "DATA", "images of a proxy, as of `search`", "fashion-mnist"),
        Option(("--channels",), "N", "C of a proxy's networks", "8"),
        Option(("--depth",), "N", "cells of a proxy's networks, as of `search`", "1"),
        Option(
            ("--image-size",), "N", "pixels to which a proxy's images are reduced; 0: as is", "16"
        ),
        Option(("--batch-size",), "N", "images of a proxy's minibatch", "64"),
        Option(("--seed",), "N", "of sample, bootstrap, proxy and predictor", "0"),
        Option(("--bootstrap",), "N", "resamples for the 95 % intervals; 0: none", "500"),
        Option(("--threads",), "N", "CPU threads (default: torch's own choice)", ""),
        Option(
            ("--output",),
            "FILE.csv",
            "where scores are kept as they come; the same command goes on from it (default: "
            "scores.csv in the run directory; nothing for the others)",
            "",
        ),
        Option(
            ("--plot",),
            "FILE.html|svg",
            "scatter plots of score and truth: a page with all figures, or a drawing",
            "",
        ),
        JSON_PROGRESS,
    ),
)


COMMAND = Command(
    "rank",
    "RUN|--proxy|--predictor|--column",
    "Measure how well a trained supernet (or a proxy, a predictor, a column) orders "
    "architectures, over all and among the best, against a table or your own trainings.",
    (
        "morphogen rank runs/spos-nasbench201-20260101-120000 --sample 500 --plot order.html",
        "morphogen rank --proxy nwot --sample 100",
        "morphogen rank --predictor forest --fit 200 --metric cifar10_valid_12",
        "morphogen rank --column cifar10_valid_12 --within 0.1",
    ),
    run,
    OPTIONS,
)
