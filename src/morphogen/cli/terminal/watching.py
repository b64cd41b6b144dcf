"""Who watches a run that the command line started."""

from __future__ import annotations

from rich.console import Console

from morphogen.cli.terminal import streams
from morphogen.engine.record.progress import Display, Lines
from morphogen.engine.record.watch import Watcher


def watcher(to_stderr: bool) -> Watcher:
    """A live display if the stream is a terminal, else lines; called in the main process.

    Args:
        to_stderr: leave stdout to the result, as JSON.
    """
    streams.keep()  # here, too: it may be a process that `main` did not start
    console = Console(stderr=to_stderr, highlight=False)
    return (
        Display(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)
    )
