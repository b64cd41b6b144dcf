"""The record of a black-box search: one row for each architecture, in an SQLite database.

It is the only record of such a search (`metrics.jsonl` belongs to methods that train a supernet):
results come in any order and from several workers, must not be counted twice, and are looked up
again when the search goes on; a text file does none of that. Any SQLite program reads it:

    sqlite3 -header -column RUN/evaluations.sqlite 'SELECT * FROM evaluations ORDER BY number'

An evaluation is on the disk whole or not at all, at once if it took any time worth saving.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from morphogen.core import CheckpointError, RunError
from morphogen.core.names import shown
from morphogen.core.reading import parse_json, trouble
from morphogen.core.records import Amount, Count, Natural, Record, Text, checked

FILE = "evaluations.sqlite"

CHEAP = 0.05
"""Seconds: evaluations that took less are committed together, since each commit waits for the disk,
and a search that looks up ten thousand architectures a second has no time for that. What a kill or
a power failure takes of them is soon evaluated again."""

LONGEST = 2**26
"""Bytes of a cell that is read."""

PAUSE = 0.25
"""Seconds between two commits of cheap evaluations."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS evaluations (
  number INTEGER PRIMARY KEY,        -- in the order in which the method asked, from 1
  architecture TEXT NOT NULL,        -- in the notation of the space
  budget REAL NOT NULL,              -- share of the full training
  status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
  objectives TEXT,                   -- JSON: name -> value, in its own unit; NULL if it failed
  score REAL,                        -- the first objective, higher is better; NULL if it failed
  error TEXT NOT NULL,               -- why it failed
  attempts INTEGER NOT NULL,
  seconds REAL NOT NULL,             -- wall clock of the last attempt
  cpu_seconds REAL NOT NULL,
  worker TEXT NOT NULL,
  finished TEXT NOT NULL,            -- when, UTC
  trace TEXT,                        -- JSON: how layers changed, [checkpoints][layers]
  UNIQUE (architecture, budget)
);
CREATE TABLE IF NOT EXISTS sessions ( -- one row for each start of the search
  began TEXT NOT NULL,
  seconds REAL NOT NULL,              -- wall clock of the search in this session
  cpu_seconds REAL NOT NULL           -- processor time of its main process
);
"""

COLUMNS = (
    "number, architecture, status, objectives, score, error, attempts, seconds, cpu_seconds, "
    "worker, finished, budget, trace"
)

NAMES = tuple(COLUMNS.split(", "))

INSERT = f"INSERT INTO evaluations ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)  # there may be a million
class Evaluation:
    """One architecture, evaluated."""

    number: int
    """In the order in which the method asked, from 1."""
    architecture: str
    objectives: Mapping[str, float] | None
    """Name -> value in its own unit; None if the evaluation failed."""
    score: float | None
    """The first objective, higher is better."""
    error: str
    attempts: int
    seconds: float
    cpu_seconds: float
    worker: str
    budget: float = 1.0
    """Share of the full training."""
    trace: Sequence[Sequence[float]] | None = None
    """How the layers changed, [checkpoints][layers], where the method asked for it."""

    @property
    def key(self) -> tuple[str, float]:
        """What is evaluated once: an architecture at a budget."""
        return self.architecture, self.budget

    @property
    def failed(self) -> bool:
        """Whether there are no values."""
        return self.objectives is None


FIELDS = tuple(field.name for field in fields(Evaluation))


class Row(Record):
    """An evaluation as the database holds it: whole, or failed and without values."""

    number: Count
    architecture: Annotated[Text, Field(min_length=1)]
    status: Literal["done", "failed"]
    objectives: dict[str, float] | None
    score: float | None
    error: Text
    attempts: Natural
    seconds: Amount
    cpu_seconds: Amount
    worker: Text
    finished: Text
    budget: Annotated[float, Field(gt=0, le=1)]
    trace: list[list[float]] | None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = [abs(value) for value in (self.objectives or {}).values()]
        if self.status == "failed" and (known or self.score is not None):
            raise ValueError("no values where the evaluation failed")
        if self.status == "done" and (self.score is None or abs(self.score) not in known):
            raise ValueError("a score that is one of the objectives")
        return self


class Store:
    """The record of one run, open for its search.

    Args:
        path: the database; made if it is not there.
        writes: False in a process that only helps: it reads what there is, and then only remembers.

    Raises:
        CheckpointError: there is a file that is no such database.
        RunError: it cannot be opened.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self._database = self._open() if writes else None
        self.known = {e.key: e for e in _all(path)}
        self._numbers = {e.number for e in self.known.values()}
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self._committed = 0.0

    def _open(self) -> sqlite3.Connection:
        if os.path.lexists(self.path):
            with _reading(self.path):
                pass  # what is no record of ours, or one with more in it, is refused
        with _plain(self.path):
            database = sqlite3.connect(self.path, isolation_level=None, timeout=10)
            # After a power failure what was committed is there (FULL); readers, e.g. a report,
            # see it while the search goes on (WAL).
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(SCHEMA)
            cursor = database.execute("INSERT INTO sessions VALUES (?, 0, 0)", (_now(),))
            self._session = cursor.lastrowid
            database.execute("BEGIN")
        return database

    def find(self, number: int, architecture: str, budget: float = 1.0) -> Evaluation | None:
        """What is recorded of the architecture that is asked for as number `number`.

        Raises:
            CheckpointError: the record is of a search that asked for another.
        """
        found = self.known.get((architecture, budget))
        if (found.number if found else number) != number or (
            found is None and number in self._numbers
        ):
            raise CheckpointError(
                f"the record's architecture number {number} is not the one that the method asks "
                f"for; accepted: the {self.path.name} of this very run in {self.path.parent}"
            )
        return found

    def add(self, evaluation: Evaluation) -> None:
        """Record an evaluation; unless it was cheap, it is on the disk afterwards.

        Raises:
            RunError: it cannot be written, or is there already.
        """
        e = evaluation
        if self._database is not None:
            with _plain(self.path):
                self._database.execute(INSERT, _values(e))
        self.known[e.key] = e
        self._numbers.add(e.number)
        if e.seconds >= CHEAP or time.monotonic() - self._committed >= PAUSE:
            self.commit()

    def commit(self) -> None:
        """Have all that was added on the disk.

        Raises:
            RunError: it cannot be written.
        """
        if self._database is None:
            return
        with _plain(self.path):
            self._database.execute(
                "UPDATE sessions SET seconds = ?, cpu_seconds = ? WHERE rowid = ?",
                (
                    round(time.perf_counter() - self._began, 3),
                    round(time.process_time() - self._cpu, 3),
                    self._session,
                ),
            )
            self._database.execute("COMMIT")
            self._database.execute("BEGIN")
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Commit and close, also when the search is interrupted."""
        if self._database is None:
            return
        try:
            if kind is None or not issubclass(kind, RunError):
                self.commit()
        finally:
            with suppress(sqlite3.Error):  # somebody reads it; what was committed is safe
                # One plain file, which can be read where nothing can be written.
                self._database.execute("ROLLBACK")
                self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.close()


def rows(path: Path) -> list[dict[str, Any]]:
    """The record as lines of metrics, in the order in which the method asked.

    Each has `epoch` (the number), `candidate`, `score` or `failed` (why), the other objectives by
    name, `architecture` (the best so far by score), `attempts`, `seconds`, `cpu_seconds`.

    Raises:
        CheckpointError: the file is no such database.
    """
    best = Best()
    return [row_of(e, best.after(e)) for e in _all(path)]


class Best:
    """The best evaluation so far: of those trained longest, by score, the first of equal ones."""

    def __init__(self) -> None:
        self.evaluation: Evaluation | None = None
        self._key = (0.0, -math.inf)

    def after(self, e: Evaluation) -> Evaluation | None:
        """The best one when `e` is known too; None if all have failed."""
        if e.score is not None and (e.budget, e.score) > self._key:
            self.evaluation, self._key = e, (e.budget, e.score)
        return self.evaluation


def row_of(e: Evaluation, best: Evaluation | None) -> dict[str, Any]:
    """One line of metrics."""
    found = {"score": e.score, **(e.objectives or {})} if not e.failed else {"failed": e.error}
    return {
        "epoch": e.number,
        "candidate": e.architecture,
        **({"budget": e.budget} if e.budget != 1 else {}),
        **found,
        **({"architecture": best.architecture} if best else {}),
        "attempts": e.attempts,
        "seconds": round(e.seconds, 3),
        "cpu_seconds": round(e.cpu_seconds, 3),
    }


def cost(path: Path) -> dict[str, float]:
    """Wall clock and processor seconds of the search, those of its workers included."""
    with _reading(path) as database:
        seconds, cpu = database.execute(
            "SELECT total(seconds), total(cpu_seconds) FROM sessions"
        ).fetchone()
        (workers,) = database.execute(
            "SELECT total(cpu_seconds) FROM evaluations WHERE worker <> 'local'"
        ).fetchone()
    return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu + workers, 3)}


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing; a search may be writing.

    The file may be anybody's. Its tables must be those of `SCHEMA` to the letter: a view or a
    trigger could compute without end, or write what nobody asked for.
    """
    wrong = trouble(path)
    if wrong:
        raise RunError(f"cannot read {shown(path)}: {wrong}; accepted: what the search wrote")
    with _plain(path):
        name = quote(os.fsencode(path.absolute()))
        database = sqlite3.connect(
            f"file:{name}?mode=ro", uri=True, isolation_level=None, timeout=10
        )
        try:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            database.execute("PRAGMA query_only = ON")
            database.execute("PRAGMA trusted_schema = OFF")
            if not _tables(database) <= _expected():
                raise CheckpointError(
                    f"{shown(path)} has other tables than a search makes; accepted: what the "
                    "search wrote"
                )
            yield database
        finally:
            database.close()


