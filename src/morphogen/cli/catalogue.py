"""What there is to search with and in, read without importing torch.

The registry of methods needs torch, which takes seconds to import; a list must not. So the method
files are read as text: their first docstring and their `@method(...)` line. A test holds this
against the registry.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from morphogen import spaces
from morphogen.benchmarks import describe
from morphogen.cli.terminal.output import width
from morphogen.core import UnknownNameError, plugins
from morphogen.core.text import count, fold
from morphogen.proxies import PROXIES
from morphogen.spaces import capabilities

if TYPE_CHECKING:
    from morphogen.methods import MethodInfo


@dataclass(frozen=True)
class MethodEntry:
    """A method, as its file introduces it."""

    name: str
    paper: str
    reference: str
    needs: tuple[str, ...]
    epochs: int
    algorithm: str
    """The file's docstring up to its departures from the paper."""


@dataclass(frozen=True)
class SpaceEntry:
    """A search space."""

    name: str
    summary: str
    reference: str
    size: int
    choices: int
    capabilities: tuple[str, ...]
    metrics: tuple[str, ...]
    """Columns of its shipped benchmark table; empty without one."""
    compared_with: str
    """The architecture with which `--baseline` compares; empty: a random one alone."""


@dataclass(frozen=True)
class ProxyEntry:
    """A zero-cost proxy."""

    name: str
    summary: str
    source: str
    labels: bool
    """Whether it reads labels."""
    data: bool
    """Whether it reads examples."""
    unit: str


@dataclass(frozen=True)
class DataEntry:
    """A kind of data."""

    name: str
    summary: str
    options: tuple[str, ...]
    """Flags that only this kind has, or only some kinds."""


def data_entries() -> list[DataEntry]:
    """All kinds of data, those of other packages included, by name; ours are read from files."""
    folder = Path(__file__).parent.parent / "tasks"
    own = [
        entry
        for path in sorted(folder.glob("*/config.py"))
        for entry in _data_in(ast.parse(path.read_text(encoding="utf-8")))
    ]
    if plugins.names("tasks"):
        from morphogen.tasks.configs import task_configs  # with torch, as their modules have it

        names = {entry.name for entry in own}
        for name, cls in task_configs().items():
            if name not in names:
                fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
                own.append(DataEntry(name, _summary(cls.__doc__), tuple(map(_flag, fields))))
    return sorted(own, key=lambda entry: entry.name)


def broken_data() -> tuple[str, ...]:
    """A sentence for each package whose kinds of data cannot be had."""
    return tuple(fault.sentence for fault in plugins.load("tasks"))


def _data_in(tree: ast.Module) -> list[DataEntry]:
    found = []
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "task_config":
                fields = [
                    ast.unparse(line.target)
                    for line in node.body
                    if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line)
                ]
                name = ast.literal_eval(call.args[0])
                text = _summary(ast.get_docstring(node))
                found.append(DataEntry(name, text, tuple(map(_flag, fields))))
    return found


def _summary(text: str | None) -> str:
    return (text or "").strip().split("\n")[0].rstrip(".")


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def method_entries() -> Mapping[str, MethodEntry]:
    """All methods by name, those of other packages included."""
    own = _own_methods()
    if not plugins.names("methods"):
        return own
    from morphogen.methods import methods  # with torch, as their modules have it

    added = [info for info in methods().values() if info.name not in own]
    return dict(sorted({**own, **{info.name: _entry(info) for info in added}}.items()))


def broken_methods() -> tuple[str, ...]:
    """A sentence for each package whose methods cannot be had."""
    return tuple(fault.sentence for fault in plugins.load("methods"))


@cache
def _own_methods() -> Mapping[str, MethodEntry]:
    folder = Path(__file__).parent.parent / "methods"
    entries = [
        entry
        for path in sorted(folder.glob("[!_]*.py"))
        for entry in _methods_in(ast.parse(path.read_text(encoding="utf-8")))
    ]
    return {entry.name: entry for entry in sorted(entries, key=lambda e: e.name)}


