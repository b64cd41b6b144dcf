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
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from morphogen.core import RunError
from morphogen.core.files import (
    alone,
    append_lines,
    lock,
    made,
    previous,
    sweep,
    write_anew,
    writing,
)
from morphogen.core.names import shell
from morphogen.evaluators import store


class RunDirectory:
    """Reads and writes one run directory; nothing is half written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claim: int | None = None
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoint_file = path / "checkpoint.pt"
        self.store_file = path / store.FILE
        self.start_file = path / "start.safetensors"
        self.result_file = path / "result.json"
        self.scores_file = path / "scores.csv"
        self.rank_file = path / "rank.json"

    @classmethod
    @contextmanager
    def claimed(cls, path: str | Path | RunDirectory | None, label: str) -> Iterator[RunDirectory]:
        """A new directory, which no other process gets; without a path `runs/<label>-<time>`.

        The claim ends with `begin`, which writes config.yaml, or with the context; then what was
        made for it and has nothing in it is removed again.

        Args:
            path: where; one that is claimed already is given back as it is.
            label: for a name of its own.

        Raises:
            RunError: it holds a run already, another process has it, or it cannot be written.
        """
        if isinstance(path, RunDirectory):
            yield path
            return
        with ExitStack() as stack:
            path = Path(path) if path else stack.enter_context(_new_name(label))
            run = cls(path)
            while run._claim is None:  # an empty one may just be removed by who made it
                stack.enter_context(made(path))
                with writing(path):
                    run._claim = _take(path)
            try:
                run._require_new()
            except BaseException:
                run._let_go()
                raise
            try:
                yield run
            finally:
                if run._claim is not None:  # what the run would have begun with
                    run.start_file.unlink(missing_ok=True)
                run._let_go()

    def _require_new(self) -> None:
        path, checkpoint = self.path, self.checkpoint_file
        if os.path.lexists(self.config_file):
            raise RunError(
                f"{path} holds a run already; accepted: a new directory, or "
                f"`{shell('morphogen', 'resume', path)}`"
            )
        left = (
            self.metrics_file,
            self.store_file,
            self.start_file,
            checkpoint,
            previous(checkpoint),
            self.result_file,
        )
        for file in left:
            if os.path.lexists(file):
                raise RunError(
                    f"{path} holds the {file.name} of a run that has lost its config.yaml; "
                    "accepted: a new directory"
                )
        with writing(path), tempfile.TemporaryFile(dir=path):
            pass  # it can be written

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml: from here on the directory is a run."""
        self.write_config(config)
        self._let_go()

    def _let_go(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            os.close(claim)

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
        with alone(self.path):
            sweep(self.path)
            yield

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
        write_anew(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

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
        append_lines(self.metrics_file, json.dumps(row) + "\n")

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
        write_anew(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))

    # -- result ------------------------------------------------------------------------------

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json."""
        write_anew(self.result_file, json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """Read result.json; None if the search is not finished, or the file is damaged."""
        return _mapping(self.result_file)  # if damaged, resuming writes it anew

    def write_ranking(self, found: Mapping[str, Any]) -> None:
        """Write rank.json."""
        write_anew(self.rank_file, json.dumps(found) + "\n")

    def ranking(self) -> dict[str, Any] | None:
        """Read rank.json; None if there is none, or the file is damaged."""
        return _mapping(self.rank_file)


@contextmanager
def _new_name(label: str) -> Iterator[Path]:
    """A directory of that label and this second, made by nobody else."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        path = Path("runs") / (f"{label}-{stamp}" + (f"-{number}" if number > 1 else ""))
        if os.path.lexists(path):
            continue
        with made(path) as new:
            if path in new:
                yield path
                return


def _take(path: Path) -> int | None:
    """The lock of a directory; None if it is not there any more."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        lock(handle, path)
        if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(handle)):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _mapping(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is none."""
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_bytes())
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
