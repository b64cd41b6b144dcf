"""The sections of a report on one run. Each is a function from the run to markup, or to None."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from morphogen import benchmarks
from morphogen.core.names import shell
from morphogen.core.text import count, duration
from morphogen.core.text import figure as rounded
from morphogen.reports import ranking
from morphogen.reports.cells import choices_table, picture
from morphogen.reports.charts import Series, figure, lines
from morphogen.reports.clouds import clouds
from morphogen.reports.examples import examples
from morphogen.reports.gathered import learning_curves, own, taken
from morphogen.reports.heat import Panel, heat_maps, matrices
from morphogen.reports.html import Html, details, el, join, table
from morphogen.reports.measures import seeds
from morphogen.reports.planned import plan, trainings
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical
from morphogen.reports.scores import scored
from morphogen.reports.trained import reached, trained
from morphogen.reports.verdict import verdict
from morphogen.runs.described import SEARCHED
from morphogen.runs.described import title as heading

LOSSES = (
    ("train_loss", "train loss (train part)"),
    ("valid_loss", "valid loss (search-validation part)"),
)

MEASURED = (
    ("supernet", "supernet"),
    ("recalibrated", "discretised, norms recalibrated"),
    ("discrete", "discretised"),
)
"""Of what the metric is recorded in each epoch, before its name."""

AGREEMENT = ("agreement", "agreement_low", "agreement_high", "agreement_of")

PLAIN = {
    "epoch", "architecture", "candidate", "score", "examples", "gates", "alpha", "edges", "seconds",
    "cpu_seconds", "ended_early", "entropy", "skips", "decisions_changed", "train_loss",
    "valid_loss", *AGREEMENT, *(f"{name}_loss" for name, _ in MEASURED),
}  # fmt: skip
"""Entries of the metrics that have their place, as those named by the task's metric have; any
other number is drawn as the method's own."""


def sections(run: Run, level: int = 2, *, alone: bool = True) -> list[tuple[str, Html]]:
    """Titles and bodies of a run's sections; what the run has nothing for is left out.

    Args:
        run: the run.
        level: of the sections' headings; figures in them have the next one.
        alone: False beside other runs, where one cloud of the table's architectures shows all.
    """
    made: list[tuple[str, Callable[[Run, int], Html | None]]] = [
        ("The architecture", architecture),
        (f"{heading(run.task.spelt)} reached", reached),
        ("Examples", examples),
        ("Where it stands", partial(where, alone=alone)),
        ("The training" if run.training else "The search", search),
        ("Plan", plan),
        ("Trainings", trainings),
        ("Candidates", candidates),
        ("Architecture parameters", parameters),
        ("Order of the supernet", order),
        (f"The {run.task.examples}", data),
        ("Cost", cost),
        ("To reproduce", reproduce),
    ]
    bodies = [(name, make(run, level + 1)) for name, make in made]
    return [(name, body) for name, body in bodies if body is not None]


def order(run: Run, level: int) -> Html | None:
    """How well the trained supernet orders architectures, where `morphogen rank` measured it."""
    found = run.ranking
    if not found:
        return None
    points = [
        (math.nan if a is None else float(a), math.nan if b is None else float(b))
        for a, b in found["points"]
    ]
    said = el("p", {}, f"{ranking.head(found)} {found['about']}")
    return join([said, ranking.section(found, points, level)])


