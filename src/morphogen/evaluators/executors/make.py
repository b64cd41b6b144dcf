"""From the name of an executor to one."""

from __future__ import annotations

import os
from typing import Literal

from morphogen.core import ConfigError
from morphogen.evaluators.executors.base import Executor, Local, Make
from morphogen.evaluators.executors.pool import Pool

Name = Literal["local", "processes", "ray"]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_executor(
    name: Name,
    make: Make,
    *,
    workers: int = 0,
    retries: int = 1,
    timeout: float = 0.0,
    threads: int = 1,
    address: str = "",
) -> Executor:
    """An executor, with no worker yet.

    Args:
        name: `local`, `processes` or `ray`.
        make: makes what the workers do.
        workers: how many; 0: as many as this machine has processors.
        retries: further attempts at a task that failed.
        timeout: seconds for one attempt; 0: as long as it takes.
        threads: processors of each worker.
        address: of a Ray cluster; empty for one on this machine.

    Raises:
        ConfigError: the executor cannot keep what is asked of it, or Ray is not installed.
    """
    if name == "local":
        if timeout:
            raise ConfigError(
                f"timeout is {timeout:g} with executor local, which cannot end what hangs; "
                "accepted: timeout 0, or executor processes or ray"
            )
        return Local(make(), retries=retries)
    if name == "processes":
        from morphogen.evaluators.executors.processes import Processes

        return Pool(
            Processes(make, threads=threads),
            workers=workers or cores(),
            retries=retries,
            timeout=timeout,
        )
    from morphogen.evaluators.executors.cluster import Cluster

    return Pool(
        Cluster(make, threads=threads, address=address),
        workers=workers or cores(),
        retries=retries,
        timeout=timeout,
    )
