"""Workers on the machines of a Ray cluster, or of one made on this machine for the search.

Each worker is an actor with processors of its own. A machine that is lost takes its workers along;
the search goes on with the others, and on new machines as they join.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from morphogen.core import ConfigError, RunError
from morphogen.evaluators.executors.base import Job, Make
from morphogen.evaluators.executors.pool import Message, answer, unfit
from morphogen.evaluators.executors.processes import packed

try:
    import ray
    from ray import exceptions
    from ray._private import ray_constants
except ImportError as missing:
    raise ConfigError(
        "executor ray needs the package ray, which is not installed; accepted: "
        "pip install 'morphogen[ray]', or executor processes"
    ) from missing


class Agent:
    """The worker's side, on whatever machine it is."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._job: Job | None = None

    def prepare(self) -> tuple[Message, str]:
        """Make the job; also where this is."""
        context = ray.get_runtime_context()
        where = f"ray node {context.get_node_id()[:8]} process {os.getpid()}"
        try:
            self._job = pickle.loads(self._content)()
        except Exception as error:  # noqa: BLE001 - sent to the search, which raises it
            return unfit(error), where
        return ("ready", None), where

    def do(self, task: Any) -> Message:
        """One task."""
        if self._job is None:
            raise RuntimeError("a task came before the work was prepared")
        return answer(self._job, task)


@dataclass(eq=False)
class Worker:
    """An actor, and what it was asked last."""

    actor: Any
    asked: Any
    name: str = "ray"


class Cluster:
    """A backend of Ray actors.

    Args:
        make: makes the job in each worker; can be pickled.
        threads: processors of each worker, which Ray also tells the numerical libraries.
        address: of the cluster; empty for the one this process is connected to, or that the
            variable RAY_ADDRESS names, or else a new one, which no other machine can reach.
    """

    def __init__(self, make: Make, *, threads: int = 1, address: str = "") -> None:
        content = packed(make)
        self._ours = not ray.is_initialized()
        if self._ours:
            address = address or os.environ.get("RAY_ADDRESS", "")
            try:
                if address:
                    _init(address)
                else:
                    _start_alone()
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise RunError(
                    f"cannot reach the Ray cluster at {address or 'this machine'}: "
                    f"{' '.join(str(error).split())}; accepted: the address of a running cluster"
                ) from error
        self._content = ray.put(content)
        self._agent = ray.remote(num_cpus=threads, max_restarts=0)(Agent)

    def start(self) -> Worker:
        """A new actor, wherever there is room."""
        actor: Any = self._agent.remote(self._content)
        return Worker(actor, actor.prepare.remote())

    def name(self, worker: Worker) -> str:
        """By machine and process."""
        return worker.name

    def send(self, worker: Worker, task: Any) -> None:
        """Call it."""
        worker.asked = worker.actor.do.remote(task)

    def wait(
        self, workers: Sequence[Worker], seconds: float | None
    ) -> list[tuple[Worker, Message]]:
        """What has been answered, and who is lost."""
        owners = {w.asked: w for w in workers if w.asked is not None}
        ready, rest = ray.wait(list(owners), num_returns=1, timeout=seconds)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [(owners[ref], self._listen(owners[ref])) for ref in ready]

    def _listen(self, worker: Worker) -> Message:
        asked, worker.asked = worker.asked, None
        try:
            content = ray.get(asked)
        except exceptions.RayError as error:
            reason = (str(error).splitlines() or [""])[0].strip().rstrip(".:")
            return "gone", f"the Ray worker is lost ({type(error).__name__}: {reason})"
        if isinstance(content[0], tuple):
            message, worker.name = content
            return message  # type: ignore[no-any-return]
        return content  # type: ignore[no-any-return]

    def end(self, worker: Worker) -> None:
        """Kill the actor."""
        ray.kill(worker.actor, no_restart=True)

    def close(self) -> None:
        """Leave the cluster, if it was joined for this."""
        if self._ours:
            ray.shutdown()


def _init(address: str, **more: Any) -> None:
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)


def _start_alone() -> None:
    """Start a cluster for this machine alone: whoever reaches a port of Ray may run code here.

    Ray listens on loopback only where it takes a machine for one that never joins others: by
    default macOS and Windows, elsewhere where a variable says so. It is read when Ray is imported
    and by the processes that Ray starts.

    Raises:
        RunError: this version of Ray listens on the network all the same.
    """
    with _alone():
        _init("local", include_dashboard=False)
    where = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    if not ipaddress.ip_address(where).is_loopback:
        ray.shutdown()
        raise RunError(
            f"Ray {ray.__version__} would listen on {where}, for every machine of the network; "
            "accepted: executor processes, or ray_address of a cluster of yours"
        )


@contextmanager
def _alone() -> Iterator[None]:
    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, read = os.environ.get(variable), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = read
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
