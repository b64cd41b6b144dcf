"""Black-box search over the supernet of a finished run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from morphogen.core import ConfigError
from morphogen.engine.record.watch import Silent
from morphogen.engine.search import warmstart
from morphogen.engine.search.job import Job, problem_of, task_of_job
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.supernet import SupernetEvaluator
from tiny import SETTINGS, Stop, assert_same_run, changed, images, metrics, timeless

SCORING = changed(
    SETTINGS,
    evaluator="supernet",
    evaluations=6,
    evaluation_images=60,
    evaluation_recalibration=40,
    round_size=3,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that trained a supernet on real, if few, images."""
    run = tmp_path_factory.mktemp("trained") / "run"
    search("gdas", space="nasbench-macro", data=images(), settings=SETTINGS, run=run)
    return run


def found(trained, path, method="random", **changes):
    settings = changed(SCORING, **changes)
    return search(
        method,
        space="nasbench-macro",
        data=images(),
        settings=settings,
        run=path,
        start=trained,
        watcher=Silent,
    )


def job_of(result, settings):
    return Job(
        "random", None, result.space, images(), settings, result.run, resume=False, watcher=Silent
    )


def test_scores_are_those_of_the_trained_weights(trained, tmp_path):
    result = found(trained, tmp_path / "run")
    job = job_of(result, SCORING)
    problem = problem_of(job, task_of_job(job))
    net, _ = warmstart.read_run(trained, result.space, SETTINGS)
    supernet = problem.supernet()
    supernet.load_state_dict(net)
    evaluator = SupernetEvaluator(problem, examples=60, recalibration_examples=40)
    for row in result.history:
        arch = result.space.parse(row["candidate"])
        assert row["score"] == evaluator.measure(supernet, arch).score
    assert len(result.history) == 6


NSGA = {"method": "nsga2", "objectives": "accuracy,params", "limit": "params<=20K"}


def scored(result):
    return [{k: row[k] for k in ("candidate", "score", "params")} for row in result.history]


def test_objectives_and_limits(trained, tmp_path):
    one = found(trained, tmp_path / "one", **NSGA)
    assert all(row["params"] <= 20_000 for row in scored(one))
    assert one.front


@pytest.mark.slow
def test_worker_processes_find_what_this_one_finds(trained, tmp_path):
    one = found(trained, tmp_path / "one", **NSGA)
    two = found(trained, tmp_path / "two", executor="processes", workers=2, **NSGA)
    assert scored(one) == scored(two)


def test_resume_continues(trained, tmp_path):
    whole = found(trained, tmp_path / "whole").run
    with pytest.raises(KeyboardInterrupt):
        search(
            "random",
            space="nasbench-macro",
            data=images(),
            settings=SCORING,
            run=tmp_path / "cut",
            start=trained,
            watcher=Stop(epochs=4),
        )
    resume(tmp_path / "cut", data=images())
    assert timeless(metrics(whole)) == timeless(metrics(tmp_path / "cut"))
    assert_same_run(whole, tmp_path / "cut")


def test_another_seed_holds_the_same_images_out(trained, tmp_path):
    """What trained the supernet must not score; also through a run that began with it."""
    parts = []
    for path, begun in ((tmp_path / "one", trained), (tmp_path / "two", tmp_path / "one")):
        result = search(
            "gdas",
            space="nasbench-macro",
            data=images(),
            settings=replace(SETTINGS, seed=5, epochs=1),
            run=path,
            start=begun,
        )
        parts.append(task_of_job(job_of(result, replace(SETTINGS, seed=5))))
    plain = task_of_job(Job("", None, None, images(), SETTINGS, trained, False, Silent))
    for task in parts:
        assert task.train_rows.tolist() == plain.train_rows.tolist()
    other = Job("", None, None, images(), replace(SETTINGS, seed=5), trained, False, Silent)
    assert task_of_job(other).train_rows.tolist() != plain.train_rows.tolist()


@pytest.mark.parametrize(
    ("start_too", "changes", "message"),
    [
        (False, {}, "^evaluator is 'supernet', and there is none to score with; accepted: with --"),
        (True, {"evaluator": "training"}, "evaluator 'training' uses no supernet; accepted: eval"),
        (True, {"train_images": 60}, "train_images is 60, and the supernet of .* accepted: 100 or"),
    ],
)
def test_what_does_not_fit_is_refused(trained, tmp_path, start_too, changes, message):
    with pytest.raises(ConfigError, match=message):
        found(trained if start_too else None, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_other_data_and_stages_are_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match=r"was trained on .* other data than these; accepted"):
        search(
            "random",
            space="nasbench-macro",
            settings=SCORING,
            run=tmp_path / "run",
            start=trained,
        )
    with pytest.raises(ConfigError, match="asks for trainings of several lengths; accepted: eval"):
        found(trained, tmp_path / "run", "dc-nas")
    assert Settings().evaluation.evaluator == "training"
