"""`morphogen rank`: how well a supernet, a proxy, a predictor or a column orders architectures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import TABLE, Option, Section, whole
from morphogen.cli.terminal.counting import counted
from morphogen.cli.terminal.interrupts import advised
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import shown
from morphogen.core.ranges import Range
from morphogen.engine.judge.subjects import PLOTS, SAMPLE, SUBJECTS, USED_BY

NUMBERS = {
    "recalibration-images": ranges.IMAGES,
    "images": ranges.IMAGES.or_zero,
    "channels": ranges.WIDTH,
    "depth": ranges.DEPTH,
    "image-size": ranges.SIDE,
    "batch-size": ranges.COUNT,
    "fit": ranges.COUNT,
}
"""Options that are whole numbers, and their ranges; the others that depend on it are texts."""


def run(given: dict[str, Any]) -> int:
    """`morphogen rank`, from its options."""
    subject = _subject(given)
    seed = whole("--seed", given["seed"], ranges.SEED)
    resamples = whole("--bootstrap", given["bootstrap"], ranges.RESAMPLES)
    threads = whole("--threads", given["threads"] or "0", ranges.THREADS)
    plot = given["plot"]
    if plot and Path(plot).suffix.lower() not in PLOTS:
        raise ConfigError(f"--plot is {plot!r}; accepted: a file that ends in .html or .svg")
    defaults = {option.name: option.default for option in OPTIONS.options}
    options: dict[str, Any] = {}
    for name in USED_BY:
        flag = name.replace("_", "-")
        if given[flag] != defaults[flag]:
            text, accepted = given[flag], NUMBERS.get(flag)
            options[name] = text if accepted is None else whole(f"--{flag}", text, accepted)
    if threads:
        import torch

        torch.set_num_threads(threads)
    from morphogen.engine.judge.rank import rank
    from morphogen.reports import ranking

    record = given["output"] or (Path(given["run"]) / "scores.csv" if subject == "run" else "")
    kept = f"no finished score is lost; the same command goes on from {record}"
    advice = kept if record else "nothing is kept without --output FILE.csv"
    with advised(lambda: advice), counted("scores", None) as done:
        found = rank(
            given["run"] or None,
            given["truth"] or None,
            proxy=given["proxy"],
            predictor=given["predictor"],
            column=given["column"],
            table=given["table"],
            metric=given["metric"],
            sample=_sample(given),
            within=_within(given["within"]),
            seed=seed,
            resamples=resamples,
            record=given["output"] or None,
            plot=plot or None,
            done=done,
            **options,
        )
    content = found.to_mapping()
    if given["json"]:
        print_json(content | {"files": [str(file) for file in found.files]})
        return 0
    print(ranking.text(content, width()))
    if found.files:
        print("\nWritten:\n" + "\n".join(f"  {shown(file)}" for file in found.files))
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
    for argument, subjects in USED_BY.items():
        name = argument.replace("_", "-")
        if given[name] != defaults[name] and subject not in subjects:
            fit = " or ".join("RUN" if s == "run" else f"--{s}" for s in subjects)
            raise ConfigError(f"--{name} is {given[name]!r}; accepted: with {fit} only")
    return subject


def _sample(given: dict[str, Any]) -> int | None:
    """So many architectures; 0: all; None: as many as is usual."""
    if given["all"] and given["sample"]:
        raise ConfigError(f"--all and --sample {given['sample']}; accepted: one of them")
    if given["sample"]:
        return whole("--sample", given["sample"], Range(3, ranges.COUNT.most))
    return 0 if given["all"] else None


def _within(text: str) -> float:
    try:
        share = float(text or 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"--within is {text!r}; accepted: a share above 0, at most 1")
    return share


OPTIONS = Section(
    "Options",
    (
        Option(
            (),
            "RUN",
            "a finished search that trained a supernet: each architecture is scored with the "
            "weights that it inherits, on the search-validation examples",
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
            ("--recalibration-images",), "N", "training examples from which they are made", "1000"
        ),
        Option(("--images",), "N", "search-validation examples to score on; 0: all", "1000"),
        Option(("--fit",), "N", "architectures that a predictor is fitted to", "100"),
        Option(
            ("--encoding",),
            "onehot|adjacency|path",
            "how a predictor sees an architecture; all spaces have onehot",
            "onehot",
        ),
        Option(("--space",), "NAME", "space of a proxy, predictor or column", "nasbench201"),
        Option(("--data",), "DATA", "examples of a proxy, as of `search`", "fashion-mnist"),
        Option(("--channels",), "N", "C of a proxy's networks", "8"),
        Option(("--depth",), "N", "cells of a proxy's networks, as of `search`", "1"),
        Option(
            ("--image-size",), "N", "pixels to which a proxy's images are reduced; 0: as is", "16"
        ),
        Option(("--batch-size",), "N", "examples of a proxy's minibatch", "64"),
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