def _tables(database: sqlite3.Connection) -> frozenset[tuple[str, ...]]:
    """All that the database declares, besides the indexes that it makes by itself."""
    found = database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return frozenset((str(kind), str(name), str(sql)) for kind, name, sql in found)


@cache
def _expected() -> frozenset[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA)
        return _tables(database)


def _all(path: Path) -> list[Evaluation]:
    if not os.path.lexists(path):
        return []
    with _reading(path) as database:
        return list(_read(database, path))


def _values(e: Evaluation) -> tuple[Any, ...]:
    return (
        e.number,
        e.architecture,
        "failed" if e.failed else "done",
        None if e.objectives is None else json.dumps(dict(e.objectives)),
        e.score,
        e.error,
        e.attempts,
        e.seconds,
        e.cpu_seconds,
        e.worker,
        _now(),
        e.budget,
        None if e.trace is None else json.dumps(e.trace),
    )


def _read(database: sqlite3.Connection, path: Path) -> Iterator[Evaluation]:
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'evaluations'").fetchone():
        return  # a search that has only just begun
    for values in database.execute(f"SELECT {COLUMNS} FROM evaluations ORDER BY number"):
        row = dict(zip(NAMES, values, strict=True))
        where = f"row {row['number']} of {shown(path)}"
        for name in ("objectives", "trace"):
            if isinstance(row[name], str):
                row[name] = parse_json(row[name])
        checked(Row, row, where, accepted="what the search wrote", error=CheckpointError)
        yield Evaluation(**{name: row[name] for name in FIELDS})


@contextmanager
def _plain(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except (sqlite3.DatabaseError, ValueError) as error:
        if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError):
            raise RunError(
                f"cannot use {path}: {error}; what was written before is intact"
            ) from error
        raise CheckpointError(
            f"{path} is damaged: {error}; accepted: what the search wrote"
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
