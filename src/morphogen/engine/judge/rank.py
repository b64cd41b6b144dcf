"""`rank`: how well a trained supernet, a proxy, a predictor or a column orders architectures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from morphogen.core import ConfigError, UnknownNameError, arguments, ranges
from morphogen.core.files import made, write_anew
from morphogen.core.names import brief
from morphogen.core.ranges import Range
from morphogen.core.ranking import FRACTIONS, LEAST, TOPS
from morphogen.engine.judge import scorers
from morphogen.engine.judge.ranking import Ranked, Scorer, scored_ranking
from morphogen.engine.judge.subjects import PLOTS, SAMPLE, USED_BY
from morphogen.engine.judge.truth import Truth, file_truth, table_truth
from morphogen.engine.record.watch import usual_count
from morphogen.engine.search.settings import Network, Settings
from morphogen.evaluators.supernet import Norms
from morphogen.predictors.encodings import Encoding
from morphogen.reports import rankingpage
from morphogen.runs.config import Space, data_name, known_space
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.kinds import USUAL_DATA, Data, as_they_are, chosen

USUAL: dict[str, Any] = {
    "norms": "recalibrate",
    "recalibration_images": 1000,
    "images": 1000,
    "space": "nasbench201",
    "data": USUAL_DATA,
    "channels": 8,
    "depth": 1,
    "image_size": 16,
    "batch_size": 64,
    "fit": 100,
    "encoding": "onehot",
}
"""Defaults of the arguments that only some subjects have a use for."""


def rank(
    run: str | os.PathLike[str] | Scorer | None = None,
    truth: str | os.PathLike[str] | Truth | None = None,
    *,
    proxy: str = "",
    predictor: str = "",
    column: str = "",
    table: str | os.PathLike[str] = "",
    metric: str = "",
    sample: int | None = None,
    within: float = 1.0,
    by: str = "",
    norms: Norms | None = None,
    recalibration_images: int | None = None,
    images: int | None = None,
    space: Space | None = None,
    data: Data | None = None,
    task: Task | None = None,
    channels: int | None = None,
    depth: int | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    fit: int | None = None,
    encoding: Encoding | None = None,
    seed: int = 0,
    resamples: int = 500,
    fractions: Sequence[float] = FRACTIONS,
    tops: Sequence[int] = TOPS,
    record: str | os.PathLike[str] | None = None,
    plot: str | os.PathLike[str] | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Ranked:
    """Score architectures, and measure how well their order is the true one.

    One of `run`, `proxy`, `predictor` and `column` says what they are scored by.

    Args:
        run: a finished search that trained a supernet: each architecture is scored with the
            weights that it inherits, on the search-validation part. Or a `Scorer` of your own.
        truth: a .csv or .parquet file with the columns `architecture` and `metric`, of networks
            that you trained; by default the benchmark table of the space. Or a `Truth`.
        proxy: a zero-cost proxy of untrained networks, e.g. nwot or synflow.
        predictor: mlp, tree, forest, gbdt or ridge, fitted to `fit` architectures and judged on
            the others.
        column: another column of the table, such as a short training.
        table: a file that `morphogen import-nasbench101` wrote; by default the shipped table.
        metric: column that is the truth; by default `accuracy` of a file, and of a table the test
            figure after the longest training, on the same data if it has them.
        sample: architectures drawn at random; 0: all of the truth. By default 200 of a table for a
            run or a proxy, else all. A larger sample of the same seed holds the smaller one.
        within: share of the truly best architectures to draw from; 0.1 for the best tenth.
        by: of a supernet: accuracy or loss.
        norms: batch norms of a supernet: `recalibrate` (statistics made anew for each
            architecture) or `batch`.
        recalibration_images: training examples from which they are made, by default 1000.
        images: search-validation examples to score on, by default 1000; 0: all.
        space: of a proxy, predictor or column, by default nasbench201; of a run, if it was an
            object of yours.
        data: examples of a proxy, by default fashion-mnist; of a run, if they were an object.
        task: data, loss and metric of your own, instead of `data`; of a run, if it was yours.
        channels: C of a proxy's networks, by default 8.
        depth: cells of a proxy's networks, by default 1.
        image_size: pixels to which a proxy's images are reduced, by default 16; 0: as they are.
        batch_size: examples of a proxy's minibatch, by default 64.
        fit: architectures that a predictor is fitted to, by default 100.
        encoding: how a predictor sees an architecture: onehot (by default), adjacency or path.
        seed: of sample, bootstrap, proxy and predictor.
        resamples: draws of the bootstrap for the 95 % intervals; 0: none.
        fractions: shares of the architectures that count as the best.
        tops: numbers of them.
        record: a CSV file that gets each score as it comes, from which the same call goes on; by
            default scores.csv in the run directory, and nothing without a run.
        plot: a file for scatter plots of score and truth: .html, a page with all figures, or .svg.
        done: called with the number of architectures scored and of all.

    Returns:
        Scores, and how well they order. Of a run it is also written to its rank.json, which its
        report shows.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    data = chosen(data, task)
    asked: dict[str, Any] = {
        "norms": norms,
        "recalibration_images": recalibration_images,
        "images": images,
        "by": by or None,
        "space": space,
        "data": data,
        "channels": channels,
        "depth": depth,
        "image_size": image_size,
        "batch_size": batch_size,
        "fit": fit,
        "encoding": encoding,
    }
    named = {"proxy": proxy, "predictor": predictor, "column": column}
    for name, value in named.items():
        arguments.instance(name, value, str, "a name")
    subject = _subject({"run": run, **named})
    if not isinstance(run, Scorer):
        _require_used(subject, asked)
    arguments.whole("seed", seed, ranges.SEED)
    arguments.whole("resamples", resamples, ranges.RESAMPLES)
    if sample:
        arguments.whole("sample", sample, Range(LEAST, ranges.COUNT.most))
    picture = None if plot is None else _picture(plot)
    where = _Where(truth, os.fspath(table), metric)
    options = {name: usual if asked[name] is None else asked[name] for name, usual in USUAL.items()}
    directory = None
    if isinstance(run, Scorer):
        if not isinstance(truth, Truth):
            raise ConfigError(f"truth is {brief(truth)}; accepted: a Truth, beside a Scorer")
        scorer, known = run, truth
    elif run is not None:
        directory = RunDirectory.open(run)
        scorer, known = _of_run(directory, where, options, space, data)
        record = directory.scores_file if record is None else record
    else:
        scorer, known = _of_name(subject, named[subject], where, options, seed)
    if within != 1.0:
        known = known.within(within)
    if sample is None and subject in ("run", "proxy") and truth is None:  # which are slow
        sample = min(SAMPLE, len(known))
    if sample:
        known = known.sample(sample, seed)
    file = None if record is None else arguments.path("record", record)
    found = scored_ranking(
        scorer,
        known,
        by=by,
        record=file,
        fractions=fractions,
        tops=tops,
        resamples=resamples,
        seed=seed,
        done=done or usual_count("scores"),
    )
    return replace(found, files=(*([file] if file else []), *_write(found, picture, directory)))


