"""What finished sequences are judged by: BLEU, error rates, repetitions.

BLEU is that of sacreBLEU (Post, 2018, arXiv 1804.08771), whose signature says how it was computed.
Error rates are edit distances over lengths: insertions, deletions and substitutions of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from math import inf
from typing import Any

from morphogen.core.errors import ConfigError
from morphogen.tasks.metric import Figure

Tokens = Sequence[str]


def bleu(said: Sequence[str], references: Sequence[str]) -> Figure:
    """Corpus BLEU of texts, one reference each."""
    library = _library("sacrebleu")
    metric = library.metrics.BLEU()
    value = float(metric.corpus_score(list(said), [list(references)]).score)
    return Figure("BLEU", value, "", how=f"sacreBLEU {metric.get_signature()}", bounds=(0.0, 100.0))


def error_rates(said: Iterable[Tokens], references: Iterable[Sequence[Tokens]]) -> list[Figure]:
    """Share of tokens and of sequences that are wrong, in percent.

    Args:
        said: a sequence for each source.
        references: of each source one or several right ones, of which the nearest counts.
    """
    distance = _library("rapidfuzz.distance").Levenshtein.distance
    edits = length = wrong = count = 0
    for one, known in zip(said, references, strict=True):
        found = [(distance(list(one), list(right)), len(right)) for right in known]
        least, of = min(found, key=lambda pair: (pair[0] / max(pair[1], 1), pair[1]))
        edits, length, wrong = edits + least, length + of, wrong + (least > 0)
        count += 1
    how = "edits over tokens of the nearest reference"
    return [
        Figure("token error rate", 100 * edits / max(length, 1), "%", False, how, (0.0, inf)),
        Figure("sequence error rate", 100 * wrong / max(count, 1), "%", False, "", (0.0, 100.0)),
    ]


def repetitions(said: Sequence[Tokens]) -> float:
    """The share of pairs of neighbouring tokens that were there before in their sequence, in %."""
    pairs = [list(pairwise(one)) for one in said]
    total = sum(map(len, pairs))
    return 100 * (1 - sum(len(set(row)) for row in pairs) / total) if total else 0.0


def repetition(said: Sequence[Tokens], references: Sequence[Tokens]) -> Figure:
    """How often sequences repeat themselves, beside how often references do."""
    how = f"pairs of tokens that came before; of the references {repetitions(references):.2f} %"
    return Figure("repetition", repetitions(said), "%", False, how, (0.0, 100.0))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ConfigError(
            f"figures of finished sequences need the package {package}, which is not installed; "
            "accepted: pip install 'morphogen[sequences]'"
        ) from error
