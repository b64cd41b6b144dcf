"""Progress of many equal pieces of work: so many done of so many."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from morphogen.core.text import duration

LINE_PAUSE = 5.0
"""Seconds between two lines of progress where there is no terminal."""


@contextmanager
def counted(what: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """A bar in a terminal, a line now and then elsewhere; on stderr.

    Args:
        what: is counted, e.g. `searches`.
        total: how many there will be, if that is known now.

    Yields:
        To be called with the number done and of all.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task("", total=total)
            yield lambda done, of: bar.update(task, completed=done, total=of)
        return
    start, last, first = time.monotonic(), [0.0], [-1]

    def line(done: int, of: int) -> None:
        now = time.monotonic()
        first[0] = done if first[0] < 0 else first[0]
        if done < of and now - last[0] < LINE_PAUSE:
            return
        last[0] = now
        left = (now - start) / max(done - first[0], 1) * (of - done)
        more = f", {duration(left)} left" if first[0] < done < of else ""
        print(f"{what} {done}/{of}{more}", file=sys.stderr, flush=True)

    yield line
