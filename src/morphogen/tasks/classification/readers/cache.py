"""Decoded pixels kept between runs, so that CIFAR's 50,000 JPEGs are decoded once, not per run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.tasks.pictures.pixels import Changes

SLOW = 3.0
"""Seconds of decoding from which the result is worth the disk space."""

_VERSION = 3  # raise it when decoding or resizing changes


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/morphogen/images`, by default under `~/.cache`; safe to delete."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says that a relative XDG_CACHE_HOME is to be ignored.
    base = Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()
    return base / "morphogen" / "images"


def cached(
    source: Path, rows: int, kind: str, make: Callable[[Changes], Tensor]
) -> tuple[Tensor, Changes]:
    """What `make` returns and notes, or what it did before for the same file.

    The key is the file itself (path, length, the times of its last change) and `kind`. A cache that
    cannot be read or written is as good as none: nothing here fails.

    Args:
        source: the file that is decoded.
        rows: images expected; a stored array of another length is ignored.
        kind: what else the result depends on (column, size).
        make: decodes; returns uint8 `[rows, c, h, w]`, and counts what it does to the images.
    """
    file: Path | None = None
    try:
        stat = source.stat()
        times = f"{stat.st_mtime_ns}|{stat.st_ctime_ns}"  # a copy may keep the first
        key = f"{_VERSION}|{source.resolve()}|{stat.st_ino}|{stat.st_size}|{times}|{kind}"
        file = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        found = _read(file)
        if found is not None and len(found[0]) == rows:
            return found
    # RuntimeError: there is no home folder; ValueError: a path that is no text.
    except (OSError, ValueError, RuntimeError):
        pass
    started = time.perf_counter()
    changes = Changes()
    pixels = make(changes)
    if file is not None and time.perf_counter() - started > SLOW:
        with contextlib.suppress(OSError):  # a full or read-only disk
            _write(file, pixels, changes)
    return pixels, changes


def _read(file: Path) -> tuple[Tensor, Changes] | None:
    """Stored pixels `[n, c, h, w]` and what was done to them; `None` if the file is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            pixels, changes = stored["pixels"], json.loads(str(stored["changes"]))
    except (ValueError, EOFError, LookupError, AttributeError, TypeError, zipfile.BadZipFile):
        return None
    whole = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 4
    if not whole or not isinstance(changes, dict):
        return None
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), Changes(changes)


def _write(file: Path, pixels: Tensor, changes: Changes) -> None:
    """Write beside, then rename: a reader sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            np.savez(out, pixels=pixels.permute(0, 2, 3, 1).numpy(), changes=json.dumps(changes))
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
