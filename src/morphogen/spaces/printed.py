"""Values as programs print them into logs and papers, read without running anything.

Lists, tuples, dictionaries, numbers and texts of Python; `range(2, 6)`; arrays of numpy and torch,
in either of their two ways; a call by name, `Genotype(normal=[...], ...)`, wherever it stands.
"""

from __future__ import annotations

import ast
import re
from typing import Any

LISTED = 100
"""Numbers of a `range` that are listed; no cell has so many nodes."""

WRAPPERS = ("array", "asarray", "tensor", "as_tensor", "list", "tuple")
"""Calls that stand for their first argument."""

WRONG = (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
"""What reading raises for a text that is no such value."""


def value(text: str) -> Any:
    """The value that `text` shows; tuples and arrays become lists.

    Raises:
        one of `WRONG`: it shows none.
    """
    try:
        return _value(_parsed(text))
    except SyntaxError:
        # numpy prints [[0 1] [1 0]], without commas.
        return _value(_parsed(re.sub(r"(?<=[\d.\])])\s+(?=[\d\[(])", ", ", text)))


def numbers(text: str) -> tuple[int, ...] | None:
    """The whole numbers of a printed list, tuple or array; None if `text` is nothing like it."""
    try:
        found = value(text)
    except WRONG:
        return None
    if not isinstance(found, list) or not all(isinstance(item, int | float) for item in found):
        return None
    if any(isinstance(item, bool) or item != int(item) for item in found):
        return None
    return tuple(int(item) for item in found)


def digits_of(text: str) -> str:
    """The digits of an architecture that is a digit per layer: `0120`, `[0, 1, 2, 0]`, `(0 1 2 0)`.

    A text that is neither comes back as it is.
    """
    text = text.strip()
    listed = None if text.isdigit() else numbers(text)
    if listed is None or not all(0 <= number <= 9 for number in listed):
        return text
    return "".join(map(str, listed))


def call(text: str, name: str) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of the call of `name` in `text`, by place and by name; None if there is none.

    What stands before and after it, such as a time, a logger or `NAME =`, does not matter.

    Raises:
        one of `WRONG`: there are several, or one that cannot be read.
    """
    begins = list(re.finditer(rf"\b{name}\s*\(", text))
    if not begins:
        return None
    if len(begins) > 1:
        raise ValueError(f"{len(begins)} of {name} in one text")
    node = _parsed(name + _brackets(text, begins[0].end() - 1))
    if not isinstance(node, ast.Call):
        raise ValueError(f"{name} is no call")
    by_place = [_value(argument) for argument in node.args]
    return by_place, {str(k.arg): _value(k.value) for k in node.keywords}


def _brackets(text: str, begin: int) -> str:
    """From the bracket at `begin` to the one that closes it, texts in quotes passed over."""
    depth, quote = 0, ""
    for place in range(begin, len(text)):
        sign = text[place]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if not depth:
                return text[begin : place + 1]
    raise ValueError("a bracket is not closed")


def _parsed(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand)
        if isinstance(number, int | float):
            return -number
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {
            _value(key): _value(item)
            for key, item in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        given = [_value(argument) for argument in node.args]
        if name == "range":
            listed = range(*given)
            if len(listed) > LISTED:
                raise ValueError("a range is too long")
            return list(listed)
        # numpy's scalars too: np.int64(1), np.str_('skip_connect')
        if given and (name in WRAPPERS or re.fullmatch(r"u?int\d*|str_?|float\d*", name)):
            return given[0]
    raise ValueError(f"{ast.dump(node)[:40]} is no value")
