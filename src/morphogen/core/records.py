"""Records: what is written to a file and read back, declared once for both.

A record is a frozen class of typed fields. Who writes one and who reads it calls `checked` with the
same class, so that the two cannot drift; and a file that was damaged, or edited, is one sentence
that names file, field and what is accepted. Types are strict: `true` is no number, `"3"` no count,
NaN and infinity are nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from morphogen.core.errors import MorphogenError, RunError
from morphogen.core.names import brief, shown
from morphogen.core.reading import MEBIBYTE, parse_json, parse_yaml, read_bytes, read_text

LARGEST = 2**63 - 1
"""Of a whole number: what 64 bits hold."""


def _plain(value: Any) -> Any:
    """Refuses what JSON has not, numbers that are none, and whole numbers beyond 64 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError("a whole number of at most 19 digits")
    if not isinstance(value, str | int | float | dict | list | None):
        raise ValueError("texts, numbers, lists and mappings")
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError("mappings with texts for names")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        _plain(part)
    return value


Plain = Annotated[Any, AfterValidator(_plain)]
"""Anything that JSON has, its numbers finite."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
Text = Annotated[InstanceOf[str], Field(max_length=MEBIBYTE)]
"""Any: pydantic's own `str` refuses the path of a file whose name is no UTF-8."""

Amount = Annotated[float, Field(ge=0, le=1e18)]
"""Seconds, images, operations: what sums and roundings of it stay finite for."""


class Record(BaseModel):
    """Base class; unknown entries are left alone, since a later version may write more."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, extra="ignore")


def checked(
    kind: type[Record],
    values: Any,
    where: str,
    *,
    accepted: str,
    error: type[MorphogenError] = RunError,
) -> dict[str, Any]:
    """The values themselves if they are a record of this kind.

    Args:
        kind: the declaration.
        values: a mapping.
        where: the file, or the line of it, for the message.
        accepted: what would be, for the message.
        error: class of the failure.

    Raises:
        MorphogenError: of the class `error`, on the first field that is wrong.
    """
    if not isinstance(values, Mapping):
        raise error(f"{where} is no mapping of names to values; accepted: {accepted}")
    try:
        kind.model_validate(values)
    except ValidationError as failure:
        raise error(f"{where} {_fault(failure, accepted)}") from None
    except (RecursionError, OverflowError) as failure:
        raise error(f"{where} is nested too deeply; accepted: {accepted}") from failure
    return dict(values)


def read_json(
    kind: type[Record],
    path: Path,
    *,
    accepted: str,
    most: int = 256 * MEBIBYTE,
    error: type[MorphogenError] = RunError,
) -> dict[str, Any]:
    """The record in a JSON file.

    Raises:
        MorphogenError: of the class `error`: the file cannot be read, or holds no such record.
    """
    raw = read_bytes(path, most=most, accepted=accepted, error=error)
    return from_json(kind, raw, shown(path), accepted=accepted, error=error)


def from_json(
    kind: type[Record],
    raw: bytes | str,
    where: str,
    *,
    accepted: str,
    error: type[MorphogenError] = RunError,
) -> dict[str, Any]:
    """The record in a JSON text."""
    try:
        values = parse_json(raw)
    except ValueError as failure:
        raise error(f"{where} is no JSON ({failure}); accepted: {accepted}") from failure
    return checked(kind, values, where, accepted=accepted, error=error)


def read_yaml(
    kind: type[Record],
    path: Path,
    *,
    accepted: str,
    most: int = 4 * MEBIBYTE,
    error: type[MorphogenError] = RunError,
) -> dict[str, Any]:
    """The record in a YAML file.

    Raises:
        MorphogenError: of the class `error`: the file cannot be read, or holds no such record.
    """
    text = read_text(path, most=most, accepted=accepted, error=error)
    try:
        values = parse_yaml(text)
    except ValueError as failure:
        raise error(f"cannot read {shown(path)}, {failure}; accepted: {accepted}") from failure
    return checked(kind, values, shown(path), accepted=accepted, error=error)


RULES = {
    "model_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "list_type": "a list",
    "string_type": "a text",
    "is_instance_of": "a text",  # of `Text`, the only use of it
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
}
"""Kinds of failure -> what is accepted, where pydantic says it in the words of Python."""


def _fault(failure: ValidationError, accepted: str) -> str:
    """What is wrong with a record: `has no seed; ...`, `has settings.seed 'abc'; accepted: ...`."""
    first = failure.errors(include_url=False, include_context=False)[0]
    # Parts of a union's name in the location say nothing to a reader.
    path = ".".join(str(p) for p in first["loc"] if not str(p).startswith("function-"))
    if first["type"] == "missing":
        return f"has no {path}; accepted: {accepted}"
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    rule = RULES.get(first["type"], said)
    value = brief(first["input"])
    return f"has {path or 'a value'} {value}; accepted: {rule}, in {accepted}"
