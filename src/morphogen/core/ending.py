"""An interrupt that is answered: the work is brought to an end, which takes its time.

Who ends processes that do not end by themselves (the command line) asks here whether one is at it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_begun = 0
_over = float("-inf")


@contextmanager
def ending() -> Iterator[None]:
    """Within the context an interrupt that came is being answered."""
    global _begun, _over
    _begun += 1
    try:
        yield
    finally:
        _begun -= 1
        _over = time.monotonic()


def busy_until() -> float:
    """When the last answer was complete, as `time.monotonic` counts; infinite during one."""
    return float("inf") if _begun else _over
