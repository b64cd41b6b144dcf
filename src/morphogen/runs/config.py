"""What every run is asked for: a space, data, settings; written to config.yaml and read back."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from morphogen import spaces
from morphogen.core import ConfigError, MorphogenError, RunError
from morphogen.core.arguments import path as path_of
from morphogen.core.names import shell
from morphogen.runs.described import OBJECT, PASSED, TASK
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import DECISIVE, require_recorded, versions
from morphogen.spaces import SearchSpace
from morphogen.supernets.own import space_of
from morphogen.tasks import Task
from morphogen.tasks.kinds import Data

Space = str | SearchSpace | torch.nn.Module


def known_space(space: Space) -> SearchSpace:
    """A space from its name, itself, or a module with `OneOf` in it."""
    if isinstance(space, str):
        return spaces.make(space)
    return space if isinstance(space, SearchSpace) else space_of(space)


def searched_space(space: Space, without: str) -> SearchSpace:
    """The space as it is searched: without the options named in `without`, several with commas.

    Raises:
        UnknownNameError: `without` names no option.
        SpaceError: it leaves a choice nothing.
    """
    left_out = [name.strip() for name in without.split(",") if name.strip()]
    return known_space(space).without(left_out)


def require_types(run: object, **given: tuple[object, type]) -> None:
    """A `ConfigError` for settings of another type, or a run directory that is no path.

    Args:
        run: the run directory, or None.
        given: by name of the argument, what was passed and its type.
    """
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            raise ConfigError(
                f"{name} is of type {type(value).__name__}; accepted: an instance of "
                f"morphogen.{kind.__name__}"
            )
    if run is not None and not isinstance(run, RunDirectory):  # one that is claimed already
        path_of("run", run)


def data_name(data: Data) -> str:
    """How config.yaml names the data."""
    if isinstance(data, Task):
        return TASK
    return str(data) if isinstance(data, str | Path) else OBJECT


def require_passed(directory: RunDirectory, data: Data | None, call: str) -> None:
    """A `RunError` if the data of a run were an object, and are not passed again.

    Args:
        directory: the run.
        data: passed again, or None.
        call: the beginning of the call that is to get them, for the message.
    """
    named = directory.config()["data"]
    if data is None and named in PASSED:
        what, argument = ("task", "task") if named == TASK else ("data", "data")
        raise RunError(
            f"the {what} of {directory.path} was an object of yours; pass it again: "
            f"{call}, {argument}=...)"
        )


def describe(
    method: str,
    space: SearchSpace,
    data: Data,
    *,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of config.yaml.

    Args:
        method: what is run.
        space: the space, without the options that are left out.
        data: the data as they were given.
        settings: how it is run.
        config: what is run, in full.
        provenance: what else its numbers depend on, of the function of that name.
        remarks: what the user should be told of the space, before the run and with its result.
    """
    decisive = {
        "method": method,
        "space": space.to_mapping(),
        "data": data_name(data),
        "settings": settings,
        "config": config,
        **provenance,
    }
    return {
        **decisive,
        "identity": identity(decisive),
        "command": command(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **({"remarks": list(remarks)} if remarks else {}),
    }


def command() -> str:
    """The command line of this process, to be pasted into a shell."""
    name = Path(sys.argv[0]).name  # `morphogen` or `python -m morphogen`, or a script
    return shell("morphogen" if name == "__main__.py" else name, *sys.argv[1:])


def identity(values: Mapping[str, Any]) -> str:
    """Fingerprint of what decides a run's numbers: what was asked for, and `DECISIVE`."""
    asked = {k: values[k] for k in ("method", "space", "data", "settings", "config")}
    decisive = asked | {k: values[k] for k in DECISIVE if k in values}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def identities(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The run's identity, and those it had at other lengths: a checkpoint has one of them."""
    return (
        str(values["identity"]),
        *(str(entry["identity"]) for entry in values.get("extended", ())),
    )


def read_back(
    directory: RunDirectory, space: Space | None, data: Data | None, *, call: str
) -> tuple[dict[str, Any], SearchSpace, Data]:
    """The content of config.yaml, with the space and the data that it names or that are passed.

    Args:
        directory: the run.
        space: passed again, if it was an object.
        data: passed again, if they were an object.
        call: the function that is to go on with it, for the message.

    Raises:
        RunError: the file is not as it was written, or an object is missing.
    """
    values = directory.config()
    require_recorded(directory, values)
    if values.get("identity") != identity(values):
        raise RunError(
            f"{directory.config_file} is not as it was written: what was asked for, or what "
            "it depends on, has changed since; accepted: the file as written, or a new run"
        )
    known = recorded_space(directory, space, call=call)
    require_passed(directory, data, f"{call}({str(directory.path)!r}")
    return (
        values,
        known,
        data if data is not None else values["data"],
    )


def recorded_space(directory: RunDirectory, space: Space | None, *, call: str = "") -> SearchSpace:
    """The space of config.yaml, read back; or the one that is passed again, as it was searched.

    Args:
        directory: the run.
        space: passed again, if code of the user's belongs to it.
        call: the function that is to go on with it, for the message; empty: the same.

    Raises:
        RunError: code is missing, or what is passed is another space.
    """
    written = directory.config()["space"]
    recorded, needs = spaces.read(written), spaces.needs_code(written)
    if space is None:
        if needs:
            raise RunError(
                f"the space of {directory.path} was an object of yours; pass it again: "
                + (f"{call}({str(directory.path)!r}, space=...)" if call else "space=...")
            )
        return recorded
    known = known_space(space)
    if known.choices != recorded.choices:  # without the options that the run leaves out
        known = _with_options(known, recorded)
    if known.choices != recorded.choices or not (needs or known == recorded):
        raise RunError(
            f"the space that is passed is not the one of {directory.path}: its choices, or their "
            f"options, are others than those of {recorded.name!r}; accepted: the space as it was, "
            "or a new run"
        )
    return known


def _with_options(space: SearchSpace, other: SearchSpace) -> SearchSpace:
    """`space` with the options of `other`, if it has them; else as it is."""
    wanted = {c.name: c.options for c in other.choices}
    try:
        return space.restrict(wanted)
    except MorphogenError:
        return space
