"""A pickle without its power: plain values, and for every call that it asks for a note of it.

A pickle is a program for a small machine. Python's own has instructions that import, call, and take
memory by the number that a file names. This one has those that make numbers, text, lists, tuples
and dictionaries; a call of an admitted name is written down and not made, and every other
instruction or name is refused. Time and memory are in proportion to the length of the data.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class PickleError(ValueError):
    """The pickle breaks off, or asks for what data have no need of."""


@dataclass(frozen=True)
class Name:
    """An admitted name of a module, which is not imported."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """A call that a pickle asked for, and the state that the result was to be given."""

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None


def unpickle(data: bytes, admitted: frozenset[Name]) -> Any:
    """The value in a pickle of any protocol up to 4; text of Python 2 is bytes.

    Args:
        data: the pickle.
        admitted: names of which calls may be asked for.

    Raises:
        PickleError: the data are no pickle, or ask for more than plain values and admitted calls.
    """
    machine = _Machine(data, admitted)
    while True:
        code = machine.take(1)
        if code == b".":
            return machine.pop()
        step = _STEPS.get(code)
        if step is None:
            raise PickleError(f"it asks for the instruction {code!r}, which data have no need of")
        step(machine)


class _Machine:
    """Where a pickle is being read: the data, a stack, marks in the stack, and a memory."""

    def __init__(self, data: bytes, admitted: frozenset[Name]) -> None:
        self.data, self.at, self.admitted = data, 0, admitted
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    # -- the data --

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise PickleError("it breaks off")
        found = self.data[self.at : end]
        self.at = end
        return found

    def skip(self, count: int) -> None:
        self.take(count)

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise PickleError("it breaks off")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def number(self, kind: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def sized(self, kind: str) -> bytes:
        return self.take(self.number(kind))

    # -- the stack --

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("it takes what is not there")
        return self.stack.pop()

    def last(self, kind: type[Any]) -> Any:
        value = self.pop()
        if not isinstance(value, kind):
            raise PickleError(f"it has a {type(value).__name__} where a {kind.__name__} belongs")
        self.push(value)
        return value

    def marked(self) -> list[Any]:
        """Everything above the last mark, which goes with it."""
        if not self.marks:
            raise PickleError("it takes what is not there")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def several(self, count: int) -> tuple[Any, ...]:
        return tuple([self.pop() for _ in range(count)][::-1])

    # -- steps --

    def extend(self, values: list[Any]) -> None:
        self.last(list).extend(values)

    def update(self, values: list[Any]) -> None:
        entries = self.last(dict)
        if len(values) % 2:
            raise PickleError("it has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # The hash of a tuple of tuples can take forever: only plain keys.
            if not isinstance(key, str | bytes | int | float | None):
                raise PickleError(f"it has a {type(key).__name__} as a key")
            entries[key] = value

    def dictionary(self) -> None:
        values = self.marked()
        self.push({})
        self.update(values)

    def drop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):  # a mark is dropped like a value
            self.marks.pop()
        else:
            self.pop()

    def drop_marked(self) -> None:
        self.marked()

    def double(self) -> None:
        value = self.pop()
        self.stack += [value, value]

    def keep(self, place: int) -> None:
        self.memo[place] = self.pop()
        self.push(self.memo[place])

    def recall(self, place: int) -> None:
        if place not in self.memo:
            raise PickleError("it takes what is not there")
        self.push(self.memo[place])

    def admit(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("it asks for a name that is no text")
        found = Name(module, name)
        if found not in self.admitted:
            asked = f"{module}.{name}"[:100]
            raise PickleError(f"it asks for {asked!r}, which data have no need of")
        self.push(found)

    def call(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no name")
        self.push(Call(name, arguments))

    def build(self) -> None:
        state = self.pop()
        self.last(Call).state = state


def _integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    return int(line.rstrip(b"L"))


def _quoted(line: bytes) -> bytes:
    text = line.strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise PickleError("it has text without quotes")
    decoded, _ = codecs.escape_decode(text[1:-1])
    return bytes(decoded)


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.skip(1),  # the protocol
    b"\x95": lambda m: m.skip(8),  # the length of a frame
    # constants
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_integer(m.line())),
    b"L": lambda m: m.push(_integer(m.line())),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.push(_signed(m.sized("<B"))),
    b"\x8b": lambda m: m.push(_signed(m.sized("<i"))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(m.number(">d")),
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(m.sized("<i")),
    b"U": lambda m: m.push(m.sized("<B")),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(_utf8(m.sized("<I"))),
    b"\x8c": lambda m: m.push(_utf8(m.sized("<B"))),
    b"\x8d": lambda m: m.push(_utf8(m.sized("<Q"))),
    b"B": lambda m: m.push(m.sized("<I")),
    b"C": lambda m: m.push(m.sized("<B")),
    b"\x8e": lambda m: m.push(m.sized("<Q")),
    # tuples, lists, dictionaries
    b"(": lambda m: m.marks.append(len(m.stack)),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.marked())),
    b"\x85": lambda m: m.push(m.several(1)),
    b"\x86": lambda m: m.push(m.several(2)),
    b"\x87": lambda m: m.push(m.several(3)),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.marked()),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.marked()),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.dictionary(),
    b"s": lambda m: m.update(list(m.several(2))),
    b"u": lambda m: m.update(m.marked()),
    # the stack and the memory
    b"0": lambda m: m.drop(),
    b"1": lambda m: m.drop_marked(),
    b"2": lambda m: m.double(),
    b"p": lambda m: m.keep(int(m.line())),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"g": lambda m: m.recall(int(m.line())),
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
    # what asks for more
    b"c": lambda m: m.admit(_utf8(m.line()), _utf8(m.line())),
    b"\x93": lambda m: m.admit(*m.several(2)),
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
}
