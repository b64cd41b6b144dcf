"""Where architectures are evaluated changes nothing of what is measured."""

import pytest

import tiny
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.evaluation import _in_worker
from morphogen.engine.search.job import Job
from morphogen.engine.search.search import search
from morphogen.evaluators.stage import FULL


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_worker_scores_as_this_process_does_in_the_same_precision(precision, tmp_path):
    settings = tiny.changed(tiny.SETTINGS, evaluations=2, precision=precision)
    here = search(
        "random", space=tiny.own(), data=tiny.images(), settings=settings, run=tmp_path / "run"
    )
    job = Job(
        "random",
        tiny.config("random"),
        here.space,
        tiny.images(),
        settings,
        here.run,
        resume=False,
        watcher=Silent,
    )
    measure = _in_worker(job)
    for row in here.history:
        arch = here.space.parse(row["candidate"])
        assert measure((arch, FULL))[0]["accuracy"] == row["score"]
