"""The run directory: the whole truth of a search, in files that a person can read.

config.yaml    method, space, data, settings, seed, versions, command
metrics.jsonl  one line per epoch, of a method that trains a supernet
start.safetensors  the weights that a supernet began with, of a search `--from` another run
checkpoint     the state after the last finished epoch, and the one before (`.previous`)
evaluations.sqlite  one row per architecture, of a black-box method: all that it needs to go on
result.json    the architecture found, and at what cost
scores.csv     scores of architectures by the trained supernet, of `morphogen rank`
rank.json      how well they order
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from morphogen.core import RunError
from morphogen.core.files import previous, sync_directory, write_whole, writing
from morphogen.core.names import shell
from morphogen.evaluators import store


class RunDirectory:
    """Reads and writes one run directory; nothing is half written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoint_file = path / "checkpoint.pt"
        self.store_file = path / store.FILE
        self.start_file = path / "start.safetensors"
        self.result_file = path / "result.json"
        self.scores_file = path / "scores.csv"
        self.rank_file = path / "rank.json"

    @classmethod
    def create(cls, path: Path | None, label: str) -> RunDirectory:
        """A new directory; without a path `runs/<label>-<time>`.

        Raises:
            RunError: it holds a run already, or cannot be written.
        """
        if path is None:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            path = Path("runs") / f"{label}-{stamp}"
            for again in range(2, 1000):
                if not os.path.lexists(path):
                    break
                path = path.with_name(f"{label}-{stamp}-{again}")
        run = cls(path)
        with writing(path):
            if run.config_file.exists():
                raise RunError(
                    f"{path} holds a run already; accepted: a new directory, or "
                    f"`{shell('morphogen', 'resume', path)}`"
                )
            checkpoint = run.checkpoint_file
            left = (
                run.metrics_file,
                run.store_file,
                run.start_file,
                checkpoint,
                previous(checkpoint),
                run.result_file,
            )
            for file in left:
                if file.exists():
                    raise RunError(
                        f"{path} holds the {file.name} of a run that has lost its config.yaml; "
                        "accepted: a new directory"
                    )
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, or a `RunError`."""
        run = cls(path)
        if not os.path.isfile(run.config_file):
            raise RunError(
                f"{path} holds no run: there is no config.yaml in it; accepted: the directory of "
                "a search"
            )
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here; a process that dies lets go by itself.

        Raises:
            RunError: another process works on the run.
        """
        with writing(self.path):
            handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"another process works on {self.path}; accepted: a run that nobody is running"
                ) from error
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(handle)

    def is_locked(self) -> bool:
        """Whether a process works on the run now; False where the file system has no locks."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise RunError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # a file system without locks
        finally:
            os.close(handle)
        return False

    # -- config ------------------------------------------------------------------------------

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        self._replace(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def config(self) -> dict[str, Any]:
        """Read config.yaml, or a `RunError`."""
        try:
            values = yaml.safe_load(self.config_file.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            reason = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise RunError(
                f"cannot read {self.config_file}{where}: {reason}; accepted: what search wrote"
            ) from error
        if not isinstance(values, dict):
            raise RunError(f"{self.config_file} is not a run's config; accepted: what search wrote")
        return values

    # -- metrics -----------------------------------------------------------------------------

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl and have it on the disk."""
        with writing(self.metrics_file), self.metrics_file.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """One row per epoch or evaluation, in their order.

        From all whole lines of metrics.jsonl (one cut short by a crash is left out), or, of a
        black-box method, from its store, as `evaluators.store.rows` describes them.
        """
        if self.store_file.exists():
            return store.rows(self.store_file)
        rows: list[dict[str, Any]] = []
        if self.metrics_file.exists():
            try:
                lines = self.metrics_file.read_bytes().split(b"\n")
            except OSError as error:
                raise RunError(f"cannot read {self.metrics_file}: {error.strerror}") from error
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:  # no JSON, or no text
                    break
                if not isinstance(row, dict):
                    break
                rows.append(row)
        return rows

    def unread_lines(self) -> int:
        """How many whole lines of metrics.jsonl `metrics` leaves out, because one is damaged."""
        if not self.metrics_file.exists():
            return 0
        return max(0, self.metrics_file.read_bytes().count(b"\n") - len(self.metrics()))

    def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite metrics.jsonl with these lines: what was finished when the checkpoint was."""
        self._replace(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))

    # -- result ------------------------------------------------------------------------------

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json."""
        self._replace(self.result_file, json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """Read result.json; None if the search is not finished, or the file is damaged."""
        return _mapping(self.result_file)  # if damaged, resuming writes it anew

    def write_ranking(self, found: Mapping[str, Any]) -> None:
        """Write rank.json."""
        self._replace(self.rank_file, json.dumps(found) + "\n")

    def ranking(self) -> dict[str, Any] | None:
        """Read rank.json; None if there is none, or the file is damaged."""
        return _mapping(self.rank_file)

    def _replace(self, path: Path, text: str) -> None:
        with writing(path):
            fresh = path.with_name(path.name + ".new")
            write_whole(fresh, [text.encode()])
            fresh.replace(path)
            sync_directory(path.parent)


def _mapping(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is none."""
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_bytes())
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
