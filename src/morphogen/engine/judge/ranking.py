"""How well a scorer orders architectures: a trained supernet, a proxy, a predictor, a column.

The four kinds of scorers are in `scorers`; what is measured is in `core.ranking`.
"""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, ConfigError, RunError, UnknownNameError
from morphogen.core.files import append_lines, recording
from morphogen.core.names import brief
from morphogen.core.processes import refuse_again
from morphogen.core.ranking import FRACTIONS, TOPS, Ranking, ranking
from morphogen.core.reading import MEBIBYTE, read_text
from morphogen.engine.judge.truth import Truth, same_data
from morphogen.reports.writing import Report, written

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """Gives architectures scores; equal names mean equal scores."""

    name: str
    """All that decides its numbers, on one line: rows of a record are known by it."""
    title: str
    """For people: `supernet of runs/a`, `proxy nwot`."""
    columns: tuple[str, ...]
    """What it measures, the score first; higher is better, but for `loss`."""
    score: Callable[[Architecture], Sequence[float]]
    """One figure a column; NaN is refused, infinities are ranked."""
    about: str = ""
    """What to know of the scores, a sentence or two."""
    data: str = ""
    """What it was trained on."""
    known: frozenset[Architecture] = frozenset()
    """Architectures that it was fitted to, on which it cannot be judged."""


@dataclass(frozen=True, repr=False)
class Ranked:
    """Scores, and how well they order."""

    scorer: Scorer
    truth: Truth
    """Of the architectures that were scored, in the order of scoring."""
    scores: Values
    """[n], higher is better."""
    by: str
    """The scorer's column that they are."""
    ranking: Ranking
    seconds: float
    """Wall clock of the scores that were not on record."""
    fresh: int
    """How many these were."""
    files: tuple[Path, ...] = ()
    """What was written."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON: None where there is no number."""
        truth, chosen = self.truth, self.ranking.chosen
        measured = asdict(self.ranking)
        del measured["chosen"]
        return {
            "space": truth.space.name,
            "scorer": self.scorer.name,
            "title": self.scorer.title,
            "about": self.scorer.about,
            "by": self.by,
            "scorer_data": self.scorer.data,
            "truth_data": truth.data,
            "other_data": self.other_data,
            "truth": truth.name,
            "truth_about": truth.about,
            "higher_is_better": truth.higher_is_better,
            "chosen_place": chosen,
            "chosen": truth.space.format(truth.archs[chosen]),
            "seconds": round(self.seconds, 3),
            "scored_now": self.fresh,
            **_plain(measured),
        }

    def __repr__(self) -> str:
        tau = self.ranking.levels[0].tau.value
        return f"<Ranked {self.scorer.title}: {len(self.truth):,} architectures, tau-b {tau:.3f}>"

    def _repr_html_(self) -> str:
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.ranking(self.to_mapping())

    def report(self, out: str | os.PathLike[str] = "order.html") -> Report:
        """Write one HTML page on the order; it needs no network.

        Args:
            out: a file that ends in .html.

        Raises:
            RunError: the page cannot be written.
            ConfigError: `out` does not end in .html.
        """
        from morphogen import __version__
        from morphogen.reports import rankingpage

        return written(rankingpage.page(self.to_mapping(), self.points, __version__), out)

    @property
    def other_data(self) -> bool:
        """Whether the scorer saw other data than the truth is of, as far as names tell."""
        known, given = self.truth.data, self.scorer.data
        return bool(known and given) and not same_data(known, given)

    @property
    def points(self) -> list[tuple[float, float]]:
        """Score and figure of each architecture, in their order."""
        return list(zip(self.scores.tolist(), self.truth.figures.tolist(), strict=True))


