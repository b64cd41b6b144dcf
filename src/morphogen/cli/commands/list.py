"""`morphogen list`: methods, spaces, kinds of data and proxies. No torch: it answers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from morphogen.cli.command import JSON_PROGRESS, Command
from morphogen.cli.options import Option, Section
from morphogen.cli.terminal.output import print_json
from morphogen.core import UnknownNameError
from morphogen.core.names import shown

KINDS = ("methods", "spaces", "data", "proxies")


def run(given: dict[str, Any]) -> int:
    """`morphogen list`, from its options."""
    if given["what"] not in ("", *KINDS):
        raise UnknownNameError("list", given["what"], KINDS)
    from morphogen.cli import catalogue  # late: the overview imports this file, and no catalogue

    wanted = (given["what"],) if given["what"] else KINDS
    methods = [*catalogue.method_entries().values()] if "methods" in wanted else []
    spaces = catalogue.space_entries() if "spaces" in wanted else []
    data = catalogue.data_entries() if "data" in wanted else []
    broken = [
        *(catalogue.broken_methods() if "methods" in wanted else ()),
        *(catalogue.broken_spaces() if "spaces" in wanted else ()),
        *(catalogue.broken_data() if "data" in wanted else ()),
    ]
    proxies = catalogue.proxy_entries() if "proxies" in wanted else []
    if given["json"]:
        found: dict[str, list[Any]] = {"methods": methods, "spaces": spaces}
        found |= {"data": data, "proxies": proxies}
        print_json({kind: [asdict(entry) for entry in found[kind]] for kind in wanted})
        _warn(broken)
        return 0
    parts = []
    if methods:
        parts.append("Methods, for `morphogen search METHOD`:\n" + catalogue.method_lines(methods))
    if spaces:
        parts.append("Search spaces, for `--space NAME`:\n" + catalogue.space_lines(spaces))
    if data:
        parts.append("Kinds of data, for `--data`:\n" + catalogue.data_lines(data))
    if proxies:
        lines = catalogue.proxy_lines(proxies)
        parts.append("Zero-cost proxies, for `morphogen score --proxy NAME` and `rank`:\n" + lines)
    print("\n\n".join(parts))
    _warn(broken)
    return 0


def _warn(sentences: Iterable[str]) -> None:
    """What does not work of other packages, after what there is."""
    for sentence in sentences:
        print(f"morphogen: warning: {shown(sentence)}", file=sys.stderr)


COMMAND = Command(
    "list",
    "[methods|spaces|data|proxies]",
    "List methods, search spaces, kinds of data and zero-cost proxies.",
    ("morphogen list", "morphogen list spaces --json"),
    run,
    Section(
        "Options",
        (Option((), "WHAT", "methods, spaces, data or proxies (default: all)", ""), JSON_PROGRESS),
    ),
)
