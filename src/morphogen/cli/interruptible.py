"""A run that somebody may interrupt: what it says then, and what it leaves behind."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morphogen.cli.terminal import faults, interrupts
from morphogen.core.names import shell
from morphogen.engine.record import progress
from morphogen.runs.directory import RunDirectory


@contextmanager
def interruptible(path: Path) -> Iterator[None]:
    """Says how to go on when the search is interrupted, and ends what it started."""

    def advice() -> str:
        if not RunDirectory(path).config_file.exists():
            return ""
        command = shell("morphogen", "resume", path)
        return f"nothing finished is lost; continue with: {command}"

    try:
        with interrupts.advised(advice):
            yield
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    except Exception as error:
        raise faults.as_error(error, path) from error
    finally:
        progress.end()
