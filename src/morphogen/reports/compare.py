"""Several runs side by side: means with intervals, differences per seed, curves overlaid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Any

from morphogen.core.statistics import interval
from morphogen.reports.charts import Series, lines
from morphogen.reports.clouds import clouds
from morphogen.reports.html import Html, el, join, table
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical
from morphogen.reports.scores import rising, thin
from morphogen.reports.text import count, duration, figure
from morphogen.runs.described import title


def _curves(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Entry of the metrics, title and axis of each chart; those of the metric for each task."""
    made = [("valid_loss", "Loss on the search-validation part", "loss")]
    for task in dict.fromkeys((r.task.metric, r.task.label) for r in runs):
        metric, label = task
        made += [
            (f"supernet_{metric}", f"{title(metric)} of the supernet", label),
            (
                f"recalibrated_{metric}",
                f"{title(metric)} once discretised, norms recalibrated",
                label,
            ),
        ]
    return [
        *made,
        ("entropy", "Entropy of the gates", "normalised entropy"),
        ("skips", "Skip connections", "skip connections"),
    ]


STYLES = 8
"""Colours there are; further groups begin again."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    runs: Sequence[Run]
    style: int

    @cached_property
    def values(self) -> dict[int, float]:
        """Seed -> figure to compare by, of the runs that are finished."""
        found = {r.seed: r.headline for r in self.runs if r.state == "finished"}
        return {seed: h[1] for seed, h in found.items() if h is not None}

    @property
    def figure(self) -> str:
        """What the values are of."""
        return next((h[0] for r in self.runs if r.state == "finished" and (h := r.headline)), "")


def groups(runs: Sequence[Run]) -> list[Group]:
    """The runs by all that decides their numbers but the seed, named by what differs."""
    decided = [_decisive(run) for run in runs]
    members: dict[tuple[str, ...], list[int]] = {}
    for i, values in enumerate(decided):
        members.setdefault(tuple(f"{k}={v}" for k, v in values.items()), []).append(i)
    made = []
    for n, indices in enumerate(members.values()):
        run = runs[indices[0]]
        others = [d for d, r in zip(decided, runs, strict=True) if r.method == run.method]
        own = decided[indices[0]]
        differ = [k for k, v in own.items() if any(o.get(k, v) != v for o in others)]
        name = run.method
        if differ:
            what = [f"{k.split('.', 1)[-1]} {own[k]}" for k in differ[:3]] + ["..."][
                : len(differ) > 3
            ]
            name += f" ({', '.join(what)})"
        made.append(Group(name, [runs[i] for i in indices], n % STYLES))
    return made


def summary(runs: Sequence[Run]) -> Html:
    """What is compared, in two sentences, and what to beware of."""
    made = groups(runs)
    names = {h[0] for r in runs if (h := r.headline)}
    text = (
        f"{len(runs)} runs of {len(made)} configuration{'s'[: len(made) != 1]}: "
        + "; ".join(f"{g.name}, {len(g.runs)} seed{'s'[: len(g.runs) != 1]}" for g in made)
        + "."
    )
    notes = [f"{r.path}: {fault}." for r in runs for fault in r.faults]
    notes += [
        f"{r.path} is {r.state}, and counts in no mean." for r in runs if r.state != "finished"
    ]
    if len({(r.space_name, r.data) for r in runs}) > 1:
        notes.append("The runs are of different spaces or data: their figures do not compare.")
    if len(names) > 1:
        notes.append(f"The runs are measured by different figures: {', '.join(sorted(names))}.")
    if any(len(g.values) < 3 for g in made):
        notes.append("With fewer than three seeds a difference between methods proves little.")
    boxes = [el("p", {"class": "note-box", "role": "note"}, note) for note in notes]
    return join([el("p", {"class": "lead"}, text), *boxes])


def sections(runs: Sequence[Run]) -> list[tuple[str, Html]]:
    """Titles and bodies of the sections that compare."""
    made = groups(runs)
    found = [("Results", _results(runs, made))]
    differences = _differences(made)
    if differences:
        found.append(("Differences per seed", differences))
    drawn = _clouds(made)
    if drawn:
        found.append(("In the benchmark", el("div", {"class": "figures"}, *drawn)))
    curves = [c for c in (_curve(made, *what) for what in _curves(runs)) if c is not None]
    scored = _best_so_far(made)
    curves += [scored] if scored else []
    if curves:
        found.append(("Curves", el("div", {"class": "figures"}, *curves)))
    return found


def _results(runs: Sequence[Run], made: Sequence[Group]) -> Html:
    headlines = [h for r in runs if (h := r.headline)]
    name, higher = (headlines[0][0], headlines[0][2]) if headlines else ("result", True)
    several = len({h[0] for h in headlines}) > 1
    rows = []
    for g in made:
        values = list(g.values.values())
        known = interval(values) if values else {}
        number = g.runs[0].task.number
        mean = number(known["mean"]) if known else ""
        if "high" in known:
            mean += f" ± {number(known['high'] - known['mean'])}"
        up = all(h[2] for r in g.runs if (h := r.headline))
        best = (max if up else min)(values, default=math.nan)
        rows.append(
            [
                g.name,
                str(len(values)),
                *([_wrapped(g.figure)] if several else []),
                mean,
                number(best) if values else "",
                duration(fmean(r.spent("seconds") for r in g.runs)),
                duration(fmean(r.spent("cpu_seconds") for r in g.runs)),
            ]
        )
    head = ["configuration", "seeds", *(["of what", "mean ± 95 %"] if several else [])]
    head += [*([] if several else [f"mean ± 95 %: {name}"]), "best", "wall clock", "CPU"]
    each = [
        [
            el("a", {"href": f"#run-{i}"}, f"{i}: {r.method}, seed {r.seed}"),
            r.state,
            *([_wrapped(r.headline[0] if r.headline else "")] if several else []),
            r.task.number(r.headline[1]) if r.headline else "",
            _rank(r),
            f"{skips[-1][1]:.0f}" if (skips := r.series("skips")) else "",
            count(len(r.metrics)),
            duration(r.spent("seconds")),
        ]
        for i, r in enumerate(runs, start=1)
    ]
    columns = ["run", "state", *(["of what", "figure"] if several else [name])]
    columns += ["test, from the table", "skips", "epochs or architectures", "wall clock"]
    better = f"{name[0].upper()}{name[1:]}, {'higher' if higher else 'lower'} is better"
    text = (
        f"{'Figures of different things do not compare' if several else better}; means over "
        "seeds with 95 % intervals (Student's t), finished runs only."
    )
    return join(
        [
            el("p", {}, text),
            table("Means by configuration", head, rows),
            el("h3", {}, "Run by run"),
            table("Run by run", columns, each),
        ]
    )


def _wrapped(words: str) -> Html:
    return el("span", {"class": "wrapped"}, words)


def _rank(run: Run) -> str:
    if not run.standing:
        return ""
    v = run.standing[run.main_metric]
    return f"{v['data']} {figure(v['value'], v['unit'])}, rank {v['rank']:,} of {v['of']:,}"


def _differences(made: Sequence[Group]) -> Html | None:
    """For each two configurations of one space, data and figure, the latter seed by seed."""
    parts: list[Html] = []
    for a, b in combinations(made, 2):
        same = {(g.runs[0].space_name, g.runs[0].data, g.figure) for g in (a, b)}
        seeds = sorted(a.values.keys() & b.values.keys())
        if len(same) > 1 or not seeds:
            continue
        gaps = [a.values[s] - b.values[s] for s in seeds]
        known = interval(gaps)
        number, signed = a.runs[0].task.number, a.runs[0].task.signed
        text = f"Mean difference {signed(known['mean'])}"
        if "low" in known:
            text += f", 95 % interval {signed(known['low'])} to {signed(known['high'])}"
        text += f", {len(seeds)} seed{'s'[: len(seeds) != 1]}."
        rows = [
            [str(s), number(a.values[s]), number(b.values[s]), signed(gap)]
            for s, gap in zip(seeds, gaps, strict=True)
        ]
        title = f"{a.name} minus {b.name}"
        drawn = table(title, ["seed", a.name, b.name, "difference"], rows)
        parts.append(el("div", {}, el("h3", {}, title), el("p", {}, text), drawn))
    return el("div", {"class": "figures"}, *parts) if parts else None


def _clouds(made: Sequence[Group]) -> list[Html]:
    """One set of clouds for each space with a table."""
    drawn: list[Html] = []
    for space in dict.fromkeys(g.runs[0].space_name for g in made):
        pairs = [
            (run, (g.name, g.style))
            for g in made
            for run in g.runs
            if run.space_name == space and run.standing
        ]
        if pairs:
            drawn += clouds([p[0] for p in pairs], 3, [p[1] for p in pairs])
    return drawn


def _curve(made: Sequence[Group], name: str, title: str, label: str) -> Html | None:
    text = "One line for each run; runs of one configuration have one colour."
    found = [(g, r, r.series(name)) for g in made for r in g.runs]
    return _overlaid(made, found, title, text, label, share=name == "entropy")


def _best_so_far(made: Sequence[Group]) -> Html | None:
    found: list[tuple[Group, Run, Sequence[tuple[float, float]]]] = []
    for g in made:
        for run in g.runs:
            sign = run.task.sign if run.judged else 1
            found.append((g, run, [(x, sign * y) for x, y in thin(rising(run), 500)]))
    labels = {run.task.label if run.judged else "score" for _, run, points in found if points}
    label = f"best {labels.pop() if len(labels) == 1 else 'score'}"
    text = "Best score so far by architectures scored; one line for each run."
    return _overlaid(made, found, "Best score so far", text, label, "architecture")


def _overlaid(
    made: Sequence[Group],
    found: Sequence[tuple[Group, Run, Sequence[tuple[float, float]]]],
    title: str,
    text: str,
    label: str,
    unit: str = "epoch",
    *,
    share: bool = False,
) -> Html | None:
    series = [Series(f"{g.name}, seed {r.seed}", p, g.style) for g, r, p in found if p]
    if not series:
        return None
    x = horizontal([a for s in series for a, _ in s.points], unit, whole=True)
    y = vertical([b for s in series for _, b in s.points], label, share=share)
    shown = {s.style for s in series}
    names = [(g.name, g.style) for g in made if g.style in shown]
    return lines(title, text, series, x, y, names=names)


def _decisive(run: Run) -> dict[str, Any]:
    """All that decides a run's numbers, without the seed, flat."""
    kept = {k: run.config[k] for k in ("method", "space", "data", "settings", "config")}
    flat = dict(_flat(kept))
    for harmless in ("settings.seed", "settings.loggers"):
        flat.pop(harmless, None)
    return flat


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{key}.")
        else:
            out.append((f"{prefix}{key}", value))
    return out
