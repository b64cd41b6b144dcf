"""Decoded pixels kept between runs, so that CIFAR's 50,000 JPEGs are decoded once, not per run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SLOW = 3.0
"""Seconds of decoding from which the result is worth the disk space."""

_VERSION = 1  # raise it when decoding or resizing changes


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/morphogen/images`, by default under `~/.cache`; safe to delete."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says that a relative XDG_CACHE_HOME is to be ignored.
    base = Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()
    return base / "morphogen" / "images"


def cached(source: Path, rows: int, kind: str, make: Callable[[], Tensor]) -> Tensor:
    """`make()`, or what it returned before for the same file.

    The key is the file's path, length and modification time, and `kind`. A cache that cannot be
    read or written is as good as none: nothing here fails.

    Args:
        source: the file that is decoded.
        rows: images expected; a stored array of another length is ignored.
        kind: what else the result depends on (column, size).
        make: decodes; returns uint8 `[rows, c, h, w]`.
    """
    file: Path | None = None
    try:
        stat = source.stat()
        key = f"{_VERSION}|{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{kind}"
        file = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        array = np.load(file, allow_pickle=False)
        if array.dtype == np.uint8 and array.ndim == 4 and len(array) == rows:
            return torch.from_numpy(array).permute(0, 3, 1, 2)
    except (OSError, ValueError, EOFError, RuntimeError):  # RuntimeError: there is no home folder
        pass
    started = time.perf_counter()
    pixels = make()
    if file is not None and time.perf_counter() - started > SLOW:
        with contextlib.suppress(OSError):  # a full or read-only disk
            _write(file, pixels)
    return pixels


def _write(file: Path, pixels: Tensor) -> None:
    """Write beside, then rename: a reader sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            np.save(out, pixels.permute(0, 2, 3, 1).numpy(), allow_pickle=False)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
