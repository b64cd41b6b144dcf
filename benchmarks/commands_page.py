"""docs/command-line.md, from the declarations that `--help` shows; `record.py` writes it.

The page is committed and not made while the site is built: it is read where the repository is, a
change of the command line shows in its difference, and building the pages needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morphogen.cli import searching, training
from morphogen.cli.catalogue import MethodEntry, method_entries
from morphogen.cli.command import Command
from morphogen.cli.commands import NAMES, command
from morphogen.cli.options import Section, described
from morphogen.methods import find

COMMON = "idarts"
"""Whose defaults of the common options are taken for the usual ones: README begins with it."""

PAPER_SPACE = "nasbench201"
"""Of the paper's numbers that the page gives; `--space` before `--help` gives another's."""

HEAD = """<!-- Made by `python benchmarks/record.py` from the code: not to be edited. -->

# Command line

Every command with every option, as `--help` has them. Where a default changes with
`--preset paper`, the number is that of the NAS-Bench-201 space; another's is told by
`morphogen search METHOD --space NAME --help`.

A value stands after its flag or after `=`: `--epochs 5`, `--epochs=5`. Of a flag that comes twice
the last counts. With `--json` standard output holds one JSON object and nothing else.

| Exit code | Meaning |
|---|---|
| 0 | done |
| 2 | a mistake in the words, the data or the files: one sentence says which, and what is accepted |
| 3 | a loss or a gradient is not finite |
| 4 | the run directory cannot be read or written, or there is not enough memory |
| 70 | a fault of morphogen; its detail is in `fault.txt` of the run directory |
| 74 | standard output could not be written |
| 130 | interrupted; the last line says how to go on |
"""


def page() -> str:
    """The text of docs/command-line.md."""
    parts = [HEAD]
    for name in NAMES:
        found = command(name)
        parts.append(_head(found))
        if found.options is not None:
            parts.append(_options([found.options]))
        elif name == "train":
            parts.append(
                _options(
                    training.option_sections(
                        training.preset("quick", PAPER_SPACE), every_kind=True
                    ),
                    training.option_sections(
                        training.preset("paper", PAPER_SPACE), every_kind=True
                    ),
                )
            )
        parts.append(_block(found.examples))
        if name == "search":
            parts += _search()
    return "\n".join(parts)


def _search() -> list[str]:
    """What all methods take, then the own options of each."""
    common, _ = _split(COMMON, "quick")
    parts = ["### Options of every method\n", _options(common)]
    for entry in method_entries().values():
        parts.append(_method(entry, _defaults(common)))
    return parts


def _method(entry: MethodEntry, usual: Mapping[str, Any]) -> str:
    """A method: its paper, where its defaults are not the usual ones, and its own options."""
    quick, own = _split(entry.name, "quick")
    paper, published = _split(entry.name, "paper")
    lines = [f"### search {entry.name}", "", f"{_text(entry.paper)}. {_text(entry.reference)}.", ""]
    now = _defaults(quick)
    for about, there, here in (
        ("Its defaults", now, usual),
        ("With `--preset paper`", _defaults(paper), now),
    ):
        other = [
            f"`{flag} {there[flag]}`"
            for flag in there
            if flag in here and there[flag] != here[flag]  # an option of its own stands below
        ]
        lines += [f"{about}: {', '.join(other)}.", ""] if other else []
    return "\n".join([*lines, _options(own, published)])


def _split(method: str, preset: str) -> tuple[list[Section], list[Section]]:
    """Options of every method, and those of this one, with the defaults of a preset."""
    info = find(method)
    held = searching.preset(preset, info, PAPER_SPACE)
    known = searching.option_sections(info, held, every_kind=True)
    own = next(i for i, s in enumerate(known) if s.title == f"Options of {method}")
    return known[:own], known[own:]


def _defaults(known: Sequence[Section]) -> dict[str, Any]:
    return {o.flags[0]: o.default for section in known for o in section.options}


def _head(found: Command) -> str:
    usage = f"morphogen {found.name} {found.usage}"
    return f"## {found.name}\n\n{_text(found.summary)}\n\n{_block([usage])}"


def _block(lines: Iterable[str]) -> str:
    return "\n".join(["```text", *lines, "```", ""])


def _options(known: Sequence[Section], paper: Sequence[Section] = ()) -> str:
    there = {o.flags: o.default for section in paper for o in section.options}
    lines: list[str] = []
    for section in known:
        if not section.options:
            continue
        lines += [f"**{_text(section.title)}**", ""]
        for option in section.options:
            head, text = described(option, there.get(option.flags, option.default))
            lines.append(f"- `{head}`: {_text(text)}")
        lines.append("")
    return "\n".join(lines)


def _text(text: str) -> str:
    """Text of a terminal as Markdown: what is not in backticks is no markup."""
    parts = re.split(r"(`[^`]*`)", text)
    plain = (re.sub(r"([*_\[\]])", r"\\\1", p).replace("<", "&lt;") for p in parts[::2])
    code = [*parts[1::2], ""]
    return "".join(p + c for p, c in zip(plain, code, strict=True))
