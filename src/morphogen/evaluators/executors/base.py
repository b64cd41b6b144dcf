"""What every executor keeps, and the one that needs no other process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from morphogen.core import MorphogenError, NumericalError, memory

Job = Callable[[Any], Any]
"""Does one task and returns its value. It raises a `NumericalError`, or any exception that is no
`MorphogenError`, for a task that failed; another `MorphogenError` is the user's mistake and ends
the search."""

Make = Callable[[], Job]
"""Makes the job, once in each worker, where the table or the data are then loaded."""


@dataclass(frozen=True)
class Report:
    """How one task ended."""

    index: int
    """The task's place among those given."""
    value: Any
    """What the job returned; None if every attempt failed."""
    error: str
    """Why the last attempt failed, in one line; empty if it did not."""
    attempts: int
    seconds: float
    """Wall clock of the last attempt."""
    cpu_seconds: float
    """Processor time of the last attempt; 0 if the worker did not live to tell."""
    worker: str
    """Who did it, e.g. `process 4711`."""

    @property
    def failed(self) -> bool:
        """Whether there is no value."""
        return bool(self.error)


class Executor(Protocol):
    """Does tasks somewhere."""

    def map(self, tasks: Sequence[Any]) -> Iterator[Report]:
        """Do all tasks; one report for each, as it ends.

        Raises:
            MorphogenError: the user's mistake, which no other attempt would mend.
        """

    def close(self) -> None:
        """End all workers, whatever they are doing."""


def attempt(job: Job, task: Any) -> tuple[Any, str, float, float]:
    """Value, error in one line, seconds and processor seconds of one attempt."""
    began, cpu = time.perf_counter(), time.process_time()
    value, error = None, ""
    try:
        value = job(task)
    except NumericalError as raised:
        error = one_line(raised)
    except MorphogenError:
        raise
    except Exception as raised:  # noqa: BLE001 - whatever a network does must not end the search
        error = one_line(raised)
    return value, error, time.perf_counter() - began, time.process_time() - cpu


def one_line(error: BaseException) -> str:
    """An exception in one line, with its type where it is not one of ours."""
    if memory.ran_out(error):
        return memory.said(error)
    text = " ".join(str(error).split())
    return text if isinstance(error, MorphogenError) else f"{type(error).__name__}: {text}"


class Local:
    """Does the tasks in this process, one after the other.

    It cannot survive what ends the process, nor see that a task hangs.

    Args:
        job: does a task.
        retries: further attempts at a task that failed.
    """

    def __init__(self, job: Job, *, retries: int = 1) -> None:
        self.job, self.retries = job, retries

    def map(self, tasks: Sequence[Any]) -> Iterator[Report]:
        """In the order given."""
        for index, task in enumerate(tasks):
            attempts, outcome = 1, attempt(self.job, task)
            while outcome[1] and attempts <= self.retries:
                attempts, outcome = attempts + 1, attempt(self.job, task)
            value, error, seconds, cpu = outcome
            yield Report(index, value, error, attempts, seconds, cpu, "local")

    def close(self) -> None:
        """Nothing to end."""
