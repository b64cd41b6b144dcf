"""A search in one process: what its loop needs is made, checked, held, and let go in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from morphogen.core.ending import ending
from morphogen.engine.record.loggers import logged
from morphogen.engine.record.recorder import Recorder
from morphogen.engine.record.watch import Silent, Watcher
from morphogen.engine.search.blackbox import run_rounds
from morphogen.engine.search.deliver import deliver
from morphogen.engine.search.evaluation import kept_limits, limited
from morphogen.engine.search.job import Job, problem_of, task_of_job
from morphogen.engine.search.loop import Outcome, on_record, run_steps
from morphogen.engine.search.regularise import composed
from morphogen.methods import AskTell, find
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import (
    on_threads,
    other_machine,
    require_same_data,
    require_same_files,
    require_same_module,
)
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.problem import Devices, Problem


def run_job(devices: Devices, job: Job, task: Task | None) -> Outcome:
    """Search in this process: from the run directory to the end of the loop.

    Args:
        devices: where, and which of several processes this is.
        job: what to do.
        task: its task, if it is made already.

    Raises:
        RunError: a run that goes on has other data, other files or another module.
        MorphogenError: what ends the loop.
        KeyboardInterrupt: somebody ends it. An anytime method's search then ends with what is on
            record, if there is anything.
    """
    directory, s = RunDirectory(job.path), job.settings
    config, main = directory.config(), devices.rank == 0
    task = task or task_of_job(job)
    info = find(job.method)
    method = info.build(job.config)
    with ExitStack() as stack:
        watcher = stack.enter_context(logged(job.watcher(), s.loggers)) if main else Silent()
        recorder = Recorder(directory, config, watcher, job.resume, main)
        if job.resume:
            require_same_data(directory, config, task)
        if main:
            for sentence in _notices(job, config, task):
                watcher.notice(sentence)
        problem = problem_of(job, task, devices)
        if main:
            stack.enter_context(directory.locked())
        stack.enter_context(forked_rng(devices.device))
        stack.enter_context(on_threads(config["threads"]))
        try:
            with task.sealed("the search"):
                if isinstance(method, AskTell):
                    outcome = run_rounds(method, problem, recorder, job)
                else:
                    problem.space = limited(problem, s, config.get("share"))
                    outcome = run_steps(composed(method, s), problem, recorder, s)
            return _complete(job, problem, outcome, watcher)
        except KeyboardInterrupt:
            if isinstance(method, AskTell) or not info.anytime or devices.world > 1:
                raise
            with ending():
                fresh = problem_of(job, task, devices)
                fresh.space = limited(fresh, s, config.get("share"))
                with task.sealed("the search"):
                    found = on_record(composed(method, s), fresh, recorder, s)
                if found is None:
                    raise
                watcher.notice(
                    "interrupted: the search ends with the best so far; interrupt again to end at "
                    "once"
                )
                return _complete(job, fresh, found, watcher)


def _complete(job: Job, problem: Problem, outcome: Outcome, watcher: Watcher) -> Outcome:
    """The outcome with its costs beside the limits, its network in the run directory if it has one.

    In the process that writes; others have nothing more to do.
    """
    devices = problem.devices
    if devices.rank != 0:
        return replace(outcome, network=None)
    limits = kept_limits(problem, outcome.architecture, job.settings)
    outcome = replace(outcome, limits=limits)
    if outcome.network is None:
        return outcome
    delivered = deliver(job, problem.task, devices, outcome, outcome.network)
    for sentence in delivered.remarks:
        watcher.notice(sentence)
    return replace(outcome, network=None, delivered=delivered)


def _notices(job: Job, config: Mapping[str, Any], task: Task) -> Iterator[str]:
    """What is to be said before the search begins or goes on.

    Raises:
        RunError: a run that goes on has other files or another module.
    """
    directory = RunDirectory(job.path)
    if job.resume:
        require_same_files(directory, config)
        saved = directory.checkpoint_file.exists()
        other = require_same_module(directory, config, job.space, redrawn=saved)
        yield from filter(None, (other_machine(config), other))
    yield from (entry["note"] for entry in config.get("extended", ())[-1:])
    if config.get("share"):
        yield config["share"]["sentence"]
    yield from config.get("plan", ())
    yield from config.get("remarks", ())
    yield from task.remarks()