def _picture(plot: str | os.PathLike[str]) -> Path:
    """The file that is to be drawn."""
    file = arguments.path("plot", plot)
    if file.suffix.lower() not in PLOTS:
        raise ConfigError(f"plot is {str(file)!r}; accepted: a file that ends in .html or .svg")
    return file


@dataclass(frozen=True)
class _Where:
    """Where the truth is."""

    truth: str | os.PathLike[str] | Truth | None
    table: str
    metric: str

    def truth_of(self, space: SearchSpace, data: str = "") -> Truth:
        """Of a space, for what was trained on `data`."""
        if isinstance(self.truth, Truth):
            return self.truth
        if self.truth is not None:
            return file_truth(arguments.path("truth", self.truth), space, self.metric or "accuracy")
        return table_truth(space, self.metric, data=data, file=self.table)


def _of_run(
    directory: RunDirectory,
    where: _Where,
    options: dict[str, Any],
    space: Space | None,
    data: Data | None,
) -> tuple[Scorer, Truth]:
    if options["norms"] not in get_args(Norms):
        raise UnknownNameError("norms", options["norms"], get_args(Norms))
    arguments.whole("recalibration_images", options["recalibration_images"], ranges.IMAGES)
    arguments.whole("images", options["images"], ranges.IMAGES.or_zero)
    scorer, searched = scorers.supernet_scorer(
        directory.path,
        space=space,
        data=data,
        norms=options["norms"],
        recalibration_images=options["recalibration_images"],
        images=options["images"],
    )
    return scorer, where.truth_of(searched, scorer.data)


def _of_name(
    subject: str, name: str, where: _Where, options: dict[str, Any], seed: int
) -> tuple[Scorer, Truth]:
    """Of a proxy, a predictor or a column."""
    space = known_space(options["space"])
    if subject == "proxy":
        return _of_proxy(name, space, where, options, seed)
    if subject == "predictor":
        known = where.truth_of(space)
        fit, encoding = options["fit"], options["encoding"]
        return scorers.predictor_scorer(name, known, fit=fit, encoding=encoding, seed=seed), known
    scorer = scorers.column_scorer(space, name, where.table)
    return scorer, where.truth_of(space, scorer.data)


def _of_proxy(
    name: str, space: SearchSpace, where: _Where, options: dict[str, Any], seed: int
) -> tuple[Scorer, Truth]:
    truth = where.truth_of(space, data_name(options["data"]))
    settings = Settings(
        seed=seed,
        batch_size=options["batch_size"],
        network=Network(channels=options["channels"], depth=options["depth"]),
        task=as_they_are(options["data"], image_size=options["image_size"]),
    )
    return scorers.proxy_scorer(name, space, options["data"], settings=settings), truth


def _require_used(subject: str, asked: dict[str, Any]) -> None:
    """A `ConfigError` for an argument that the subject has no use for; None is not given."""
    for name, subjects in USED_BY.items():
        again = subject == "run" and name in ("space", "data")
        if asked[name] is not None and subject not in subjects and not again:
            raise ConfigError(
                f"{name} is {brief(asked[name])}; accepted: with {' or '.join(subjects)} only"
            )


def _subject(named: dict[str, Any]) -> str:
    said = [
        name
        for name, value in named.items()
        if not (value is None or (isinstance(value, str) and not value))
    ]
    if len(said) != 1:
        raise ConfigError(
            f"{', '.join(said) or 'nothing'} to rank by; accepted: one of run (a finished search "
            "that trained a supernet), proxy, predictor, column"
        )
    return said[0]


def _write(found: Ranked, plot: Path | None, directory: RunDirectory | None) -> list[Path]:
    from morphogen import __version__

    written: list[Path] = []
    content = found.to_mapping()
    if plot is not None:
        drawn = (
            rankingpage.svg(content, found.points)
            if plot.suffix.lower() == ".svg"
            else rankingpage.page(content, found.points, __version__)
        )
        with made(plot.parent):
            write_anew(plot, drawn)
        written.append(plot)
    if directory is not None:
        points = [[v if math.isfinite(v) else None for v in pair] for pair in found.points]
        directory.write_ranking(content | {"points": points})
        written.append(directory.rank_file)
    return written
