"""Zero-cost proxies of many architectures: in parallel, recorded as they come, continued.

The record is a JSON-lines file: a line on what is scored and how, then a line for each architecture
in the order in which they were given. It holds nothing that differs between two runs (no times, no
worker), so that a scoring that was cut off and continued gives the same file as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch.nn import functional as F

from morphogen import cost
from morphogen.benchmarks import Benchmark
from morphogen.core import Architecture, ConfigError, RunError, arguments, memory, ranges
from morphogen.core.files import append_lines, recording, writing
from morphogen.core.processes import refuse_again
from morphogen.core.ranking import Ranking, ranking
from morphogen.core.reading import MEBIBYTE, parse_json, read_bytes
from morphogen.core.records import Record, Text, checked
from morphogen.core.rng import numpy_stream
from morphogen.evaluators.executors import Job, Report, make_executor
from morphogen.evaluators.executors.make import cores
from morphogen.proxies import WORST, batch_of, named, rank_sum, score_architecture
from morphogen.proxies.passes import Loss
from morphogen.runs.config import Space, data_name, known_space
from morphogen.runs.described import OBJECT
from morphogen.runs.provenance import module_digests
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import NetworkSpec
from morphogen.supernets.nested import mapped, shapes
from morphogen.tasks import Batch, Task
from morphogen.tasks.cut import Cut
from morphogen.tasks.digests import digest, raw
from morphogen.tasks.kinds import USUAL_DATA, Data, as_they_are, require_fit, task_for

ENUMERABLE = 100_000
"""Spaces up to this size are listed to draw from them without repetition."""


TOGETHER = "sum of their ranks"
"""What the order by all proxies together is called."""


@dataclass(frozen=True)
class Scoring:
    """What is scored, and how: all that decides a score besides the architecture."""

    space: SearchSpace
    proxies: tuple[str, ...]
    batch: Batch
    spec: NetworkSpec
    seed: int
    description: Mapping[str, Any]
    """The same in words and numbers, for the record."""
    loss: Loss = F.cross_entropy
    """The task's, that judges."""

    @classmethod
    def of(
        cls,
        space: Space,
        proxies: Sequence[str] = ("nwot",),
        *,
        data: Data = USUAL_DATA,
        batch_size: int = 64,
        image_size: int = 0,
        channels: int = 0,
        depth: int = 0,
        seed: int = 0,
    ) -> Scoring:
        """Read the data and draw the batch.

        Args:
            space: a name, a space, or a module with `OneOf` in it.
            proxies: keys of `proxies.PROXIES`.
            data: examples and labels; only the train part is read, without augmentation.
            batch_size: examples of the batch, the same for all architectures.
            image_size: height and width to which images are reduced; 0: as they are.
            channels: of the networks; 0: as published for the space.
            depth: likewise.
            seed: of the batch, the weights and what proxies draw.

        Raises:
            UnknownNameError: there is no such proxy, space or data set.
            DataError: the data cannot be read, or are fewer than a batch.
        """
        known = known_space(space)
        named(proxies)
        for name, value, accepted in (
            ("batch_size", batch_size, ranges.BATCH),
            ("image_size", image_size, ranges.SIDE),
            ("channels", channels, ranges.WIDTH.or_zero),
            ("depth", depth, ranges.DEPTH.or_zero),
            ("seed", seed, ranges.SEED),
        ):
            arguments.whole(name, value, accepted)
        require_fit(known, data)
        if image_size and isinstance(data, Task):
            raise ConfigError(f"image_size is {image_size}, and the data are a task; accepted: 0")
        task = task_for(data, as_they_are(data, image_size=image_size), Cut(seed=seed))
        usual = cost.published(known)
        spec = NetworkSpec(
            channels=channels or usual.channels,
            depth=depth or usual.depth,
            classes=task.outputs(),
            in_channels=task.in_channels,
        )
        cost.require(
            known,
            spec,
            task.example(),
            batch=batch_size,
            arch=known.sample(np.random.default_rng(0)),
        )
        description = {
            "space": known.name if isinstance(space, str | SearchSpace) else OBJECT,
            "proxies": list(proxies),
            "data": data_name(data),
            "batch_size": batch_size,
            "inputs": task.unit,
            "shape": shapes(mapped(lambda t: t[0], task.example())),
            "network": asdict(spec),
            "seed": seed,
            "torch": str(torch.__version__),
        }
        batch = batch_of(task, batch_size, seed)
        description["batch"] = digest(map(raw, (batch.x, batch.y)))
        if isinstance(known, ModuleSpace):
            description["module"] = module_digests(known)
        loss = task.criterion if task.kind else F.cross_entropy
        return cls(known, tuple(proxies), batch, spec, seed, description, loss)


