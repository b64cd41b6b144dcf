"""docs/budgets.md: which method for which budget, of results/seconds-to-quality.json.

`record.py` writes it; the numbers are those of `benchmarks/regret.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = """<!-- Made by `python benchmarks/record.py` from results/: not to be edited. -->

# Which method for which budget

What does each method deliver after one, five and twenty CPU minutes? Every registered method that
serves the space gets the same budget on one thread, with the quick defaults and as many epochs (or
evaluations) as a short timing says will fit; what it would deliver at that moment is looked up in
the benchmark table, which no search reads.
"""

COMMAND = """
```sh
python benchmarks/regret.py
python benchmarks/regret.py --report
python benchmarks/record.py
```
"""

MISSING = """
**Not run yet.** There are no numbers here, because the experiment has not been carried out: it
takes about 26 CPU minutes for each method, space and seed, two or three days of one core in all. It
can be cut off and goes on where it was; several processes share it by their seeds. From a checkout:
"""

AGAIN = """
## On your machine

The seconds are those of the machine named above. Anybody can make this page for another one; a run
that was cut off goes on, and a method of your own joins by being registered:
"""


def page(results: Path) -> str:
    """The text of the page.

    Args:
        results: folder of the results.
    """
    file = results / "seconds-to-quality.json"
    if not file.exists():
        return f"{HEAD}{MISSING}{COMMAND}"
    held = json.loads(file.read_text(encoding="utf-8"))
    about = (
        f"\nMeasured on {', '.join(held['cost']['machines'])}, {held['date']}; seeds "
        f"{', '.join(map(str, held['seeds']))}. {held['split'][0].upper()}{held['split'][1:]}.\n"
    )
    parts = [_space(name, found) for name, found in held["figures"].items()]
    return "".join([HEAD, about, *parts, AGAIN, COMMAND])


def _space(name: str, found: Mapping[str, Any]) -> str:
    minutes = sorted({m for q in found["methods"].values() for m in q}, key=float)
    last = minutes[-1]

    def by_regret(item: tuple[str, Mapping[str, Any]]) -> float:
        regret = item[1].get(last, {}).get("regret")
        return float(regret["mean"]) if regret else float("inf")

    rows = [
        "| Method | " + " | ".join(f"{m} min" for m in minutes) + " |",
        "|---|" + "---|" * len(minutes),
    ]
    for method, by_minutes in sorted(found["methods"].items(), key=by_regret):
        cells = [_cell(by_minutes.get(m)) for m in minutes]
        rows.append(f"| `{method}` | {' | '.join(cells)} |")
    return (
        f"\n## {found['title']}\n\n"
        f"![Regret against CPU seconds, one curve a method](images/regret-{name}.svg)\n\n"
        f"`{found['column']}` of what is delivered, mean over seeds with its 95 % interval, and "
        f"its median rank of {found['architectures']:,} (the best has {found['optimum']:.2f}); the "
        f"best at {last} minutes first.\n\n" + "\n".join(rows) + "\n"
    )


def _cell(q: Mapping[str, Any] | None) -> str:
    if q is None:
        return "not run"
    if "refused" in q:
        return "does not serve"
    if not q["accuracy"]:
        return "nothing in time"
    a = q["accuracy"]
    ends = f" ({a['low']:.2f} to {a['high']:.2f})" if "low" in a else ""
    text = f"{a['mean']:.2f}{ends}, rank {q['median rank']:,g}"
    missing = len(q["nothing in time"])
    return text + (f"; {missing} of {len(q['seeds'])} seeds nothing in time" if missing else "")
