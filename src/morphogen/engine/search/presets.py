"""What holds where the user says nothing: a search of minutes, or that of the publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from morphogen.core import ConfigError, arguments
from morphogen.core.config import altered, from_mapping, nested
from morphogen.engine.search.settings import BATCH_SIZE, Settings
from morphogen.engine.train.training import own_descent
from morphogen.methods import MethodInfo, find
from morphogen.spaces import SearchSpace, about, of_space, registered
from morphogen.tasks.configs import TaskConfig


@dataclass(frozen=True)
class Preset:
    """Defaults of a search."""

    settings: Settings
    options: Any
    """The method's configuration."""


def quick_preset(
    method: MethodInfo | str,
    space: SearchSpace | str | None = None,
    task: TaskConfig | None = None,
) -> Preset:
    """A search of minutes on a small machine.

    Args:
        method: the method.
        space: in which, for spaces whose networks are larger than is usual, or trained otherwise;
            None: as is usual.
        task: what the data are asked for, of a kind that is trained otherwise.
    """
    info = method if isinstance(method, MethodInfo) else find(method)
    known = None if space is None else about(space)
    in_space = {**known.quick_search, **known.quick_searches.get(info.name, {})} if known else {}
    held = _preset(info, {**info.quick, **in_space})
    own = own_descent(space, task) if info.descent else None
    return (
        held if own is None else replace(held, options=replace(held.options, **{info.descent: own}))
    )


def paper_preset(method: MethodInfo | str, space: SearchSpace | str) -> Preset:
    """Sizes, epochs and rates of the publication, for a GPU and full data.

    Raises:
        ConfigError: nothing is published for the space.
    """
    info = method if isinstance(method, MethodInfo) else find(method)
    if not isinstance(space, str):
        arguments.instance("space", space, SearchSpace, "a space or its name")
    known = about(space)
    if known is None or known.search is None:
        name = space if isinstance(space, str) else space.name
        published = [other.name for other in registered().values() if other.search is not None]
        raise ConfigError(
            f"preset 'paper' has no sizes for space {name!r}; accepted: preset quick, or a space "
            f"of {', '.join(published)}"
        )
    of_method = of_space(info.published, space) or {}
    in_space = known.searches.get(info.name, {})
    numbers = {"batch_size": BATCH_SIZE, **known.search, "epochs": info.epochs}
    return _preset(info, {**numbers, **of_method, **in_space})


def quick_config(info: MethodInfo) -> Any:
    """The method's defaults with rates and numbers fit for a search of minutes."""
    return quick_preset(info).options


def _preset(info: MethodInfo, numbers: Mapping[str, Any]) -> Preset:
    """Numbers of the settings and of the configuration, told apart: no first word is in both."""
    parts = {field.name for field in fields(Settings)}
    common = {name: value for name, value in numbers.items() if name.partition(".")[0] in parts}
    own = {name: value for name, value in numbers.items() if name not in common}
    return Preset(from_mapping(Settings, nested(common)), altered(info.config(), own))
