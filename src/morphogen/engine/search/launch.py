"""A search in several data-parallel processes that share every batch."""

from __future__ import annotations

import pickle
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException

from morphogen import cost
from morphogen.core import ConfigError, MorphogenError, RunError, memory
from morphogen.core.names import shell
from morphogen.core.processes import GUARD, UNGUARDED, spawning
from morphogen.engine.devices import FabricDevices
from morphogen.engine.search.job import Job
from morphogen.engine.search.result import SearchResult, finished, write_result
from morphogen.engine.search.run import run_job
from morphogen.runs.directory import RunDirectory


def launch(where: Any, job: Job) -> SearchResult:
    """Run the job in several data-parallel processes that share every batch.

    Args:
        where: of `devices.place`, for the job's settings.
        job: what to do.

    Raises:
        MorphogenError: what ended a process.
    """
    devices = job.settings.hardware.devices
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
            devices = FabricDevices(fabric, job.settings.hardware.precision)
            outcome = run_job(devices, job, None)
            if devices.rank == 0:
                write_result(job, outcome)
    except MorphogenError as error:
        return error
    return None
