"""From what a user gives as data to a task: which kind they are, and what is asked of it."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from morphogen import spaces
from morphogen.core.config import from_mapping
from morphogen.core.errors import ConfigError, SpaceError
from morphogen.core.names import brief
from morphogen.spaces import SearchSpace
from morphogen.tasks.base import Task
from morphogen.tasks.configs import TaskConfig, default_kind, name_of, task_configs
from morphogen.tasks.cut import Cut
from morphogen.tasks.labelled.names import few

C = TypeVar("C", bound=TaskConfig)

Data = Any
"""What data can be given as: a name or path, a task, or an object that a kind of data takes."""

USUAL_DATA = default_kind().usual_data
"""The data of a call that names none."""


def chosen(data: Data | None, task: Task | None, usual: Data | None = None) -> Data:
    """What a call works on: the data, or the task that was made of them in Python, or the usual.

    Raises:
        ConfigError: both are given, or each other's value.
    """
    if task is not None and not isinstance(task, Task):
        raise ConfigError(
            f"task is a {type(task).__name__}; accepted: a morphogen.Task, or the argument data"
        )
    if isinstance(data, Task):
        raise ConfigError("data is a task; accepted: the argument task")
    if data is not None and task is not None:
        raise ConfigError("data and task are both given; accepted: one of the two")
    given = data if task is None else task
    return usual if given is None else given


def as_arguments(data: Data) -> dict[str, Any]:
    """Data as a call takes them: as `task` or as `data`."""
    return {"task" if isinstance(data, Task) else "data": data}


def config_for(data: Data) -> type[TaskConfig]:
    """The class of the configuration that data take; the default if no kind takes them."""
    return next((cls for cls in task_configs().values() if cls.takes(data)), default_kind())


def space_for(data: Data) -> str:
    """The name of the space in which data are searched if none is named."""
    kind = default_kind() if isinstance(data, Task) else config_for(data)
    return kind.space_for(data)


def planned_space_for(data: Data) -> str:
    """The one of a search without a method; a task of one's own has the usual one."""
    own = "" if isinstance(data, Task) else config_for(data).planned_space
    return own or space_for(data)


def gathers(data: Data) -> bool:
    """Whether their examples are gathered with the network in training."""
    return data.gathers if isinstance(data, Task) else config_for(data).gathers


def require_fit(space: SearchSpace, data: Data) -> None:
    """Refuse a space whose networks take other inputs than the data are.

    Raises:
        SpaceError: names spaces that serve.
    """
    if isinstance(data, Task):
        return
    kind = config_for(data)
    if None in (space.spatial_dims, kind.spatial_dims) or _alike(space, kind):
        return
    own = next(n for n, c in task_configs().items() if _alike(space, c))
    fitting = (name for name in spaces.registered() if _alike(spaces.info(name).kind, kind))
    names = sorted(fitting, key=lambda name: name != kind.space_for(data))
    given = f" {brief(data)}" if isinstance(data, str | os.PathLike) else ""
    raise SpaceError(
        f"space {space.name!r} is for {own}, and the data{given} are {name_of(kind)}; accepted: a "
        f"space for {name_of(kind)}, such as {few(names, 3)}, or your own module"
    )


def _alike(space: SearchSpace | type[SearchSpace], kind: type[TaskConfig]) -> bool:
    """Whether the networks of a space take what data of a kind are, and give what these need."""
    return (space.spatial_dims, space.dense) == (kind.spatial_dims, kind.dense)


def configured(held: TaskConfig | None, kind: type[C]) -> C:
    """What data of a kind are asked for: `held`, or the defaults of the kind.

    Raises:
        ConfigError: it is for data of another kind.
    """
    if held is None:
        return kind()
    if not isinstance(held, kind):
        raise ConfigError(
            f"task is a configuration for {name_of(held)}, and the data are {name_of(kind)}; "
            f"accepted: a {kind.__name__}"
        )
    return held


def asked_of(data: Data, held: TaskConfig | None) -> TaskConfig | None:
    """What is asked of data: `held`, or the defaults of their kind; None of a task of one's own.

    Raises:
        ConfigError: it is for data of another kind.
    """
    if not isinstance(data, Task):
        return configured(held, config_for(data))
    if held is not None:
        raise ConfigError(
            f"task is a configuration for {name_of(held)}, and the data are a task already; "
            "accepted: none, and the arguments of the task"
        )
    return None


def as_they_are(data: Data, **values: Any) -> TaskConfig | None:
    """What is asked of data in a judgement: values of those fields that their kind has."""
    if isinstance(data, Task):
        return None
    kind = config_for(data)
    fields = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return from_mapping(kind, {name: v for name, v in values.items() if name in fields})


def task_for(data: Data, held: TaskConfig | None, cut: Cut) -> Task:
    """The task of data, cut into its parts.

    Args:
        data: a name or path, a task, or an object that a kind of data takes.
        held: what is asked of that kind; None: its defaults.
        cut: sizes of the parts.

    Raises:
        DataError: the data are missing, damaged, too few, or cannot be cut so.
        ConfigError: an option is out of range, or for data of another kind.
    """
    asked = asked_of(data, held)
    if asked is None:
        task: Task = data
        return task.cut(cut)
    return asked.make(data, cut)
