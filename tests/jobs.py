"""What workers do in tests: well-behaved, dying, hanging, failing. Imported by other processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from morphogen.core import ConfigError, NumericalError


def job(task: tuple[str, Any]) -> Any:
    """Does what the task's first word says."""
    what, value = task
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die once":  # the first attempt only; the file tells the second one
        path = Path(value)
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"
    if what == "exit":
        os._exit(3)
    if what == "hang":
        time.sleep(600)
    if what == "sleep":
        time.sleep(value)
    if what == "raise":
        raise ValueError(f"two\nlines of {value}")
    if what == "nan":
        raise NumericalError("accuracy is nan")
    if what == "mistake":
        raise ConfigError(f"field is {value}; accepted: another")
    if what == "environment":
        return os.environ.get(value)
    if what == "process":
        time.sleep(0.2)
        return os.getpid()
    return value


def make() -> Any:
    """In a worker."""
    return job


def make_mistaken() -> Any:
    """A worker that finds the user's mistake when it prepares its work."""
    raise ConfigError("data is 'nowhere'; accepted: somewhere")


def make_broken() -> Any:
    """A worker that cannot prepare its work."""
    raise OSError("no\nsuch file")


def make_dying() -> Any:
    """A worker that is killed whenever it starts."""
    os.kill(os.getpid(), signal.SIGKILL)
