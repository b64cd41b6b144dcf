"""Processes that are spawned, from scripts and notebooks as they are. Pure Python.

A spawned process imports the program that started it, if that is a file: a script that starts its
search outside of `if __name__ == "__main__":` would search again in every process. So the program
is imported only where an object of it is sent; and then a script without the guard is told of it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNGUARDED = 87
"""Exit code of a process in which the program, imported, begins to search again."""

GUARD = (
    "objects of your script are sent to other processes, which import it, and it starts its "
    'search when it is imported; accepted: the search under `if __name__ == "__main__":`, or the '
    "objects in a module of their own"
)
"""What is said of it."""

_MARK = "MORPHOGEN_SPAWNED"
"""Variable of the environment of a process that was started within `spawning`."""


@contextmanager
def spawning(content: bytes) -> Iterator[None]:
    """Within the context, spawned processes import the program only if `content` is of it.

    Args:
        content: what they will unpickle.
    """
    refuse_again()
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {}
    file = vars(main).get("__file__")
    nowhere = file is not None and not os.path.isfile(file)  # `<stdin>`, which nobody can import
    if nowhere or b"__main__" not in content:
        # What `multiprocessing` looks at to find the program.
        hidden = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    before = os.environ.get(_MARK)
    os.environ[_MARK] = "1"
    try:
        if hidden:
            main.__spec__ = None
            vars(main).pop("__file__", None)
        yield
    finally:
        vars(main).update(hidden)
        if before is None:
            del os.environ[_MARK]
        else:
            os.environ[_MARK] = before


def refuse_again() -> None:
    """End a process of ours that searches while it is still importing the program."""
    if _MARK in os.environ and getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(UNGUARDED)
