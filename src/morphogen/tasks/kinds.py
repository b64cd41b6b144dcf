"""Which kind of data a name, a path or an object is, and so which configuration it takes."""

from __future__ import annotations

from typing import Any, TypeVar

from morphogen.core.errors import ConfigError
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.configs import TaskConfig, name_of

C = TypeVar("C", bound=TaskConfig)


def config_for(data: Any) -> type[TaskConfig]:
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
