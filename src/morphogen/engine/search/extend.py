"""`resume --epochs N`: search on from where a run has come to, to another length.

config.yaml then says what happened: the new length, the one before, how much was done, and the
identity that checkpoints up to there carry. Schedules run over a search's epochs, so that the
result is not that of a search of N epochs from the start, and it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from morphogen.core import ConfigError
from morphogen.core.config import altered, to_mapping
from morphogen.engine.record.recorder import last_checkpoint
from morphogen.engine.search.initial import usual_initial
from morphogen.engine.search.job import Job, problem_of
from morphogen.engine.search.regularise import composed
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import ENDED_EARLY, timetable
from morphogen.methods import AskTell, find
from morphogen.runs import store
from morphogen.runs.config import identities, identity
from morphogen.runs.directory import RunDirectory
from morphogen.tasks import Task

PATHS = {"epochs": "epochs", "evaluations": "evaluation.budget"}
"""Where the settings have the length of a search, by the name of the option."""


def wanted_length(
    job: Job, *, epochs: int | None, evaluations: int | None
) -> tuple[str, Settings] | None:
    """The setting that is to change and the settings with it; None if there is nothing to do.

    Raises:
        ConfigError: the method does not count by it, or the number is out of range.
    """
    info = find(job.method)
    own, other = ("evaluations", "epochs") if info.black_box else ("epochs", "evaluations")
    given = {"epochs": epochs, "evaluations": evaluations}
    if given[other] is not None:
        what = "asks for scores" if info.black_box else "trains a supernet"
        raise ConfigError(
            f"{other} is {given[other]}, and {info.name!r} {what}; accepted: {own}, by which its "
            "length counts"
        )
    path = PATHS[own]
    before = attrgetter(path)(job.settings)
    if given[own] is None or given[own] == before:
        return None
    if info.staged:
        raise ConfigError(
            f"{own} is {given[own]}, and {info.name!r} has planned its trainings for "
            f"{before}; accepted: a new search of that length"
        )
    return own, altered(job.settings, {path: given[own]})


def extended(
    directory: RunDirectory,
    values: Mapping[str, Any],
    job: Job,
    task: Task,
    change: tuple[str, Settings],
) -> Job:
    """The job of another length, when config.yaml says so; the result so far is put aside.

    Args:
        directory: the run.
        values: its config.yaml.
        job: as it stands there.
        task: its data.
        change: of `wanted_length`.

    Raises:
        ConfigError: more is done than that, or a later phase has begun.
    """
    setting, settings = change
    before, after = map(attrgetter(PATHS[setting]), (job.settings, settings))
    longer = replace(job, settings=settings)
    with directory.locked():
        if setting == "evaluations":
            done, note = _rounds(directory, longer, before, after)
        else:
            done, note = _epochs(directory, values, job, task, before, after)
        entry = {
            "setting": setting,
            "before": before,
            "after": after,
            "done": done,
            "identity": values["identity"],
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "note": note,
        }
        fresh = {
            **values,
            "settings": to_mapping(settings),
            "extended": [*values.get("extended", ()), entry],
        }
        directory.archive_result(f"{before}-{setting}")
        directory.write_config({**fresh, "identity": identity(fresh)})
    return longer


def _rounds(directory: RunDirectory, job: Job, before: int, after: int) -> tuple[int, str]:
    s, done = job.settings, len(store.rows(directory.store_file))
    _require_more("evaluations", after, done)
    was, now = usual_initial(job.method, before), usual_initial(job.method, after)
    if was != now and getattr(job.config, find(job.method).initial) == was:
        return done, (
            f"searched on from {before} to {after} architectures, {was} of which were the random "
            f"beginning, so the result is not that of a search of {after} from the start, which "
            f"begins with {now}"
        )
    if done == before and before % (s.workers.round_size or 1):
        return done, (
            f"searched on from {before} to {after} architectures: the round in which the search "
            f"ended was shorter than the others, so the result is not quite that of a search of "
            f"{after} from the start"
        )
    return done, f"searched on to {after} architectures, as a search of {after} from the start does"


def _epochs(
    directory: RunDirectory,
    values: Mapping[str, Any],
    job: Job,
    task: Task,
    before: int,
    after: int,
) -> tuple[int, str]:
    saved, _ = last_checkpoint(directory, identities(values))
    rows = saved["history"] if saved is not None else []
    done = len(rows)
    method = find(job.method).build(job.config)
    problem = problem_of(job, task)
    if isinstance(method, AskTell):
        raise ConfigError(f"epochs is {after}, and {job.method!r} asks and tells")
    stepwise = composed(method, job.settings)
    steps = job.settings.steps_per_epoch
    was, now = (
        [clock.phase for clock in timetable(stepwise, problem, epochs, steps)]
        for epochs in (before, after)
    )
    early = [row["epoch"] for row in rows if row.get(ENDED_EARLY)]
    if early:
        raise ConfigError(
            f"epochs is {after}, and {job.method!r} has ended a phase of {directory.path} by "
            f"itself, with epoch {early[0]}; accepted: a new search of other options"
        )
    if len(was) == len(now):
        raise ConfigError(
            f"epochs is {after}, and the supernet of {directory.path} comes trained from another "
            "run; accepted: a search from one that was trained longer"
        )
    _require_more("epochs", after, sum(phase == was[0] for phase in was[:done]))
    if was[:done] != now[:done]:
        raise ConfigError(
            f"epochs is {after}, and in {directory.path} the phase {was[done - 1]!r} has begun, "
            f"after {before} epochs of {was[0]!r}; accepted: a new search, or one --from a run"
        )
    if not done:
        return 0, f"{after} epochs instead of {before}, before the first was done"
    return done, (
        f"searched on from epoch {done}: until then schedules (learning rates, temperatures) were "
        f"those of {before} epochs, from then on those of {after} at the same epoch, so that a "
        f"rate that had fallen may rise again; the result is not that of a search of {after} "
        "epochs from the start"
    )


def _require_more(setting: str, after: int, done: int) -> None:
    if after < done:
        raise ConfigError(f"{setting} is {after}, and {done} are done; accepted: {done} or more")


def stops(values: Mapping[str, Any]) -> Sequence[int]:
    """Numbers of architectures after which a round ended because the search did."""
    return [
        entry["before"]
        for entry in values.get("extended", ())
        if entry["setting"] == "evaluations" and entry["done"] == entry["before"]
    ]