def scored_ranking(
    scorer: Scorer,
    truth: Truth,
    *,
    by: str = "",
    record: Path | None = None,
    fractions: Sequence[float] = FRACTIONS,
    tops: Sequence[int] = TOPS,
    resamples: int = 500,
    seed: int = 0,
    done: Callable[[int, int], None] | None = None,
) -> Ranked:
    """Score architectures, and compare their order with the true one.

    Args:
        scorer: what is judged.
        truth: by what it is judged; architectures that the scorer was fitted to are left out.
        by: column of the scorer to order by; its first by default. A loss is turned round.
        record: a CSV file that gets each score as it comes, and from which the scores that it has
            of this scorer are taken: a ranking cut off is continued.
        fractions: tops as shares of all, see `core.ranking.ranking`.
        tops: tops as numbers.
        resamples: draws of the bootstrap.
        seed: of the bootstrap.
        done: called with the number of scored architectures and of all.

    Raises:
        ConfigError: nothing is left to order, or a score is NaN.
        RunError: the record cannot be read or written.
    """
    refuse_again()
    by = by or scorer.columns[0]
    if by not in scorer.columns:
        raise UnknownNameError(f"column of {scorer.title}", by, scorer.columns)
    left = [i for i, arch in enumerate(truth.archs) if arch not in scorer.known]
    if len(left) < len(truth):
        truth = truth.take(np.array(left, np.intp))
    if not left:
        raise ConfigError(
            f"{scorer.title} was fitted to all architectures of the truth; accepted: fewer"
        )
    texts = [truth.space.format(arch) for arch in truth.archs]
    rows = []
    with recording(record):
        known = {} if record is None else _read(record, scorer)
        began, fresh = time.perf_counter(), 0
        for number, (text, arch) in enumerate(zip(texts, truth.archs, strict=True)):
            if done is not None:
                done(number, len(texts))
            if text not in known:
                known[text] = tuple(float(v) for v in scorer.score(arch))
                fresh += 1
                if record is not None:
                    _append(record, scorer, text, known[text])
            rows.append(known[text])
    seconds = time.perf_counter() - began
    if done is not None:
        done(len(texts), len(texts))
    column = np.array([row[scorer.columns.index(by)] for row in rows])
    scores = -column if by == "loss" else column
    for text, score in zip(texts, scores, strict=True):
        if math.isnan(score):
            raise ConfigError(f"the {by} of {text} by {scorer.title} is NaN; accepted: a number")
    found = ranking(
        truth.values, scores, fractions=fractions, tops=tops, resamples=resamples, seed=seed
    )
    return Ranked(scorer, truth, scores, by, found, seconds, fresh)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- the record ------------------------------------------------------------------------------------

HEAD = ("architecture", "score", "loss", "scorer")
"""Columns of a record; the loss is empty where a scorer has none."""


def _append(path: Path, scorer: Scorer, text: str, row: Sequence[float]) -> None:
    values = dict(zip(scorer.columns, row, strict=True))
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    fresh = not path.exists() or not path.stat().st_size
    if fresh:
        writer.writerow(HEAD)
    loss = repr(values["loss"]) if "loss" in values else ""
    writer.writerow([text, repr(row[0]), loss, scorer.name])
    append_lines(path, line.getvalue())


def _read(path: Path, scorer: Scorer) -> dict[str, tuple[float, ...]]:
    """Scores of this scorer by architecture; a line cut short is left out."""
    if not os.path.lexists(path):
        return {}
    accepted = "what rank wrote, or a new file"
    text = read_text(path, most=1024 * MEBIBYTE, accepted=accepted)
    try:
        lines = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise RunError(f"cannot read {path}: {error}; accepted: {accepted}") from error
    if lines and tuple(lines[0]) != HEAD:
        raise RunError(f"{path} is no record of scores; accepted: {accepted}")
    found = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) == len(HEAD) and line[3] == scorer.name:
            values = [line[1], *([line[2]] if "loss" in scorer.columns else [])]
            try:
                found[line[0]] = tuple(float(v) for v in values)
            except ValueError as error:
                raise RunError(
                    f"line {number} of {path} has {brief(', '.join(values))}; accepted: numbers, "
                    f"in {accepted}"
                ) from error
            if any(math.isnan(value) for value in found[line[0]]):
                raise RunError(f"line {number} of {path} has nan; accepted: numbers")
    return found
