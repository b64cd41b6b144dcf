"""The run directory: the whole truth of a search, in files that a person can read.

config.yaml    method, space, data, settings, seed, versions, command
metrics.jsonl  one line per epoch, of a method that trains a supernet
network.safetensors  the weights of the network that a search delivers, of a method that trains one
start.safetensors  the weights that a supernet began with, of a search `--from` another run
checkpoint     the state after the last finished epoch, and the one before (`.previous`)
evaluations.sqlite  one row per architecture, of a black-box method: all that it needs to go on
result.json    the architecture found, and at what cost
scores.csv     scores of architectures by the trained supernet, of `morphogen rank`
rank.json      how well they order
examples.json  pictures of what the trained network makes of a few examples
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from morphogen.core import RunError, arguments
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
from morphogen.core.reading import read_bytes, read_lines
from morphogen.core.records import Record, checked, from_json, read_yaml
from morphogen.runs import records, store

TRAINING = "train"
"""What config.yaml of a training says where that of a search names its method."""

WRITTEN = "what this version of morphogen wrote"
"""What is accepted of a file that is read back."""


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
        self.network_file = path / records.NETWORK
        self.result_file = path / "result.json"
        self.scores_file = path / "scores.csv"
        self.rank_file = path / "rank.json"
        self.examples_file = path / "examples.json"

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
            if path is None:
                path = stack.enter_context(_new_name(label))
            path = arguments.path("run", path)
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
            self.network_file,
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
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """An existing run, or a `RunError`."""
        run = cls(arguments.path("run", path))
        if not os.path.lexists(run.config_file):
            raise RunError(
                f"{path} holds no run: there is no config.yaml in it; accepted: the directory of "
                "a search"
            )
        return run

    @property
    def is_training(self) -> bool:
        """Whether the run is a training's, and not a search's."""
        return bool(self.config().get("method") == TRAINING)

    @property
    def has_network(self) -> bool:
        """Whether the run is finished, and has a trained network."""
        return bool((self.result() or {}).get("weights"))

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
        checked(records.RunConfig, config, str(self.config_file), accepted=WRITTEN)
        write_anew(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def config(self) -> dict[str, Any]:
        """Read config.yaml, as `records.RunConfig` declares it, or a `RunError`."""
        return read_yaml(records.RunConfig, self.config_file, accepted=WRITTEN)

    # -- metrics -----------------------------------------------------------------------------

    def append(self, row: Mapping[str, Any]) -> str:
        """Add one line to metrics.jsonl and have it on the disk.

        Returns:
            The line.
        """
        line = self._line(row)
        append_lines(self.metrics_file, line)
        return line

    def metrics(self) -> list[dict[str, Any]]:
        """One row per epoch or evaluation, in their order.

        From all whole lines of metrics.jsonl (one cut short by a crash is left out), or, of a
        black-box method, from its store, as `evaluators.store.rows` describes them.
        """
        return self.inspect_metrics()[0]

    def inspect_metrics(self) -> tuple[list[dict[str, Any]], str]:
        """The same, and a sentence on the lines that are left out because one is damaged."""
        if os.path.lexists(self.store_file):
            return store.rows(self.store_file), ""
        rows: list[dict[str, Any]] = []
        if not os.path.lexists(self.metrics_file):
            return rows, ""
        name, lost, why = self.metrics_file.name, 0, ""
        for number, line in enumerate(read_lines(self.metrics_file, accepted=WRITTEN), start=1):
            whole = line.endswith(b"\n")
            if not why:
                try:
                    where = f"line {number} of it"
                    rows.append(from_json(records.Epoch, line, where, accepted=WRITTEN))
                    continue
                except RunError as error:
                    why = str(error)
            lost += whole
        if not lost:
            return rows, ""
        return rows, (
            f"{name} is damaged: its last {lost} lines cannot be read, and are left out after "
            f"line {len(rows)} ({why})"
        )

    def keep(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Rewrite metrics.jsonl with these rows: what was finished when the checkpoint was.

        Returns:
            Its lines.
        """
        lines = [self._line(row) for row in rows]
        write_anew(self.metrics_file, "".join(lines))
        return lines

    def _line(self, row: Mapping[str, Any]) -> str:
        checked(records.Epoch, row, f"a line of {self.metrics_file}", accepted=WRITTEN)
        return json.dumps(row) + "\n"

    # -- result ------------------------------------------------------------------------------

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json."""
        kind = records.result_kind(result)
        checked(kind, result, str(self.result_file), accepted=WRITTEN)
        write_anew(self.result_file, json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """Read result.json; None if the search is not finished, or the file is damaged."""
        return self.inspect_result()[0]  # if damaged, resuming writes it anew

    def inspect_result(self) -> tuple[dict[str, Any] | None, str]:
        """The same, and a sentence on the damage."""
        return self._inspect(self.result_file, records.result_kind, "`morphogen resume`")

    def set_early_aside(self) -> list[str]:
        """Give a result that an interrupt has ended early, and its network, names of their own.

        Returns:
            Why the test part was opened for such results.
        """
        last = self.result() or {}
        if last.get("ended_early"):
            self.archive_result(f"{last['epochs']}-early")
        earlier = [
            self._inspect(file, records.result_kind, "")[0] or {}
            for file in self.path.glob(f"{self.result_file.stem}-*-early.json")
        ]
        each = [list(one.get("test_openings", ())) for one in earlier]
        return max(each, key=len, default=[])  # the last one has those before it, too

    def archive_result(self, label: str) -> None:
        """Give names of their own to what is of the run until now: its result, network, ranking.

        Args:
            label: after the name of each file.
        """
        for file in (self.result_file, self.network_file, self.rank_file):
            if os.path.lexists(file):
                with writing(file):
                    file.replace(file.with_name(f"{file.stem}-{label}{file.suffix}"))

    def write_ranking(self, found: Mapping[str, Any]) -> None:
        """Write rank.json."""
        checked(records.Ranked, found, str(self.rank_file), accepted=WRITTEN)
        write_anew(self.rank_file, json.dumps(found) + "\n")

    def inspect_ranking(self) -> tuple[dict[str, Any] | None, str]:
        """Read rank.json; None if there is none, or with a sentence if the file is damaged."""
        return self._inspect(self.rank_file, lambda _: records.Ranked, "`morphogen rank`")

    def write_examples(self, shown: Mapping[str, Any]) -> None:
        """Write examples.json."""
        checked(records.Shown, shown, str(self.examples_file), accepted=WRITTEN)
        write_anew(self.examples_file, json.dumps(shown) + "\n")

    def inspect_examples(self) -> tuple[dict[str, Any] | None, str]:
        """Read examples.json; None if there is none, or with a sentence if the file is damaged."""
        return self._inspect(self.examples_file, lambda _: records.Shown, "another training")

    def _inspect(
        self, path: Path, kind: Callable[[Any], type[Record]], remedy: str
    ) -> tuple[dict[str, Any] | None, str]:
        """The record in a JSON file that can be made again by the command `remedy`."""
        if not os.path.lexists(path):
            return None, ""
        try:
            raw = read_bytes(path, accepted=WRITTEN)
        except RunError as error:
            return None, str(error)
        try:
            values = from_json(Record, raw, "it", accepted=WRITTEN)
            return checked(kind(values), values, "it", accepted=WRITTEN), ""
        except RunError as error:
            return None, f"{path.name} is damaged; {remedy} writes it anew ({error})"


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
