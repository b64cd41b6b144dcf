"""benchmarks/README.md: what each script asks and has shown; `record.py` writes it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

HEAD = """<!-- Made by `python benchmarks/record.py` of scripts and results: not to be edited. -->

# What is claimed, and the scripts that show it

Each script says at its top what it asks, how it is called and what it writes. One that trains keeps
a row for each part of its experiment in `runs/NAME/rows.jsonl` and goes on after them when it is
called again; `--report` writes the result of those that are there. Rows that took hours, finished
or not, are kept in `results/rows/NAME.jsonl`: copied to `runs/NAME/rows.jsonl`, they are not made
again. Data are the user's to fetch ([public data](../docs/public-data.md)); results need none.

| Script | What it asks | What it has shown |
|---|---|---|
"""


def page(folder: Path, results: Path) -> str:
    """The text of the page, of the scripts in a folder."""
    shown: dict[str, list[str]] = {}
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        link = f"[{path.stem}](../results/{path.name}): {found['verdict']}"
        for script in {word for word in found["command"].split() if word.endswith(".py")}:
            shown.setdefault(script.partition("/")[2], []).append(link)
    rows = (
        f"| [`{name}`]({name}) | {asks} | {', '.join(shown.get(name, ['no result yet']))} |"
        for name, asks, writes in _scripts(folder)
        if writes or name in shown
    )
    return HEAD + "\n".join(rows) + "\n"


def _scripts(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Each script's name, the first line of its docstring, and whether it writes a result."""
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = ast.get_docstring(tree) or ""
        called = f"python benchmarks/{path.name}" in said and path.name != "record.py"
        asks = said.partition("\n")[0].replace("|", "\\|")
        yield path.name, asks, called and "results/" in said
