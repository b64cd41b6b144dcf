"""Search spaces as plain values, so that a run directory can hold any of them.

    {name: darts-s2}                                              a registered space
    {name: darts, without: [none]}                                without some options everywhere
    {name: nasbench201, options: {edge_0_1: [skip_connect]}}      with fewer options of some choices
    {name: mine, like: darts, arguments: {operations: [...]}}     another of a registered kind
    {name: own, choices: [{name: block, options: [a, b]}, ...]}   choices of a user's own

Where code of the user's decides something, `code` or `limit` says what: such a space reads back as
one that answers all but that (a module's space has no module), and is passed again to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from morphogen.core import Choice, MorphogenError, SpaceError
from morphogen.core.names import brief
from morphogen.spaces import registry
from morphogen.spaces.base import SearchSpace
from morphogen.spaces.constrained import Constrained
from morphogen.spaces.module import ModuleSpace

MODULE = "module"
"""`code` of a module's space."""


def to_mapping(space: SearchSpace) -> dict[str, Any]:
    """A space as plain values, in as few words as read back to an equal space."""
    if isinstance(space, Constrained):
        return {**to_mapping(space.inner), "limit": space.words}
    if isinstance(space, ModuleSpace):
        routes = {
            name: [[list(pair) for pair in route] for route in ways]
            for name, ways in space.routes.items()
        }
        return {
            "name": space.name,
            "code": MODULE,
            "choices": _listed(space),
            **({"routes": routes} if routes else {}),
        }
    for written in _of_a_kind(space):
        if _reads_back(written, space):
            return written
    code = {} if type(space) is SearchSpace else {"code": f"the class {type(space).__qualname__}"}
    return {"name": space.name, **code, "choices": _listed(space)}


def _of_a_kind(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Ways to write a space of a registered kind, shorter ones first."""
    known = registry.about(space)
    written: dict[str, Any] = {"name": space.name}
    if known is None or known.kind is not type(space):
        return
    if known.name == space.name:
        yield written
        yield from _restricted(written, space)
    else:
        written["like"] = known.name
    if arguments := space.arguments():
        written["arguments"] = arguments
        yield written
        yield from _restricted(written, space)


def _restricted(written: dict[str, Any], space: SearchSpace) -> Iterator[dict[str, Any]]:
    """The whole space and the options that `space` has left of it, if it has the same choices."""
    try:
        whole = read(written)
    except MorphogenError:  # `arguments` are not those of the constructor
        return
    left = {o for c in space.choices for o in c.options}
    gone = dict.fromkeys(o for c in whole.choices for o in c.options if o not in left)
    if gone:
        yield {**written, "without": list(gone)}
    if [c.name for c in whole.choices] == [c.name for c in space.choices]:
        pairs = zip(whole.choices, space.choices, strict=True)
        fewer = {c.name: list(c.options) for w, c in pairs if w.options != c.options}
        yield {**written, "options": fewer}


def _reads_back(written: dict[str, Any], space: SearchSpace) -> bool:
    try:
        return read(written) == space
    except MorphogenError:
        return False


def _listed(space: SearchSpace) -> list[dict[str, Any]]:
    """The choices; what a choice has by default is left out."""
    return [
        {"name": c.name, "options": list(c.options)}
        | ({"group": c.group} if c.group != c.name else {})
        | ({"least": c.least, "most": c.most} if (c.least, c.most) != (1, 1) else {})
        for c in space.choices
    ]


def needs_code(mapping: Mapping[str, Any]) -> bool:
    """Whether code of the user's has to be passed again to search or train in this space."""
    return "code" in mapping or "limit" in mapping


_KEYS = ("name", "like", "arguments", "without", "options", "choices", "routes", "code", "limit")

LONGEST = 256
"""Entries of a list among arguments: a file of a stranger's must not make a space of millions."""


def read(mapping: Mapping[str, Any]) -> SearchSpace:
    """The space that `to_mapping` wrote; equal to it but for code of the user's (`needs_code`).

    Raises:
        UnknownNameError: no such space is registered, or it has no such choice or option.
        SpaceError: the mapping is not well formed.
    """
    name = mapping.get("name") if isinstance(mapping, Mapping) else None
    wrong = [k for k in mapping if k not in _KEYS] if isinstance(mapping, Mapping) else []
    if not isinstance(name, str) or wrong:
        raise SpaceError(
            f"a space is written as {brief(mapping)}; accepted: a mapping with its name and what "
            f"else there is of {', '.join(_KEYS[1:])}"
        )
    try:
        return _listed_space(name, mapping) if "choices" in mapping else _made(name, mapping)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SpaceError(
            f"space {name!r} is written as {brief(mapping)}, which cannot be read "
            f"({brief(str(error))}); accepted: what its to_mapping gives"
        ) from error


def _made(name: str, mapping: Mapping[str, Any]) -> SearchSpace:
    """A space of a registered kind."""
    known = registry.info(mapping.get("like", name))
    arguments = mapping.get("arguments", {})
    _check_lengths(arguments)
    other = arguments or known.name != name
    space = known.kind(name=name, **arguments) if other else known.build()
    space = space.without(_texts(mapping.get("without", ())))
    options = mapping.get("options")
    return space.restrict({c: _texts(o) for c, o in options.items()}) if options else space


def _check_lengths(value: Any) -> None:
    if isinstance(value, list | tuple | dict):
        if len(value) > LONGEST:
            raise ValueError(f"a list of {len(value)} entries; accepted: at most {LONGEST}")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_lengths(entry)


def _listed_space(name: str, mapping: Mapping[str, Any]) -> SearchSpace:
    """A space of which all choices are written down."""
    choices = []
    for given in mapping["choices"]:
        bounds = {key: int(given[key]) for key in ("least", "most") if key in given}
        group = str(given.get("group", ""))
        choices.append(Choice(str(given["name"]), _texts(given["options"]), group, **bounds))
    if mapping.get("code") != MODULE:
        return SearchSpace(name, choices)
    routes = {
        choice: [tuple((str(c), str(o)) for c, o in route) for route in ways]
        for choice, ways in mapping.get("routes", {}).items()
    }
    return ModuleSpace(name, choices, routes=routes)


def _texts(options: Any) -> tuple[str, ...]:
    if isinstance(options, str) or not all(isinstance(option, str) for option in options):
        raise TypeError(f"options {brief(options)}")
    return tuple(options)
