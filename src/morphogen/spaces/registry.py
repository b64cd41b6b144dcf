"""The registry of search spaces: what is to be said of one is said once, beside its class.

A decorator on the class, or on a function without arguments that makes the space:

    @register("hexagon", drawing="layers", quick={"network.channels": 8})
    class Hexagon(SearchSpace, Differentiable): ...

    @register("hexagon-small", like="hexagon", network={"channels": 4})
    def small() -> Hexagon: ...

Numbers are plain mappings from the names of settings to values. The command line, the presets, the
costs, the reports and the tests read them here; nothing else holds a list of spaces. Other packages
add spaces by the entry point group `morphogen.spaces` (`core/plugins.py`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib import import_module
from pkgutil import ModuleInfo, iter_modules
from typing import Any, Literal, TypeVar, get_args

from morphogen.core import ConfigError, UnknownNameError, plugins
from morphogen.spaces.base import SearchSpace

T = TypeVar("T")
B = TypeVar("B", bound=Callable[[], SearchSpace])

Settings = Mapping[str, Any]
"""Names of settings and their values: `{"epochs": 50, "network.channels": 16}`."""

Drawing = Literal["cell-edges", "cell-pair", "cell-nodes", "layers", "choices"]
"""How architectures are drawn. cell-edges: operations on the edges of NAS-Bench-201's cell;
cell-pair: the two cells of the DARTS space; cell-nodes: operations on nodes, as in 1Shot1; layers:
one option in each of many layers; choices: a table of what each choice keeps."""


@dataclass(frozen=True, kw_only=True)
class SpaceInfo:
    """What is registered of a search space."""

    name: str
    """the field's name, and the command line's"""
    build: Callable[[], SearchSpace]
    """makes it"""
    family: str
    """spaces of which a publication speaks at once: `darts` of `darts-s2`"""
    supernet: str = ""
    """module that registers how its networks are built (`supernets.register`), imported when one
    is; empty: none, or registered already"""
    drawing: Drawing = "choices"
    network: Settings = field(default_factory=dict)
    """fields of `NetworkSpec`: the size at which figures of its networks are published"""
    search: Settings | None = None
    """settings of the published searches: sizes and shares of the data; None: nothing published"""
    searches: Mapping[str, Settings] = field(default_factory=dict)
    """method -> what its published search in this space has otherwise, as `published` of a method:
    settings (`batch_size`) and fields of its configuration (`weights.lr`)"""
    evaluation: Settings | None = None
    """settings of the published training from scratch; None: nothing published"""
    quick: Settings = field(default_factory=dict)
    """settings of a training of minutes, where they are not the defaults"""
    quick_search: Settings = field(default_factory=dict)
    """settings of a search of minutes, where they are not the method's"""
    quick_searches: Mapping[str, Settings] = field(default_factory=dict)
    """method -> what its search of minutes has otherwise in this space, as `searches`"""
    table: str = ""
    """name of the shipped benchmark table that measured its architectures"""
    reference: str = ""
    """text of the architecture that the field compares with, a network made by hand or a first
    published cell; empty: none"""
    reference_space: str = ""
    """name of the registered space that has it, where it is none of its own"""
    reference_name: str = ""
    """what it is called: ResNet, DARTS (first order)"""
    reference_reason: str = ""
    """why it is that one, in a sentence without its full stop"""

    @cached_property
    def kind(self) -> type[SearchSpace]:
        """The class of the space."""
        return self.build if isinstance(self.build, type) else type(self.build())

    @property
    def summary(self) -> str:
        """First line of its docstring, without the full stop."""
        return (inspect.getdoc(self.build) or "").split("\n")[0].rstrip(".")

    @property
    def paper(self) -> str:
        """Second paragraph of its module's docstring, up to the first arXiv id; may be empty."""
        text = inspect.getdoc(inspect.getmodule(self.build)) or ""
        paragraphs = text.split("\n\n")
        second = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
        match = re.match(r".+?arXiv \d{4}\.\d{4,5}", second)
        return match[0] if match else ""


_REGISTRY: dict[str, SpaceInfo] = {}

_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")