def summary(run: Run) -> Html:
    """The facts one looks for first, and what is to be known of the run."""
    items = [el("div", {}, el("dt", {}, name), el("dd", {}, value)) for name, value in facts(run)]
    notes = [f"{fault}." for fault in run.faults]
    notes += [f"{heading(run.explanation)}."] if run.explanation else []
    notes += [f"Warning: {remark}." for remark in run.result.get("remarks", ())]
    if run.state != "finished":
        notes.append(
            f"This run is not finished: what follows is its state after {len(run.metrics)} "
            f"{run.unit}{'s'[: len(run.metrics) != 1]}."
        )
    return join(
        [
            verdict(run),
            el("dl", {"class": "facts"}, *items),
            *(el("p", {"class": "note-box", "role": "note"}, note) for note in notes),
        ]
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """State, figure, data, seed, cost and device, each with its name."""
    where = run.settings["hardware"]
    found = [("State", state(run))]
    if run.headline:
        name, value, _ = run.headline
        own = None if run.trained else run.standing.get(run.own_metric or "")
        # The table's trainings have an interval of theirs, which "Where it stands" gives.
        said = f", {_rank(own)}" if own else _spread(run)
        found.append((f"{name[0].upper()}{name[1:]}", f"{value:.4g}{said}"))
    if run.standing and not run.training and (run.trained or not run.own_metric):
        v = run.standing[run.main_metric]
        name = f"{v['data']} test {v['unit']}, from the table"
        if not run.own_metric:
            name = f"Not these data: {name}"
        found.append((name, f"{v['value']:.4g}, {_rank(v)}"))
    found += [
        ("Data", run.data),
        ("Seeds" if len(seeds(run)) > 1 else "Seed", ", ".join(map(str, seeds(run)))),
        ("Cost", f"{_time(run.spent('seconds'))}, CPU {_time(run.spent('cpu_seconds'))}"),
        ("Device", f"{where['accelerator']} x {where.get('devices', 1)}"),
    ]
    return found


def _rank(v: Mapping[str, Any]) -> str:
    return f"rank {v['rank']:,} of {v['of']:,}"


def _spread(run: Run) -> str:
    """The interval of the headline, or that there is none."""
    seeds, ends = run.spread
    if ends is not None:
        number = run.task.number
        held = next(iter(run.reached.values()), {})
        covers = f" {run.task.covers(held)}" if held.get("examples") else ""
        return f" (95 % interval {number(ends[0])} to {number(ends[1])}{covers})"
    return ", one seed: no interval" if seeds == 1 else ""


def state(run: Run) -> str:
    """`finished, 8 epochs`, and of a search in phases how many each has."""
    parts = ", ".join(f"{name} {count(length)}" for name, _, length in run.phases)
    return f"{run.state}, {count(len(run.metrics))} {run.unit}{'s'[: len(run.metrics) != 1]}" + (
        f": {parts}" if parts else ""
    )


# -- the architecture ------------------------------------------------------------------------------


def architecture(run: Run, level: int) -> Html | None:
    """The drawing and the notation."""
    arch = run.architecture
    if arch is None:
        return el("p", {}, run.text) if run.text else None
    drawn = picture(run.space, arch) if run.space else choices_table(arch)
    notation = el("code", {"class": "block"}, run.text)
    kept = details("Choice by choice", choices_table(arch)) if run.space else None
    return join([el("div", {"class": "drawing"}, drawn), el("p", {}, notation), kept])


# -- the benchmark ---------------------------------------------------------------------------------


def where(run: Run, level: int, *, alone: bool = True) -> Html | None:
    """Value, rank and regret by the table, and the cloud of all its architectures."""
    if not run.standing or run.table is None:
        return None
    described = benchmarks.describe(run.table.name)
    ranged = any(v["interval_95"] for v in run.standing.values())
    rows = [
        [
            v["data"],
            rounded(v["value"], v["unit"]),
            *([_interval(v)] if ranged else []),
            f"{v['rank']:,} of {v['of']:,}",
            rounded(v["optimum"], v["unit"]),
            rounded(v["regret"], v["unit"]),
            ", ".join([*([f"{v['epochs']} epochs"] if v["epochs"] else []), v["seeds"]]),
        ]
        for v in run.standing.values()
    ]
    unit = next(iter(run.standing.values()))["unit"]
    head = ["data set", f"test, {unit}", *(["95 % interval"] if ranged else []), "rank"]
    head += ["optimum", "regret", "training"]
    told = (
        f"Test figures of the {described.title} table, measured by its authors with their own "
        "training, each architecture trained from scratch. They were looked up for this page; "
        f"the {'training' if run.training else 'search'} read none of them."
    )
    if run.own_metric is None:
        told += f" They are not of {run.data}, on which this run is."
    return join(
        [
            el("p", {}, told),
            table(f"Test figures of the {described.title} table", head, rows, cards=True),
            el("div", {"class": "figures"}, *clouds([run], level)) if alone else None,
            el("p", {"class": "source"}, f"Source: {described.citation}."),
        ]
    )


def _interval(v: dict[str, object]) -> str:
    pair = v["interval_95"]
    if not isinstance(pair, list):
        return "not given"
    return " to ".join(rounded(x, str(v["unit"])) for x in pair)


# -- the search ------------------------------------------------------------------------------------


def search(run: Run, level: int) -> Html | None:
    """Curves over epochs, or over the architectures scored."""
    if not run.metrics:
        return None
    if run.training:
        drawn = trained(run, level)
    elif run.black_box:
        drawn = scored(run, level)
    else:
        drawn = [*learning(run, level), *others(run, level)]
    return el("div", {"class": "figures"}, *drawn) if drawn else None


def candidates(run: Run, level: int) -> Html | None:
    """Several architectures that the search ended with; a Pareto front is drawn with the scores."""
    several = run.result.get("candidates")
    if not isinstance(several, list) or not several or "reference" in run.result:
        return None
    names = [name for name in several[0] if name != "architecture"]
    rows = [[str(c["architecture"]), *(f"{float(c[name]):.5g}" for name in names)] for c in several]
    title = f"The {len(several)} architectures that the search offers, the best first"
    return table(title, ["architecture", *names], rows, shown=True, cards=True)


ENTROPY = (
    "Mean entropy of the gates of a choice, divided by that of uniform gates: 1 is undecided, 0 "
    "decided."
)

SKIPS = (
    "Choices that would keep a skip connection, were the search to end here; many of them are the "
    "mark of a collapse."
)

CHANGED = "Share of the choices whose derived value is another than an epoch before."


def learning(run: Run, level: int) -> list[Html]:
    """Losses, the metric with the discretization gap, entropy, skip connections."""
    where = f"seed {run.seed}"
    task = run.task
    classified = task.classes or "task" not in run.config
    what = "Cross entropy" if classified else "The task's loss"
    losses = f"{what}, mean over the steps of an epoch; one search, {where}."
    count = run.settings.get("diagnostics", {}).get("images", "")
    measured = [(f"{name}_{task.metric}", words) for name, words in MEASURED]
    gap = (
        f"On {count} search-validation {task.examples}, with the weights of the supernet; {where}. "
        f"{_gap(run)}"
    )
    entropy = (("entropy", "normalised entropy"),)
    skips = (("skips", "skip connections"),)
    changed = (("decisions_changed", "share of choices"),)
    made = [
        learning_curves([(run.method, 0, [run])], level),
        _over_epochs(run, level, "Loss", losses, LOSSES, "loss"),
        _over_epochs(run, level, "Supernet and its discretization", gap, measured, task.label),
        _over_epochs(run, level, "Entropy of the gates", ENTROPY, entropy, share=True),
        _over_epochs(run, level, "Skip connections", SKIPS, skips, whole=True),
        _over_epochs(run, level, "Decisions changed", CHANGED, changed, share=True),
    ]
    return [m for m in made if m is not None]


def others(run: Run, level: int) -> list[Html]:
    """Whatever else the method measures, a chart each."""
    plain = PLAIN | {f"{name}_{run.task.metric}" for name, _ in MEASURED} | own(run.task)
    names = dict.fromkeys(name for row in run.metrics for name in row if name not in plain)
    text = f"A measure of {run.method}'s own, mean over the steps of an epoch; seed {run.seed}."
    made = []
    for name in names:
        words = name.replace("_", " ")
        made.append(_over_epochs(run, level, words[0].upper() + words[1:], text, [(name, words)]))
    return [m for m in made if m is not None]


def _gap(run: Run) -> str:
    task = run.task
    gap = task.gap(run.metrics[-1])
    if gap is None:
        return ""
    points = f"{gap:.1f} points" if task.unit == "%" else task.value(gap)
    return (
        f"Discretization gap after the last epoch: {points}, with the batch norms' "
        f"statistics measured anew on these {task.examples}."
    )


def _over_epochs(
    run: Run,
    level: int,
    title: str,
    text: str,
    names: Sequence[tuple[str, str]],
    label: str = "",
    *,
    whole: bool = False,
    share: bool = False,
) -> Html | None:
    """A chart of entries of the metrics over epochs; None if there are none of them."""
    series = [Series(words, run.series(name), i) for i, (name, words) in enumerate(names)]
    values = [y for s in series for _, y in s.points]
    if not values:
        return None
    x = horizontal([x for s in series for x, _ in s.points], "epoch", whole=True)
    y = vertical(values, label or names[0][1], whole=whole, zero=whole, share=share)
    starts = [(float(first), name) for name, first, _ in run.phases]
    return lines(title, text, series, x, y, level=level, starts=starts)


# -- architecture parameters -----------------------------------------------------------------------


def parameters(run: Run, level: int) -> Html | None:
    """A heat map for each group of choices."""
    groups = run.metrics[-1].get("gates") if run.metrics else None
    if not isinstance(groups, dict):
        return None
    made = []
    for group in groups:
        panels = _panels(run, group)
        if panels:
            epochs = list(range(1, len(run.metrics) + 1))
            title = f"Gates over time: {group}" if len(groups) > 1 else "Gates over time"
            text = (
                "The weight that each option of a choice has in the supernet, epoch by epoch; "
                f"seed {run.seed}."
            )
            made.append(figure(title, text, heat_maps(panels, epochs), level=level, wide=True))
    return join(made) if made else None


def _panels(run: Run, group: str) -> list[Panel]:
    gates, alphas = (matrices(run.metrics, key, group) for key in ("gates", "alpha"))
    if not gates:
        return []
    members = run.space.groups.get(group, ()) if run.space else ()
    panels = []
    for i, row in enumerate(gates[0]):
        choice = members[i] if i < len(members) else None
        name = choice.name if choice else group if len(gates[0]) == 1 else f"{group} {i + 1}"
        known = choice.options if choice else [f"option {k + 1}" for k in range(len(row))]
        arch = run.architecture
        kept = arch.get(name, ()) if arch is not None else ()
        over = [m[i][: len(known)] for m in alphas] if len(alphas) == len(gates) else None
        panels.append(Panel(_plain(name), known, kept, [m[i][: len(known)] for m in gates], over))
    return panels


def _plain(name: str) -> str:
    """`edge_0_1` and `normal_2_0` in words."""
    parts = name.split("_")
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        source, target = (parts[1], parts[2]) if parts[0] == "edge" else (parts[2], parts[1])
        return f"{'edge' if parts[0] == 'edge' else parts[0] + ' cell,'} {source} to {target}"
    return name.replace("_", " ")


# -- data ------------------------------------------------------------------------------------------


def data(run: Run, level: int) -> Html | None:
    """Which examples did what, what was done to them, and what is to be known of them."""
    told = run.config.get("task")
    if not isinstance(told, Mapping):
        return None
    parts = told.get("parts")
    names = {"train": "Train part", "valid": "Held-out part" if run.training else "Search part"}
    rows = [
        (names[part], str(parts[part]))
        for part in names
        if isinstance(parts, Mapping) and part in parts
    ]
    done, said = (told.get(key) for key in ("prepared", "remarks"))
    if isinstance(done, list):
        rows.append(("What was done to them", "; ".join(map(str, done)) or "nothing"))
    if isinstance(said, list):
        rows += [("To be known", f"{sentence}") for sentence in said]
    if not rows:
        return None
    items = [el("div", {}, el("dt", {}, k), el("dd", {}, v)) for k, v in rows]
    return el("dl", {"class": "provenance"}, *items)


# -- cost and provenance ---------------------------------------------------------------------------


def cost(run: Run, level: int) -> Html | None:
    """Time and examples."""
    if not run.metrics:
        return None
    n = len(run.metrics)
    rows = [
        [title, _time(run.spent(name)), _time(run.spent(name) / n)]
        for name, title in (("seconds", "wall clock"), ("cpu_seconds", "CPU time"))
    ]
    examples = run.metrics[-1].get("examples")
    for part, drawn in run.task.drawn_of(examples if isinstance(examples, dict) else {}).items():
        what = f"{run.task.drawn} drawn, {SEARCHED[part]}"
        rows.append([what, count(drawn), count(round(drawn / n))])
    if run.task.gathered:
        spent = run.spent("cpu_seconds")
        whole = sum(max(map(taken, rows)) for rows in _by_seed(run))
        rate = count(round(whole / spent)) if spent else ""
        rows.append([f"{run.task.gathered} for a second of CPU time", rate, ""])
    machine = run.config.get("machine", "unknown machine")
    return join(
        [
            table("Cost", ["quantity", "in all", f"per {run.unit}"], rows),
            _limits(run),
            el("p", {}, f"Measured by the run itself on: {machine}."),
        ]
    )


def _by_seed(run: Run) -> list[list[Mapping[str, Any]]]:
    """Lines of the metrics of each seed."""
    every = dict.fromkeys(row.get("seed") for row in run.metrics)
    return [[row for row in run.metrics if row.get("seed") == seed] for seed in every]


def _limits(run: Run) -> Html | None:
    """What the network that was found costs beside each limit, and how many keep them."""
    held = run.result.get("limits") or ()
    rows = [
        [k["limit"], f"{k['value']:,.10g}", k["unit"], "yes" if k["kept"] else "no"] for k in held
    ]
    if not rows:
        return None
    share = run.config.get("share") or {}
    said = el("p", {}, f"Before the search: {share['sentence']}.") if share else None
    return join([table("Limits", ["limit", "of the network", "unit", "kept"], rows), said])


def _time(seconds: float) -> str:
    return duration(seconds) if seconds >= 0.05 else "under 0.1 s"


def reproduce(run: Run, level: int) -> Html | None:
    """The command, versions and every setting."""
    versions = run.config.get("versions")
    held = versions if isinstance(versions, dict) else {}
    said = ", ".join(f"{name} {version}" for name, version in held.items())
    split = run.result.get("split") or ("not written yet")
    command = str(run.config.get("command", "unknown"))
    again = shell("morphogen", "resume", Path(run.path))
    chosen = {key: run.config[key] for key in ("method", "space", "data", "settings", "config")}
    facts = [
        ("Data", f"{run.data}; {split}"),
        ("Seed", f"{run.seed}; the same seed gives the same bits on the same machine"),
        *(("Searched on", str(entry["note"])) for entry in run.config.get("extended", ())),
        *(("Of the search", text) for text in [run.config.get("inherited")] if text),
        ("Started", str(run.config.get("created", "unknown"))),
        ("Versions", said or "unknown"),
        ("Machine", str(run.config.get("machine", "unknown"))),
        ("Run directory", run.path),
    ]
    return join(
        [
            el("code", {"class": "block command"}, command),
            el("p", {}, "To go on: ", el("code", {}, again))
            if run.state in ("cut off", "ended early")
            else None,
            el(
                "dl",
                {"class": "provenance"},
                *(el("div", {}, el("dt", {}, k), el("dd", {}, v)) for k, v in facts),
            ),
            details(
                "Every setting",
                el("pre", {"tabindex": 0}, yaml.safe_dump(chosen, sort_keys=False)),
            ),
        ]
    )
