"""`score`: architectures by zero-cost proxies: a few, a sample, or a whole space."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morphogen import benchmarks
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ConfigError, arguments, ranges
from morphogen.core.names import brief
from morphogen.core.ranking import LEAST, Estimate, Ranking
from morphogen.core.text import count
from morphogen.engine.judge.proxy_scores import (
    ENUMERABLE,
    Scored,
    Scoring,
    against,
    sample_of,
    score_all,
)
from morphogen.engine.record.watch import usual_count
from morphogen.proxies import Proxy, named
from morphogen.reports.writing import Report, written
from morphogen.runs.config import Space, known_space
from morphogen.spaces import SearchSpace
from morphogen.tasks import Task
from morphogen.tasks.kinds import USUAL_DATA, Data, chosen


@dataclass(frozen=True, repr=False)
class ProxyScores:
    """Scores of architectures, and how well they order them."""

    scored: Sequence[Scored]
    """Each architecture with its scores by proxy, higher is better, or why it has none."""
    scoring: Scoring
    """How they were scored."""
    proxies: Sequence[Proxy]
    table: Benchmark | None = None
    metric: str = ""
    """Column of the table that the order was compared with; empty if it was not."""
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    """By proxy, how well it orders the architectures by that column."""
    record: Path | None = None
    """The file that keeps the scores, if there is one."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON: None where there is no number."""

        def plain(estimate: Estimate) -> dict[str, float | None]:
            return {k: v if math.isfinite(v) else None for k, v in vars(estimate).items()}

        ranked = {
            name: {"kendall": plain(r.levels[0].tau), "spearman": plain(r.levels[0].spearman)}
            for name, r in self.rankings.items()
        }
        space = self.scoring.space
        return {
            **{k: v for k, v in self.scoring.description.items() if k != "proxies"},
            "proxies": [{"name": p.name, "unit": p.unit, "source": p.source} for p in self.proxies],
            "architectures": [
                {
                    "architecture": space.format(s.architecture),
                    "scores": {n: v if math.isfinite(v) else None for n, v in s.scores.items()},
                    **({"failed": s.failed} if s.failed else {}),
                }
                for s in self.scored
            ],
            **({"against": {"metric": self.metric, "proxies": ranked}} if ranked else {}),
        }

    def __repr__(self) -> str:
        names = ", ".join(p.name for p in self.proxies)
        return f"<ProxyScores of {len(self.scored):,} of {self.scoring.space.name}: {names}>"

    def _repr_html_(self) -> str:
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.scores(self.to_mapping())

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Write one HTML page on the scores; it needs no network.

        Args:
            out: a file that ends in .html; by default beside the record, with its name, without
                a record scores.html here.

        Raises:
            RunError: the page cannot be written.
            ConfigError: `out` does not end in .html.
        """
        from morphogen import __version__
        from morphogen.reports import scorespage

        usual = self.record.with_suffix(".html") if self.record else Path("scores.html")
        text = scorespage.page(
            self.to_mapping(), self.scoring.space, self.proxies, self.table, __version__
        )
        return written(text, usual if out is None else out)


def score(
    space: Space,
    architectures: Sequence[Architecture | str] | None = None,
    *,
    proxies: str | Sequence[str] = ("nwot",),
    sample: int = 0,
    data: Data | None = None,
    task: Task | None = None,
    batch_size: int = 64,
    image_size: int = 0,
    channels: int = 0,
    depth: int = 0,
    seed: int = 0,
    metric: str = "",
    resamples: int = 200,
    record: str | os.PathLike[str] | None = None,
    workers: int = 0,
    done: Callable[[int, int], None] | None = None,
) -> ProxyScores:
    """Score architectures by zero-cost proxies, without any training.

    Of a sample or a whole space it is also measured how well the scores order it, where the space
    has a table.

    Args:
        space: a name, a space, or your own module with `OneOf` in it.
        architectures: those to score, or their texts; by default a sample or all.
        proxies: names, of `morphogen.proxies.PROXIES`; several share their passes.
        sample: so many architectures at random; 0: all of the space.
        data: where the batch is from; only the train part is read, without augmentation; by
            default fashion-mnist.
        task: data, loss and metric of your own, instead of `data`.
        batch_size: examples of the batch, the same for all.
        image_size: height and width in pixels to reduce to; 0: as they are.
        channels: of the networks; 0: as published for the space.
        depth: likewise.
        seed: of the sample, the batch, the weights and what proxies draw.
        metric: column of the space's table that the order is compared with; by default the test
            figure after the longest training.
        resamples: draws of the bootstrap for the intervals; 0: none.
        record: a JSON-lines file that gets each score as it comes; the same call goes on where it
            was interrupted, and with a larger sample adds to it.
        workers: processes, each on one thread; 0: one for each core.
        done: called with the number of architectures scored and of all.

    Raises:
        MorphogenError: one sentence on what is wrong and what is accepted.
    """
    known = known_space(space)
    names = [proxies] if isinstance(proxies, str) else list(proxies)
    found = named(names)
    arguments.whole("resamples", resamples, ranges.RESAMPLES)
    arguments.whole("workers", workers, ranges.THREADS)
    file = None if record is None else arguments.path("record", record)
    table = benchmarks.of(known)
    column = _column(table, metric, known)
    drawn = architectures is None
    archs = _drawn(known, sample, seed) if architectures is None else _named(known, architectures)
    scoring = Scoring.of(
        space,
        names,
        data=chosen(data, task, USUAL_DATA),
        batch_size=batch_size,
        image_size=image_size,
        channels=channels,
        depth=depth,
        seed=seed,
    )
    scored = score_all(
        archs,
        scoring,
        record=file,
        workers=workers if drawn else 1,
        done=done or usual_count("architectures"),
    )
    if table is None or not drawn or len(scored) < LEAST:
        return ProxyScores(scored, scoring, found, record=file)
    rankings = against(table, column, scored, resamples=resamples, seed=seed)
    return ProxyScores(scored, scoring, found, table, column, rankings, file)


def _named(space: SearchSpace, given: Sequence[Architecture | str]) -> list[Architecture]:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"architectures is {brief(given)}; accepted: a list of architectures")
    archs = [space.parse(a) if isinstance(a, str) else space.check(a) for a in given]
    if not archs:
        raise ConfigError("architectures is empty; accepted: one at least, or None for a sample")
    if len(set(archs)) < len(archs):
        raise ConfigError("an architecture is named twice; accepted: each once")
    return archs


def _drawn(space: SearchSpace, sample: int, seed: int) -> list[Architecture]:
    if sample:
        return sample_of(space, sample, seed)
    if space.size() > ENUMERABLE:
        raise ConfigError(
            f"all architectures of {space.name} are {count(space.size())}; accepted: a sample, or "
            f"spaces of up to {ENUMERABLE:,}"
        )
    return space.enumerate()


def _column(table: Benchmark | None, name: str, space: SearchSpace) -> str:
    """The column that proxies are judged by: by default the test figure of the first data."""
    if table is not None:
        return str(table.metric(name or table.final_metrics[0]).name)
    if name:
        raise ConfigError(
            f"metric is {name!r}, and space {space.name!r} has no table; accepted: without"
        )
    return ""
