"""Configurations: frozen, validated dataclasses that are at once Python API, flags and YAML.

A field's type carries its range, with both ends (`Count`, `Annotated[int, Field(ge=1, le=9)]`; a
test refuses a number without), the docstring under it its meaning with the paper's symbol. Unknown
or wrong fields end in one `ConfigError` sentence.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from morphogen.core import ranges
from morphogen.core.errors import ConfigError, UnknownNameError
from morphogen.core.names import brief

T = TypeVar("T")


def _within(allowed: ranges.Range) -> Any:
    return Field(ge=allowed.least, le=allowed.most)


Seed = Annotated[int, _within(ranges.SEED)]
Count = Annotated[int, _within(ranges.COUNT)]
Natural = Annotated[int, _within(ranges.NATURAL)]
Images = Annotated[int, _within(ranges.IMAGES)]
"""Of a data set."""
SomeImages = Annotated[int, _within(ranges.IMAGES.or_zero)]
"""Likewise; 0 stands for all, or for none."""
Few = Annotated[int, _within(ranges.FEW)]
"""Steps that are held at once."""
Width = Annotated[int, _within(ranges.WIDTH)]
"""Channels."""
Depth = Annotated[int, _within(ranges.DEPTH)]
"""Cells, or layers."""
Side = Annotated[int, _within(ranges.SIDE)]
"""Pixels."""
Threads = Annotated[int, _within(ranges.THREADS)]
"""Threads or processes; 0 leaves it to the library."""
Devices = Annotated[int, Field(ge=1, le=ranges.THREADS.most)]
Repeats = Annotated[int, _within(ranges.SEEDS)]
"""With other seeds."""
Rate = Annotated[float, Field(gt=0, le=1000)]
"""A learning rate."""
Amount = Annotated[float, Field(ge=0, le=1e6)]
"""A penalty, a radius, a norm; 0: none."""
Positive = Annotated[float, Field(ge=1e-9, le=1e9)]
"""A scale by which something is divided."""
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=ranges.SECONDS)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen keyword-only dataclass whose fields are checked when it is made."""
    made = pydantic.dataclasses.dataclass(
        frozen=True,
        kw_only=True,
        config=ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True),
    )(cls)
    for name, field in made.__pydantic_fields__.items():
        for base in cls.__mro__[1:]:  # pydantic reads the docstrings of a class's own fields only
            held = getattr(base, "__pydantic_fields__", {}).get(name)
            if field.description is None and held is not None:
                field.description = held.description
    checked: Any = made.__init__

    @functools.wraps(checked)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            checked(self, *args, **values)
        except ValidationError as error:
            raise _sentence(cls, error) from None

    made.__init__ = init  # type: ignore[method-assign]
    return cast(type[T], made)


def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
    """A configuration of class `cls` from plain values (YAML, JSON), nested ones included."""
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _sentence(cls, error) from None


def to_mapping(values: Any) -> dict[str, Any]:
    """The plain values of a configuration; `from_mapping` gives an equal one back."""
    plain: dict[str, Any] = TypeAdapter(type(values)).dump_python(values, mode="json")
    return plain


def altered(held: T, values: Mapping[str, Any]) -> T:
    """A configuration with other values of some fields, `weights.lr` being one of a part of it.

    Raises:
        UnknownNameError: there is no such field.
    """
    made: Any = held
    for path, value in values.items():
        name, _, rest = path.partition(".")
        known = [field.name for field in dataclasses.fields(made)]
        if name not in known:
            raise UnknownNameError(f"field of {type(made).__name__}", path, known)
        inner = altered(getattr(made, name), {rest: value}) if rest else value
        made = dataclasses.replace(made, **{name: inner})
    return cast(T, made)


def require_fields(names: Iterable[str], *held: object) -> None:
    """Fields that are to be kept must be fields, `network.channels`, of one of some configurations.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        for one in held:
            with suppress(AttributeError):
                attrgetter(name)(one)
                break
        else:
            kinds = " or ".join(type(one).__name__ for one in held)
            raise ConfigError(
                f"keep has {brief(name)}; accepted: fields of {kinds}, as network.channels"
            )


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted paths as mappings in mappings: `{"weights.lr": 1}` -> `weights: {lr: 1}`."""
    made: dict[str, Any] = {}
    for path, value in values.items():
        *parts, last = path.split(".")
        inner = made
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return made


def _sentence(cls: type, error: ValidationError) -> ConfigError:
    """The first problem of a pydantic error as one sentence."""
    details: ErrorDetails = error.errors(include_url=False)[0]
    *path, last = [str(part) for part in details["loc"]] or ["?"]
    field = ".".join([*path, last])
    if details["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner: Any = cls
        for part in path:  # pydantic's fields: a dataclass's own know their types as text only
            owner = owner.__pydantic_fields__[part].annotation
        known = [f.name for f in dataclasses.fields(owner)]
        where = ".".join([cls.__name__, *path])
        return UnknownNameError(f"field of {where}", last, known)
    rule = details["msg"].removeprefix("Value error, ")
    rule = rule.removeprefix("Input should be ").removeprefix("a valid ")
    return ConfigError(f"{cls.__name__}: {field} is {brief(details['input'])}; accepted: {rule}")