def sample_of(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different architectures at random; a larger sample of the same seed begins with them.

    Raises:
        ConfigError: the space has fewer.
    """
    size = space.size()
    arguments.whole("sample", count, ranges.COUNT)
    if count > size:
        raise ConfigError(f"sample is {count}; accepted: 1 to {size}, the size of {space.name}")
    rng = numpy_stream(seed, "proxies/sample")
    if size <= ENUMERABLE:
        every = space.enumerate()
        return [every[i] for i in rng.permutation(size)[:count]]
    found: dict[Architecture, None] = {}
    while len(found) < count:
        found[space.sample(rng)] = None
    return list(found)


@dataclass(frozen=True)
class Scored:
    """One architecture and its scores, or why there are none."""

    architecture: Architecture
    scores: Mapping[str, float]
    """Proxy -> score, higher is better; `WORST` where it is no finite number or has failed."""
    failed: str = ""


def score_all(
    archs: Sequence[Architecture],
    scoring: Scoring,
    *,
    record: Path | None = None,
    workers: int = 0,
    done: Callable[[int, int], None] | None = None,
) -> list[Scored]:
    """Score many architectures; the results are in their order.

    Every network is computed on one thread, so that scores do not depend on the workers.

    Args:
        archs: of the space, each once.
        scoring: what and how.
        record: a JSON-lines file that gets each result as it comes. What it has is not computed
            again: a scoring that was cut off goes on, also with more architectures.
        workers: processes; 0: one for each processor; 1: in this process.
        done: called with the number of finished architectures and of all.

    Raises:
        RunError: the record is of another scoring, or cannot be read or written; or not a single
            architecture could be scored.
        ConfigError: a proxy cannot read these networks.
    """
    refuse_again()
    texts = [scoring.space.format(arch) for arch in archs]
    with recording(record):
        rows = _read(record, scoring, texts) if record is not None else []
        left = list(range(len(rows), len(archs)))
        if done is not None:
            done(len(rows), len(archs))
        workers = min(workers or cores(), max(len(left), 1))
        memory.require_processes(workers, "workers")
        if left:
            executor = make_executor(
                "local" if workers == 1 else "processes", partial(_job, scoring), workers=workers
            )
            try:
                reports = executor.map([archs[i] for i in left])
                for row in _in_order(reports, [texts[i] for i in left], record):
                    rows.append(row)
                    if done is not None:
                        done(len(rows), len(archs))
            finally:
                executor.close()
    if rows and all("failed" in row for row in rows):
        raise RunError(
            f"none of {len(rows)} architectures could be scored; the first one: {rows[0]['failed']}"
        )
    return [_scored(arch, row, scoring) for arch, row in zip(archs, rows, strict=False)]


def _job(scoring: Scoring) -> Job:
    def score(arch: Architecture) -> dict[str, float]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return score_architecture(
                scoring.proxies,
                scoring.space,
                arch,
                scoring.batch,
                scoring.spec,
                scoring.seed,
                loss=scoring.loss,
            )
        finally:
            torch.set_num_threads(threads)

    return score


def _in_order(
    reports: Iterator[Report], texts: Sequence[str], record: Path | None
) -> Iterator[dict[str, Any]]:
    """The rows in the order of `texts`; one that is early waits for those before it."""
    waiting: dict[int, dict[str, Any]] = {}
    following = 0
    for report in reports:
        found = {"failed": report.error} if report.failed else {"scores": _plain(report.value)}
        waiting[report.index] = {"architecture": texts[report.index], **found}
        while following in waiting:
            row = waiting.pop(following)
            if record is not None:
                _append(record, row)
            yield row
            following += 1


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which knows no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _scored(arch: Architecture, row: Mapping[str, Any], scoring: Scoring) -> Scored:
    values = row.get("scores", {})
    scores = {n: WORST if values.get(n) is None else values[n] for n in scoring.proxies}
    return Scored(arch, scores, row.get("failed", ""))


# -- the record ------------------------------------------------------------------------------------


WRITTEN = "what score wrote"


class Line(Record):
    """A line of the record: scores by proxy, None where one is no number; or why there are none."""

    architecture: Text
    scores: dict[str, float | None] | None = None
    failed: Text | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.scores is None) == (self.failed is None):
            raise ValueError("scores, or why there are none")
        return self


def _append(record: Path, row: Mapping[str, Any]) -> None:
    append_lines(record, json.dumps(row) + "\n", sync=False)


def _read(record: Path, scoring: Scoring, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that are there already; a line cut short by a crash is taken off the file."""
    heading = {"proxy_scores": dict(scoring.description)}
    content = read_bytes(record, most=1024 * MEBIBYTE, accepted=WRITTEN)
    whole = content[: content.rfind(b"\n") + 1]
    try:
        lines = [parse_json(line) for line in whole.split(b"\n")[:-1]]
    except ValueError as error:
        raise RunError(f"cannot read {record}: {error}; accepted: what score wrote") from error
    if not lines:
        if content:
            raise RunError(f"{record} is no record of scores; accepted: what score wrote")
        _append(record, heading)
        return []
    if not isinstance(lines[0], dict) or not isinstance(lines[0].get("proxy_scores"), dict):
        raise RunError(f"{record} is no record of scores; accepted: what score wrote")
    _require_same(record, lines[0]["proxy_scores"], heading["proxy_scores"])
    for number, (row, text) in enumerate(zip(lines[1:], texts, strict=False), start=2):
        checked(Line, row, f"line {number} of {record}", accepted=WRITTEN)
        if row["architecture"] != text:
            raise RunError(
                f"line {number} of {record} is not {text}; accepted: the record of the same "
                "architectures in the same order, or a new file"
            )
    if len(whole) < len(content):
        with writing(record), record.open("r+b") as file:
            file.truncate(len(whole))
    return lines[1 : 1 + len(texts)]


def _require_same(record: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            raise RunError(
                f"{record} was made with {name} {found.get(name)}, not {value}; accepted: the "
                "record of the same scoring, or a new file"
            )


# -- against a table -------------------------------------------------------------------------------


def against(
    table: Benchmark, metric: str, scored: Sequence[Scored], *, resamples: int = 200, seed: int = 0
) -> dict[str, Ranking]:
    """How well each proxy orders the architectures by a column of the table, and all together.

    Architectures without a score are ranked last. Of several proxies there is also the order by
    the sum of their ranks (`TOGETHER`).

    Args:
        table: of the space.
        metric: its column, test figures included: this judges proxies, it does not search.
        scored: three or more.
        resamples: of the bootstrap intervals.
        seed: of the bootstrap.

    Raises:
        ConfigError: there are fewer than three architectures.
    """
    truth: NDArray[np.float64] = table.scores([s.architecture for s in scored], metric)
    truth = truth if table.metric(metric).higher_is_better else -truth
    scores = {name: np.array([s.scores[name] for s in scored]) for name in scored[0].scores}
    if len(scores) > 1:
        scores[TOGETHER] = rank_sum(list(scores.values()))
    return {
        name: ranking(truth, column, fractions=(), tops=(), resamples=resamples, seed=seed)
        for name, column in scores.items()
    }
