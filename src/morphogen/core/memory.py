"""The memory of this machine, asked before much of it is taken."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import lru_cache
from pathlib import Path

_CGROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says what a container may use, versions 2 and 1."""


@lru_cache(maxsize=1)
def memory_bytes() -> int:
    """Bytes that a process here can have at most; `sys.maxsize` where that cannot be told.

    The least of the machine's memory, the container's limit and the process's own (`ulimit -v`).
    """
    limits = [sys.maxsize]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not a POSIX system
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _CGROUP:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    try:
        import resource  # not on Windows
    except ImportError:
        return min(limits)
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        limits.append(own)
    return min(limit for limit in limits if limit > 0)


def too_much(need: int) -> str | None:
    """`need` bytes against this machine's memory in words; `None` if they fit."""
    have = memory_bytes()
    return None if need <= have else f"{_size(need)} of memory, this machine has {_size(have)}"


def _size(count: int) -> str:
    gib = count / 2**30
    return f"{gib:,.1f} GiB" if gib < 1e6 else f"{gib:.1e} GiB"