def register(
    name: str,
    *,
    like: str = "",
    family: str = "",
    supernet: str = "",
    drawing: Drawing | None = None,
    network: Settings | None = None,
    search: Settings | None = None,
    searches: Mapping[str, Settings] | None = None,
    evaluation: Settings | None = None,
    quick: Settings | None = None,
    quick_search: Settings | None = None,
    quick_searches: Mapping[str, Settings] | None = None,
    table: str = "",
    reference: str = "",
    reference_space: str = "",
    reference_name: str = "",
    reference_reason: str = "",
) -> Callable[[B], B]:
    """Decorator: register a search space once, beside its class or the function that makes it.

    Args:
        name: the field's name for the space, in small letters; the command line's.
        like: name of a registered space. What is not said here is as there, of mappings each entry;
            the table and the reference architecture are its own.
        family: spaces of which a publication speaks at once; the name where nothing is said.
        supernet: module that registers how its networks are built.
        drawing: how its architectures are drawn.
        network: size at which figures of its networks are published, fields of `NetworkSpec`.
        search: settings of the published searches.
        searches: method -> what its published search in this space has otherwise.
        evaluation: settings of the published training from scratch.
        quick: settings of a training of minutes, where they are not the defaults.
        quick_search: settings of a search of minutes, where they are not the method's.
        quick_searches: method -> what its search of minutes has otherwise in this space.
        table: name of the shipped benchmark table.
        reference: text of the architecture that the field compares with.
        reference_space: name of the space that has it, where it is another.
        reference_name: what that is called.
        reference_reason: why it is that one.

    Raises:
        ConfigError: the name is taken or cannot be one, or the drawing is unknown.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a space is registered as {name!r}; accepted: small letters, digits and - _ . +"
        )
    if drawing is not None and drawing not in get_args(Drawing):
        raise UnknownNameError(f"drawing of space {name!r}", drawing, get_args(Drawing))

    def enter(build: B) -> B:
        if not build.__module__.startswith(f"{__package__}."):
            _built_in()  # so that a name of ours is taken already
        held = _REGISTRY.get(name)
        # The same may be registered again: a notebook's cell is run twice.
        if held is not None and _origin(held.build) != _origin(build):
            raise ConfigError(
                f"space {name!r} is registered twice, by {'.'.join(_origin(held.build))} and "
                f"{'.'.join(_origin(build))}; accepted: one registration a name"
            )
        base = SpaceInfo(name=name, build=build, family=name)
        if like:
            base = _REGISTRY.get(like) or info(like)
        _REGISTRY[name] = SpaceInfo(
            name=name,
            build=build,
            family=family or base.family,
            supernet=supernet or base.supernet,
            drawing=drawing or base.drawing,
            network={**base.network, **(network or {})},
            search=_merged(base.search, search),
            searches={**base.searches, **(searches or {})},
            evaluation=_merged(base.evaluation, evaluation),
            quick={**base.quick, **(quick or {})},
            quick_search={**base.quick_search, **(quick_search or {})},
            quick_searches={**base.quick_searches, **(quick_searches or {})},
            table=table,
            reference=reference,
            reference_space=reference_space,
            reference_name=reference_name,
            reference_reason=reference_reason,
        )
        return build

    return enter


def _merged(base: Settings | None, given: Settings | None) -> Settings | None:
    return base if given is None else {**(base or {}), **given}


def _origin(build: Callable[..., object]) -> tuple[str, str]:
    return build.__module__, build.__qualname__


@cache
def _built_in() -> None:
    """Import the modules of this folder: each registers its own."""
    for module in _modules():
        import_module(f"{__package__}.{module.name}")


@cache
def _modules() -> tuple[ModuleInfo, ...]:
    return tuple(iter_modules(import_module(str(__package__)).__path__))


def _of_others() -> tuple[plugins.Broken, ...]:
    return plugins.load("spaces")


def registered() -> dict[str, SpaceInfo]:
    """Every registered space by name, those of other packages included."""
    broken()
    return dict(sorted(_REGISTRY.items()))


def broken() -> tuple[str, ...]:
    """A sentence for each package whose spaces cannot be had."""
    _built_in()
    return tuple(fault.sentence for fault in _of_others())


def info(name: str) -> SpaceInfo:
    """What is registered under a name; other packages are asked where it is none of ours.

    Raises:
        UnknownNameError: nothing; it names the nearest match.
        ConfigError: the package that would register it cannot be imported.
    """
    found = _find(name)
    if found is None:
        for fault in _of_others():
            if fault.name == name:
                raise ConfigError(fault.sentence)
        raise UnknownNameError("space", name, _REGISTRY)
    return found


def _find(name: object) -> SpaceInfo | None:
    if not isinstance(name, str):
        return None
    for load in (partial(_of_its_name, name), _built_in, _of_others):
        if name in _REGISTRY:
            break
        load()
    return _REGISTRY.get(name)


def _of_its_name(name: str) -> None:
    """Import the module that is called as the space: the others take time, and are not asked."""
    module = name.replace("-", "_")
    if module.isidentifier() and module in {m.name for m in _modules()}:
        import_module(f"{__package__}.{module}")


def make(name: str) -> SearchSpace:
    """The registered space called `name`, or an `UnknownNameError` with the nearest match."""
    return info(name).build()


def about(space: SearchSpace | str) -> SpaceInfo | None:
    """What is registered of a space, or None.

    A space under a name of its own (`DARTS("mine", operations=...)`) has the family, the networks
    and the drawing of the first that is registered of its kind; nothing is published of it.
    """
    if isinstance(space, str):
        return _find(space)
    if space.name not in _REGISTRY:  # the modules of most spaces are imported already
        _built_in()
    own = _REGISTRY.get(space.name)
    if own is not None and isinstance(space, own.kind):
        return own
    _built_in()
    for kind in type(space).__mro__:
        for known in _REGISTRY.values():
            if known.kind is kind:
                return SpaceInfo(
                    name=known.name,
                    build=known.build,
                    family=known.family,
                    supernet=known.supernet,
                    drawing=known.drawing,
                )
    return None


def of_space(by_space: Mapping[str, T], space: SearchSpace | str) -> T | None:
    """What `by_space` says of a space, or else of its family (`darts` of `darts-s2`), or None."""
    known = about(space)
    if known is None:
        return None
    return by_space.get(known.name, by_space.get(known.family))
