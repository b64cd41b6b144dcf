"""Worker processes on this machine, each with a pipe of its own.

No lock and no queue is shared, so a worker killed at any moment blocks nobody. Workers are
spawned, not forked (threads of torch would not survive a fork), and end with the search.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from morphogen.core import ConfigError
from morphogen.core.processes import GUARD, UNGUARDED, spawning
from morphogen.evaluators.executors.base import Make
from morphogen.evaluators.executors.pool import Message, answer, unfit

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What numerical libraries read when they are loaded."""


def packed(make: Make) -> bytes:
    """The maker as it is sent to workers, or a `ConfigError`."""
    try:
        return pickle.dumps(make)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"an object passed cannot be sent to a worker ({str(error).splitlines()[0]}); "
            "accepted: classes and functions at the top level of a module that can be imported, "
            "or executor local"
        ) from error


class Processes:
    """A backend of processes.

    Args:
        make: makes the job in each worker; can be pickled.
        threads: for the numerical libraries of each worker.
    """

    def __init__(self, make: Make, *, threads: int = 1) -> None:
        self._packed, self.threads = packed(make), threads
        self._context = multiprocessing.get_context("spawn")
        self._lines: dict[SpawnProcess, Connection[Any, Any]] = {}

    def start(self) -> SpawnProcess:
        """Spawn a worker."""
        ours, theirs = self._context.Pipe()
        worker = self._context.Process(target=_work, args=(theirs, self._packed), daemon=True)
        with _pinned(self.threads), spawning(self._packed), _deaf():
            worker.start()
        theirs.close()  # else its end would go unnoticed
        self._lines[worker] = ours
        return worker

    def name(self, worker: SpawnProcess) -> str:
        """By its process id."""
        return f"process {worker.pid}"

    def send(self, worker: SpawnProcess, task: Any) -> None:
        """Into its pipe."""
        with suppress(OSError):  # it is gone: `wait` will say so
            self._lines[worker].send(task)

    def wait(
        self, workers: Sequence[SpawnProcess], seconds: float | None
    ) -> list[tuple[SpawnProcess, Message]]:
        """From the pipes, and from the system on who has ended."""
        owners: dict[Any, SpawnProcess] = {}
        for worker in workers:
            owners[self._lines[worker]] = owners[worker.sentinel] = worker
        heard = dict.fromkeys(owners[end] for end in wait(list(owners), seconds))
        return [(worker, self._listen(worker)) for worker in heard]

    def _listen(self, worker: SpawnProcess) -> Message:
        line = self._lines[worker]
        try:
            if line.poll():
                message: Message = line.recv()
                return message
        except (EOFError, OSError, pickle.UnpicklingError):
            pass  # it died, perhaps in the middle of a message
        worker.join(timeout=5)
        code = worker.exitcode
        if code == UNGUARDED:
            return "fatal", ConfigError(GUARD)
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return "gone", f"the worker process ended with {how}"

    def end(self, worker: SpawnProcess) -> None:
        """Kill it."""
        worker.kill()
        worker.join()
        self._lines.pop(worker).close()

    def close(self) -> None:
        """Nothing but the workers to let go of."""


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Within the context, processes that start have so many threads for their libraries."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """Within the context, processes that start hear no Ctrl-C: the search does, and ends them.

    Else one that is still importing would print where it was.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(line: Connection[Any, Any], content: bytes) -> None:
    """What a worker does: make the job, then one task after the other until the pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        job = pickle.loads(content)()
    except Exception as error:  # noqa: BLE001 - sent to the search, which raises it
        line.send(unfit(error))
        return
    with suppress(EOFError, OSError):  # the search has ended
        line.send(("ready", None))
        while True:
            line.send(answer(job, line.recv()))


def _end_with_parent() -> None:
    """Follow a search that was killed, in the middle of a task if need be."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
