"""What the engine tells whoever watches a search; a display never appears in a method."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from morphogen.tasks.problem import Clock


class Watcher(Protocol):
    """Called by the engine's main process; every call must return soon."""

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """A search starts, or goes on after so many epochs."""

    def stepped(self, clock: Clock) -> None:
        """A step is done; the clock stands after it."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done and safe on the disk; the row is its line in metrics.jsonl."""

    def notice(self, sentence: str) -> None:
        """Something the user should know and need not act on at once."""


class Silent:
    """Watches nothing."""

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """Nothing."""

    def stepped(self, clock: Clock) -> None:
        """Nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def notice(self, sentence: str) -> None:
        """Nothing."""


def usual() -> Watcher:
    """Who watches a run of Python's: in a notebook a display in the cell's output, else nobody."""
    if not in_notebook():
        return Silent()
    from morphogen.engine.record.progress import Notebook

    return Notebook()


def usual_count(what: str) -> Callable[[int, int], None] | None:
    """To be called with the number done and of all: in a notebook a bar, else nothing.

    Args:
        what: is counted, e.g. `searches`.
    """
    if not in_notebook():
        return None
    from morphogen.engine.record.progress import Bar

    return Bar(what)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
