"""Which examples a search used for what, in a sentence of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.engine.search.job import Job
from morphogen.methods import find

CLOSED = "test data was not opened"

OPENED = "the test part was opened after the search, to measure the delivered network"

SPLITS = {
    "training": "search data only: train part for weights, search-validation part for the "
    "architecture",
    "single level": "search data only: both parts together for weights and architecture, and what "
    "was measured on the search-validation part had trained them",
    "supernet": "search data only: scores on the search-validation part, with weights of a "
    "supernet that another part trained",
    "proxy": "search data only: a batch of the train part through untrained networks",
}
"""What the numbers of a search are from."""

TABLE = "the benchmark table's search metric; no test figure was read during the search"


def split_sentence(job: Job, history: Sequence[Mapping[str, Any]], *, measured: bool) -> str:
    """What the numbers of a search are from.

    Args:
        job: the search.
        history: lines of metrics.
        measured: whether its network was measured on the test part when it was over.
    """
    drawn = history[-1].get("examples", {}) if history else {}
    kind = "single level" if drawn.get("pool") else "training"
    if find(job.method).black_box:
        kind = job.settings.evaluation.evaluator
    return TABLE if kind == "table" else f"{SPLITS[kind]}; {OPENED if measured else CLOSED}"
