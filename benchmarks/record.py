"""One JSON file per claim in results/, and the texts that are made of them and of the code.

    python benchmarks/record.py          rewrites README's tables, of results/*.json and of the
                                         methods, docs/command-line.md, of the options,
                                         docs/budgets.md, of a result, and benchmarks/README.md
    python benchmarks/record.py --check  fails if they are not that

A claim's script calls `write`; nothing in results/ is written by hand.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from morphogen.core.files import append_lines
from morphogen.core.statistics import interval as interval

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "command-line.md"
BUDGETS = ROOT / "docs" / "budgets.md"
SCRIPTS = ROOT / "benchmarks" / "README.md"
PACKAGES = ("torch", "numpy", "lightning-fabric")

Verdict = Literal["shown", "partly", "not shown"]


def write(
    name: str,
    *,
    claim: str,
    system: str,
    command: str,
    seeds: Sequence[int],
    split: str,
    figures: Mapping[str, Any],
    published: Mapping[str, str],
    cost: Mapping[str, Any],
    headline: str,
    verdict: Verdict,
    why: str,
    device: str = "cpu",
) -> Path:
    """Write results/<name>.json; date, machine and versions are added.

    Args:
        name: file name without ending.
        claim: what should be true, in a sentence.
        system: the part of morphogen it is about.
        command: what made the figures, as typed from the root of the checkout.
        seeds: of the runs.
        split: which data made which figure.
        figures: all numbers, means with intervals (`interval`).
        published: `figure` and `source` of what it is compared with.
        cost: seconds, images, threads.
        headline: the measured outcome in a few words, for the table.
        verdict: shown, partly, not shown.
        why: the reason for the verdict.
        device: the accelerator's name, where one was used.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "claim": claim,
        "system": system,
        "headline": headline,
        "verdict": verdict,
        "why": why,
        "command": command,
        "seeds": list(seeds),
        "split": split,
        "figures": dict(figures),
        "published": dict(published),
        "cost": dict(cost),
        "machine": {"processor": processor(), "system": platform.platform(), "device": device},
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in PACKAGES},
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def said(interval: Mapping[str, float], digits: int = 2) -> str:
    """A difference in words, with its interval where there is one."""
    mean = f"{interval['mean']:+.{digits}f}"
    if "low" not in interval:
        return f"{mean} (one seed)"
    return f"{mean} ({interval['low']:+.{digits}f} to {interval['high']:+.{digits}f})"


def add_data(parser: argparse.ArgumentParser, name: str) -> None:
    """The option `--data`: a standard set in a folder of the user's; a report needs none."""
    parser.add_argument(
        "--data",
        metavar=f"{name}:PATH",
        required="--report" not in sys.argv,
        help=f"{name} in any layout that morphogen reads; docs/public-data.md says where it is had",
    )


def rows(file: Path) -> list[dict[str, Any]]:
    """What an experiment has kept so far; a line that a crash cut short is left out."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{file}: a line that was cut short is left out: {line[:40]}", file=sys.stderr)
    return found


def keep(file: Path, row: Mapping[str, Any]) -> None:
    """Add what one part of an experiment found, so that a run that was cut off goes on after it."""
    append_lines(file, json.dumps(row) + "\n")


def processor() -> str:
    """The processor's own name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else platform.machine()


def table() -> str:
    """The README's table: one row per file in results/."""
    rows = ["| Claim | Measured | Verdict | File, command, date |", "|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        r = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            r["claim"],
            r["headline"],
            f"**{r['verdict']}**",
            f"[{path.stem}](results/{path.name}), `{r['command']}`, {r['date']}",
        ]
        cells = [c.replace("|", "\\|").replace("\n", " ") for c in cells]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def method_table() -> str:
    """The README's other table: one row per method, as its file introduces it."""
    from morphogen.cli.catalogue import method_entries

    rows = [f"| `{e.name}` | {e.paper} | {e.reference} |" for e in method_entries().values()]
    return "\n".join(["| Method | What it is | Paper |", "|---|---|---|", *rows])


def readme() -> str:
    """README's text with the tables renewed."""
    text = README.read_text(encoding="utf-8")
    for name, rows in (("methods", method_table()), ("results", table())):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            sys.exit(f"README has not exactly one pair of {begin} and {end}")
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{rows}\n{end}{tail}"
    return text


def made() -> dict[Path, str]:
    """Every text that is made from the code and from results/, by its file."""
    import budgets_page
    import commands_page
    import scripts_page

    return {
        README: readme(),
        COMMANDS: commands_page.page(),
        BUDGETS: budgets_page.page(RESULTS),
        SCRIPTS: scripts_page.page(ROOT / "benchmarks", RESULTS),
    }


def main() -> None:
    fresh = made()
    old = [p for p, text in fresh.items() if not p.exists() or p.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        if old:
            names = " and ".join(p.name for p in old)
            sys.exit(f"{names} not as the code has it; run: python benchmarks/record.py")
        return
    for path in old:
        path.write_text(fresh[path], encoding="utf-8")


if __name__ == "__main__":
    main()
