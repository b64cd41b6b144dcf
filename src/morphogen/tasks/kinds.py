"""From what a user gives as data to a task: which kind they are, and what is asked of it."""

from __future__ import annotations

from typing import Any, TypeVar

from morphogen.core.config import from_mapping
from morphogen.core.errors import ConfigError
from morphogen.tasks.base import Task
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.configs import TaskConfig, name_of
from morphogen.tasks.cut import Cut

C = TypeVar("C", bound=TaskConfig)

Data = Any
"""What data can be given as: a name or path, a task, or an object that a kind of data takes."""


def config_for(data: Data) -> type[TaskConfig]:
    """The class of the configuration that data take; the data themselves are not read."""
    return ImageConfig


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