def _entry(info: MethodInfo) -> MethodEntry:
    needs = tuple(kind.__name__ for kind in info.needs)
    return MethodEntry(info.name, info.paper, info.reference, needs, info.epochs, info.algorithm)


def method_entry(name: str) -> MethodEntry:
    """The method called `name`, or an `UnknownNameError` with the nearest match.

    Raises:
        ConfigError: the package that would add it cannot be imported.
    """
    own = _own_methods()
    if name in own:
        return own[name]
    if name in plugins.names("methods"):
        from morphogen.methods import find

        return _entry(find(name))
    known = method_entries()
    if name not in known:
        raise UnknownNameError("method", name, known)
    return known[name]


def space_entries() -> list[SpaceEntry]:
    """All spaces, those of other packages included; by name."""
    out = []
    for info in spaces.registered().values():
        space = info.build()
        out.append(
            SpaceEntry(
                info.name,
                info.summary,
                info.paper,
                space.size(),
                len(space.choices),
                tuple(c.__name__ for c in capabilities(space)),
                tuple(m.name for m in describe(info.table).metrics) if info.table else (),
                f"{info.reference_name}: {info.reference_reason}" if info.reference else "",
            )
        )
    return out


def broken_spaces() -> tuple[str, ...]:
    """A sentence for each package whose spaces cannot be had."""
    return spaces.broken()


def proxy_entries() -> list[ProxyEntry]:
    """All zero-cost proxies, in their own order."""
    return [
        ProxyEntry(p.name, p.summary, p.source, p.labels, p.data, p.unit) for p in PROXIES.values()
    ]


def method_lines(entries: Iterable[MethodEntry]) -> str:
    """The methods for people, a line each."""
    return _lines(
        [(e.name, ". ".join(filter(None, (e.paper, e.reference))) + ".") for e in entries]
    )


def space_lines(entries: Iterable[SpaceEntry]) -> str:
    """The spaces for people, a line each."""
    return _lines(
        [
            (
                e.name,
                f"{e.summary}; {count(e.size)} architectures, {e.choices} choices; "
                f"{', '.join(e.capabilities)}; "
                + (f"table of {len(e.metrics)} metrics" if e.metrics else "no table")
                + (f". {e.reference}." if e.reference else ".")
                + (f" --baseline compares with {e.compared_with}." if e.compared_with else ""),
            )
            for e in entries
        ]
    )


def data_lines(entries: Iterable[DataEntry]) -> str:
    """The kinds of data for people, a line each."""
    return _lines([(e.name, f"{e.summary}; {' '.join(e.options)}") for e in entries])


def proxy_lines(entries: Iterable[ProxyEntry]) -> str:
    """The proxies for people, a line each."""
    return _lines([(e.name, f"{e.summary}. {e.source}.") for e in entries])


def _lines(entries: list[tuple[str, str]]) -> str:
    """One line each in a pipe, where someone may grep; folded in a terminal."""
    left = max(len(name) for name, _ in entries) + 4
    limit = width() if sys.stdout.isatty() else 10_000
    return "\n".join(
        fold(f"  {name}".ljust(left) + text, limit, hanging=left) for name, text in entries
    )


def _methods_in(tree: ast.Module) -> list[MethodEntry]:
    text = ast.get_docstring(tree) or ""
    title, _, rest = text.partition("\n")
    paper = re.search(r"^Paper: (.+?)\.?$", rest, re.MULTILINE)
    found = []
    for node in tree.body:
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                if call.func.id != "method":
                    continue
                given = {k.arg: k.value for k in call.keywords}
                found.append(
                    MethodEntry(
                        ast.literal_eval(call.args[0]),
                        title.rstrip("."),
                        paper[1] if paper else "",
                        tuple(re.findall(r"\w+", ast.unparse(given["needs"]))),
                        ast.literal_eval(given["epochs"]),
                        text.partition("\nDepartures.")[0].rstrip(),
                    )
                )
    return found
