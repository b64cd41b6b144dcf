"""How much memory there is, and a sentence where a request needs more. Pure Python.

A request that cannot fit is refused before its first step, from a count of what it needs at least;
what runs out later, from what the allocator says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morphogen.core.errors import MorphogenError, OutOfMemoryError
from morphogen.core.names import brief

SIGNS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",
    "failed to allocate",
    "storage size calculation overflowed",
    "integer multiplication overflow",
    "can't start new thread",
    "could not create a primitive",
)
"""What allocators of torch, CUDA, oneDNN and the system say; torch has no type for the CPU's."""

PROCESS = 200 * 2**20
"""Bytes that a process with torch takes before it has done anything; rather less than more."""


CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Limit and use of a container, of the second and of the first kind."""


def available(*, here: bool = True) -> int | None:
    """Bytes that may still be taken: of the machine and its container. None if nobody knows.

    Args:
        here: by this process, which may have a limit of its own.
    """
    known = (_machine(), _container(), _process() if here else None)
    return min((count for count in known if count is not None), default=None)


def require(needed: int, what: str, smaller: str) -> None:
    """Refuse what needs more memory than there is.

    Args:
        needed: bytes, at least.
        what: needs them, in words.
        smaller: what to make smaller.

    Raises:
        OutOfMemoryError: there is less.
    """
    wrong = too_much(needed)
    if wrong:
        raise OutOfMemoryError(f"{what} needs at least {wrong}; accepted: a smaller {smaller}")


def require_processes(count: int, name: str) -> None:
    """Refuse more processes than the machine can hold, whatever they do.

    Args:
        count: how many.
        name: the setting that says so.

    Raises:
        OutOfMemoryError: there is not enough memory.
    """
    free = available(here=False)
    if free is not None and count * PROCESS > free:
        raise OutOfMemoryError(
            f"{name} is {count}, and the {_size(free)} of memory that are free hold no more than "
            f"{free // PROCESS} processes; accepted: fewer {name}"
        )


def too_much(needed: int) -> str | None:
    """`needed` bytes against what is free, in words; None if they fit."""
    free = available()
    if free is None or needed <= free:
        return None
    return f"{_size(needed)} of memory, this machine has {_size(max(free, 0))} free"


@contextmanager
def reported(smaller: str) -> Iterator[None]:
    """Within the context, an allocator that gives up is one of our sentences.

    Args:
        smaller: what to make smaller.
    """
    try:
        yield
    except MorphogenError:
        raise
    except Exception as error:
        if not ran_out(error):
            raise
        raise OutOfMemoryError(f"{said(error)}; accepted: a smaller {smaller}") from error


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that there was no more memory."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(sign in text for sign in SIGNS)


def said(error: BaseException) -> str:
    """What an allocator said, shortened."""
    text = " ".join(str(error).split("\n")[0].split())
    return f"out of memory ({brief(text)[1:-1]})" if text else "out of memory"


def _machine() -> int | None:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _container() -> int | None:
    for limit, used in CGROUPS:
        with suppress(OSError, ValueError):  # `max` is no number: there is no limit
            return int(Path(limit).read_text()) - int(Path(used).read_text())
    return None


def _process() -> int | None:
    """What `ulimit -v` leaves."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return limit - pages * os.sysconf("SC_PAGE_SIZE")
    return None


def _size(count: int) -> str:
    if count >= 2**60:
        return f"{count / 2**30:.1e} GiB"
    for unit, size in (("TiB", 2**40), ("GiB", 2**30)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 2**20:,.0f} MiB"
