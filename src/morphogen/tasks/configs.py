"""What data of a kind can be asked for: one configuration class for each kind, by its name.

Images are flipped and cropped, other data are not; so the kind of the data chooses the class, and a
task that somebody makes in Python has its own arguments and none of these. Packages add kinds of
data by the entry point group `morphogen.tasks` (`core/plugins.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from morphogen.core import plugins
from morphogen.core.config import config, from_mapping, to_mapping
from morphogen.core.errors import ConfigError, UnknownNameError
from morphogen.tasks.base import Task
from morphogen.tasks.cut import Cut
from morphogen.tasks.inputs import Inputs

C = TypeVar("C", bound="type[TaskConfig]")


@config
class TaskConfig:
    """Base of the configurations by kind of data; each field is a flag of the command line."""

    spatial_dims: ClassVar[int | None] = None
    """Axes of an input beside its channels, as `SearchSpace.spatial_dims`."""
    dense: ClassVar[bool] = False
    """Whether outputs are along these axes, too, as `SearchSpace.dense`."""
    gathers: ClassVar[bool] = False
    """Whether its tasks gather their examples with the network in training, as `Task.gathers`."""
    default_space: ClassVar[str] = ""
    """The space that is searched where none is named."""
    planned_space: ClassVar[str] = ""
    """The one of a search without a method, where that is another: there networks count that learn
    quickly, and not those that tables know."""
    usual_data: ClassVar[str] = ""
    """The data of a call that names none, of the one kind that is the default: data that no kind
    takes are of it."""
    licences: ClassVar[Mapping[str, str]] = {}
    """Of the data sets that it knows by name, for model cards."""

    @classmethod
    def takes(cls, data: Any) -> bool:
        """Whether data, a name, a path or an object, are of this kind; they are not read for it."""
        return False

    @classmethod
    def space_for(cls, data: Any) -> str:
        """The space that is searched where none is named; by default the same for all data."""
        return cls.default_space

    @classmethod
    def inputs(cls) -> Inputs | None:
        """How a trained network is given other data of this kind; None: tensors, in Python only."""
        return None

    trains: ClassVar[Mapping[str, Any]] = {}
    """Numbers of a training from scratch of minutes, whatever the space: fields of `Training`."""
    sizes: ClassVar[tuple[str, ...]] = ()
    """Fields by which inputs are coarser or finer."""

    fits: ClassVar[bool] = False
    """Whether length and L2 penalty of a training go by how many examples there are, where nobody
    sets them: of kinds of which that was looked at."""

    @property
    def seen_often(self) -> Mapping[str, Any]:
        """Fields, with the values that pay where a training sees each example very often."""
        return {}

    @property
    def seen_seldom(self) -> Mapping[str, Any]:
        """Fields, with the values that pay where a training sees each example a few times."""
        return {}

    def make(self, data: Any, cut: Cut) -> Task:
        """The task of data of this kind, cut into its parts."""
        raise NotImplementedError

    def at_sizes(self, data: Any, cut: Cut) -> tuple[Task, tuple[Self, ...]]:
        """The task at the finest inputs that are worth while, and how it can be had coarser.

        Returns:
            The task; and configurations, the task's own first, each coarser than the one before.
        """
        return self.make(data, cut), (self,)


_CONFIGS: dict[str, type[TaskConfig]] = {}

GROUP = "tasks"
"""Of entry points by which other packages add kinds of data."""


def task_config(name: str) -> Callable[[C], C]:
    """Class decorator: register the configuration of a kind of data, by the kind's name.

    Raises:
        ConfigError: the name is taken.
    """

    def register(cls: C) -> C:
        if name in _CONFIGS:
            raise ConfigError(f"a configuration for {name!r} is registered already")
        _CONFIGS[name] = cls
        return cls

    return register


def task_configs() -> Mapping[str, type[TaskConfig]]:
    """The registered configuration classes by kind of data, those of other packages included.

    The default first, the others by name: in no order of imports, since the first that takes data
    has them.
    """
    first = default_kind()  # which also imports those of this package
    plugins.load(GROUP)
    return dict(sorted(_CONFIGS.items(), key=lambda item: (item[1] is not first, item[0])))


def default_kind() -> type[TaskConfig]:
    """The kind of data that are named by no call, and of data that no kind takes."""
    return _own()


@cache
def _own() -> type[TaskConfig]:
    """Import the folders of this package: each registers its kind; and find the default."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        if module.ispkg:
            import_module(f"{package}.{module.name}")
    own = (cls for cls in _CONFIGS.values() if cls.__module__.startswith(f"{package}."))
    return next(cls for cls in own if cls.usual_data)


def inputs_for(name: str) -> Inputs:
    """How a trained network is given data of a kind; other packages are asked if it is not ours.

    Raises:
        ConfigError: there is no such kind, or its data are given as tensors only.
    """
    _own()
    known = _CONFIGS if name in _CONFIGS else task_configs()
    held = known[name].inputs() if name in known else None
    if held is None:
        serving = (kind for kind, cls in known.items() if cls.inputs() is not None)
        raise UnknownNameError("kind of inputs", name, serving)
    return held


def name_of(held: TaskConfig | type[TaskConfig]) -> str:
    """The kind of data that a configuration is for."""
    cls = held if isinstance(held, type) else type(held)
    return next(name for name, known in _CONFIGS.items() if known is cls)


def read(values: Any) -> Any:
    """A configuration from plain values: their `name` says which, or else their fields do."""
    if not isinstance(values, Mapping):
        return values
    fields = {key: value for key, value in values.items() if key != "name"}
    known = task_configs()
    name = values.get("name") or next(
        (n for n, cls in known.items() if set(fields) <= set(_fields(cls))), next(iter(known))
    )
    if name not in known:
        broken = {fault.name: fault.sentence for fault in plugins.load(GROUP)}
        if name in broken:
            raise ConfigError(broken[name])
        raise UnknownNameError("kind of data", str(name), known)
    return from_mapping(known[name], fields)


def _fields(cls: Any) -> Mapping[str, Any]:
    held: Mapping[str, Any] = cls.__pydantic_fields__
    return held


def _written(held: TaskConfig | None) -> dict[str, Any] | None:
    return None if held is None else {"name": name_of(held), **to_mapping(held)}


AnyTaskConfig = Annotated[TaskConfig | None, BeforeValidator(read), PlainSerializer(_written)]
"""A field for a configuration of whatever kind the data are; None until that is known."""
