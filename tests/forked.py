"""Processes of tests, forked from a server that has imported torch and morphogen once.

To import them anew, as a spawned process must, takes seconds each.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch.multiprocessing

import tiny


def _context() -> ForkServerContext:
    """With its server running."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11's server does not take over sys.path (CPython issue 117378).
        patch.setenv("PYTHONPATH", str(Path(tiny.__file__).parent), prepend=os.pathsep)
        # The first optimiser imports torch._dynamo, which takes as long as torch itself.
        context.set_forkserver_preload(["tiny", "torch._dynamo"])
        multiprocessing.forkserver.ensure_running()
    return context


def process(function: Callable[..., Any], *args: Any) -> ForkServerProcess:
    """`function(*args)` in a process of its own, started."""
    started = _context().Process(target=function, args=args)
    started.start()
    return started


def two(function: Callable[..., Any], *args: Any) -> None:
    """`function(rank, *args)` in two processes; waits for both, raises what one of them raises."""
    _context()
    torch.multiprocessing.start_processes(function, args, nprocs=2, start_method="forkserver")
