"""Run a job: in this process, or in several data-parallel ones that share every batch."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException

from morphogen import cost
from morphogen.core import ConfigError, MorphogenError, RunError, memory
from morphogen.core.names import shell
from morphogen.core.processes import GUARD, UNGUARDED, spawning
from morphogen.engine.devices import FabricDevices
from morphogen.engine.record.loggers import logged
from morphogen.engine.record.recorder import Recorder
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.blackbox import limited, run_rounds
from morphogen.engine.search.job import Job, problem_of, task_of_job
from morphogen.engine.search.loop import Outcome, run_steps
from morphogen.engine.search.result import SearchResult, finished, write_result
from morphogen.engine.search.select import selecting
from morphogen.methods import AskTell, find
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import (
    elsewhere,
    on_threads,
    require_same_data,
    require_same_files,
    require_same_module,
)
from morphogen.supernets.draws import aside
from morphogen.tasks import Task
from morphogen.tasks.problem import Devices


def launch(where: Any, job: Job, task: Task | None = None) -> SearchResult:
    """Run the job in this process, or in `devices` processes that share every batch.

    Args:
        where: of `devices.place`, for the job's settings.
        job: what to do.
        task: its task, if it is made already.
    """
    devices = job.settings.hardware.devices
    if devices == 1:
        return write_result(job, _search(where, job, task))
    try:
        packed = pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"devices is {devices}, and an object passed cannot be sent to another "
            f"process ({str(error).splitlines()[0]}); accepted: classes and functions at the top "
            "level of a module that can be imported, or devices 1"
        ) from error
    try:
        with spawning(packed):
            failure: MorphogenError | None = where.launch(_process, packed)
    except ProcessExitedException as error:
        if error.exit_code == UNGUARDED:
            raise ConfigError(f"devices is {devices}, and {GUARD}") from None
        if error.signal_name is None:
            raise RunError(
                f"a process of the search ended by itself ({str(error).splitlines()[0]}); "
                "accepted: a script that can be imported, with its search under "
                f'`if __name__ == "__main__":`, then `{shell("morphogen", "resume", job.path)}`'
            ) from error
        raise RunError(
            f"a process of the search was ended from outside ({str(error).splitlines()[0]}); "
            f"accepted: `{shell('morphogen', 'resume', job.path)}`"
        ) from error
    if failure is not None:
        raise failure
    found = finished(RunDirectory(job.path), job)
    if found is None:
        raise RunError(f"{job.path} has lost its result; accepted: files that nobody else writes")
    return found


def _process(fabric: Any, packed: bytes) -> MorphogenError | None:
    """The work of one of several processes; the first writes the result.

    The job comes in bytes, because Fabric walks through its arguments and refuses frozen
    dataclasses. What is returned goes through a pipe that nobody reads before all processes have
    ended, so it is short: what went wrong.
    """
    try:
        job: Job = pickle.loads(packed)
    except (AttributeError, ImportError) as error:
        return ConfigError(
            f"an object passed cannot be found in another process ({error}); accepted: classes "
            "and functions at the top level of a module that can be imported, or devices 1"
        )
    try:
        with memory.reported(cost.SMALLER):
            devices = FabricDevices(fabric)
            outcome = _search(devices, job, None)
            if devices.rank == 0:
                write_result(job, outcome)
    except MorphogenError as error:
        return error
    return None


def _search(devices: Devices, job: Job, task: Task | None) -> Outcome:
    """The search, from the run directory to the end of its loop."""
    directory, s = RunDirectory(job.path), job.settings
    config, main = directory.config(), devices.rank == 0
    task = task or task_of_job(job)
    method = find(job.method).build(job.config)
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
        stack.enter_context(task.sealed("the search"))
        stack.enter_context(aside(devices.device))
        stack.enter_context(on_threads(config["threads"]))
        if isinstance(method, AskTell):
            return run_rounds(method, problem, recorder, job)
        problem.space = limited(problem, s)
        return run_steps(selecting(method, s), problem, recorder, s)


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
        yield from filter(None, (elsewhere(config), other))
    yield from (entry["note"] for entry in config.get("lengthened", ())[-1:])
    yield from config.get("remarks", ())
    yield from task.remarks()
