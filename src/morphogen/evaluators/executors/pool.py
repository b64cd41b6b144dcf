"""A pool of workers that may die or hang: who does what, until when, and how often.

The pool is the same for processes and for a cluster; a backend starts, feeds, hears and ends the
workers of one kind. (`concurrent.futures` gives a whole pool up when one worker dies, and cannot
end one that hangs.)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from morphogen.core import MorphogenError, RunError
from morphogen.evaluators.executors.base import Job, Report, attempt, one_line

Event = Literal["ready", "done", "fatal", "gone"]

Message = tuple[Event, Any]
"""From a worker: `ready` (it can take tasks), `done` with what `attempt` returns, `fatal` with a
`MorphogenError`, or, from its backend, `gone` with the reason."""

STARTS = 3
"""Workers that may be lost in a row before one is ready; then something is wrong with all."""

W = TypeVar("W")


class WorkerBackend(Protocol[W]):
    """Workers of one kind."""

    def start(self) -> W:
        """A new worker, which says `ready` by itself."""

    def name(self, worker: W) -> str:
        """What to call it in the record."""

    def send(self, worker: W, task: Any) -> None:
        """Give a worker that is ready, and idle, a task; one that is gone will be heard of."""

    def wait(self, workers: Sequence[W], seconds: float | None) -> list[tuple[W, Message]]:
        """The next messages, at least one; none if the seconds are over."""

    def end(self, worker: W) -> None:
        """End it at once, whatever it is doing."""

    def close(self) -> None:
        """Let go of what the backend itself holds."""


@dataclass
class _Post:
    """What the pool knows of one worker."""

    ready: bool = False
    task: int | None = None
    began: float = 0.0


class Pool(Generic[W]):
    """Does tasks with a backend.

    Args:
        backend: the workers.
        workers: how many there are at a time.
        retries: further attempts at a task that failed, or whose worker died or hung.
        timeout: seconds for one attempt; 0: as long as it takes.
    """

    def __init__(
        self, backend: WorkerBackend[W], *, workers: int, retries: int, timeout: float
    ) -> None:
        self.backend, self.workers, self.retries = backend, workers, retries
        self.timeout = timeout or float("inf")
        self._posts: dict[W, _Post] = {}
        self._lost = 0

    def map(self, tasks: Sequence[Any]) -> Iterator[Report]:
        """All tasks, each reported as it ends."""
        queue = deque(range(len(tasks)))
        attempts = [0] * len(tasks)
        left = len(tasks)
        while left:
            self._hire(left)
            for worker, post in self._posts.items():
                if queue and post.ready and post.task is None:
                    post.task, post.began = queue.popleft(), time.monotonic()
                    attempts[post.task] += 1
                    self.backend.send(worker, tasks[post.task])
            for worker, index, outcome in self._hear():
                value, error, seconds, cpu = outcome
                if error and attempts[index] <= self.retries:
                    queue.appendleft(index)
                    continue
                left -= 1
                yield Report(
                    index, value, error, attempts[index], seconds, cpu, self.backend.name(worker)
                )

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._posts):
            self._dismiss(worker)
        self.backend.close()

    def _hire(self, left: int) -> None:
        while len(self._posts) < min(self.workers, max(left, 1)):
            self._posts[self.backend.start()] = _Post()

    def _hear(self) -> list[tuple[W, int, tuple[Any, str, float, float]]]:
        """The attempts that have ended: (worker, task, outcome)."""
        now = time.monotonic()
        deadlines = [p.began + self.timeout for p in self._posts.values() if p.task is not None]
        first = min(deadlines, default=float("inf"))
        seconds = None if first == float("inf") else max(first - now, 0.0)
        ended = []
        for worker, (kind, content) in self.backend.wait(list(self._posts), seconds):
            post = self._posts[worker]
            if kind == "ready":
                post.ready, self._lost = True, 0
            elif kind == "fatal":
                raise content
            elif kind == "done":
                if post.task is not None:
                    ended.append((worker, post.task, content))
                post.task = None
            else:
                ended += self._gone(worker, post, content)
        now = time.monotonic()
        for worker, post in list(self._posts.items()):
            if post.task is not None and now - post.began >= self.timeout:
                ended += self._gone(worker, post, f"no result after {self.timeout:g} s")
        return ended

    def _gone(
        self, worker: W, post: _Post, reason: str
    ) -> list[tuple[W, int, tuple[Any, str, float, float]]]:
        """A worker that died or hung is replaced; its attempt has failed."""
        self._dismiss(worker)
        if not post.ready:
            self._lost += 1
            if self._lost >= STARTS and not any(p.ready for p in self._posts.values()):
                raise RunError(
                    f"no worker could be started: {reason}; accepted: a script that can be "
                    'imported, with its search under `if __name__ == "__main__":`, and memory for '
                    "the workers"
                )
        if post.task is None:
            return []
        return [(worker, post.task, (None, reason, time.monotonic() - post.began, 0.0))]

    def _dismiss(self, worker: W) -> None:
        del self._posts[worker]
        self.backend.end(worker)


def answer(job: Job, task: Any) -> Message:
    """What a worker says after a task."""
    try:
        return "done", attempt(job, task)
    except MorphogenError as error:
        return "fatal", error


def unfit(error: BaseException) -> Message:
    """What a worker says that could not make its job."""
    if isinstance(error, MorphogenError):
        return "fatal", error
    return "fatal", RunError(f"a worker cannot prepare its work: {one_line(error)}")
