"""Several runs side by side: means with intervals, differences per seed, curves overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from morphogen.core.statistics import contrast, interval
from morphogen.core.text import duration
from morphogen.reports.charts import Series, lines
from morphogen.reports.clouds import clouds
from morphogen.reports.gathered import learning_curves
from morphogen.reports.groups import Group, groups, names, plain
from morphogen.reports.html import Child, Html, details, el, join, table
from morphogen.reports.measures import Measure, listed, measured, seeds, told_apart
from morphogen.reports.run import Run
from morphogen.reports.scale import horizontal, vertical
from morphogen.reports.scores import rising, thin
from morphogen.reports.trained import points as of_seed
from morphogen.runs.described import spelt, title
from morphogen.runs.verdict import Verdict

Points = Sequence[tuple[float, float]]

ENOUGH = 3
"""Seeds from which a difference begins to tell something."""


def _curves(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Entry of the metrics, title and axis of each chart; those of the metric for each task."""
    made = [
        ("train_loss", "Loss on the training part", "loss"),
        ("valid_loss", "Loss on the search-validation part", "loss"),
    ]
    for task in dict.fromkeys((r.task.metric, r.task.label) for r in runs):
        metric, label = task
        made += [
            (f"held_out_{metric}", f"{title(spelt(metric))} on held-out examples", label),
            (f"supernet_{metric}", f"{title(spelt(metric))} of the supernet", label),
            (
                f"recalibrated_{metric}",
                f"{title(spelt(metric))} once discretised, norms recalibrated",
                label,
            ),
        ]
    return [
        *made,
        ("entropy", "Entropy of the gates", "normalised entropy"),
        ("skips", "Skip connections", "skip connections"),
    ]


def run_titles(runs: Sequence[Run]) -> list[str]:
    """`1: darts-0`: how each run is called all over the page."""
    return [f"{i}: {name}" for i, name in enumerate(names(runs), start=1)]


def summary(runs: Sequence[Run]) -> Html:
    """What is compared, and what to beware of."""
    made = groups(runs)
    each = [el("li", {}, el("b", {}, g.name), f": {_counted(g)}") for g in made]
    n = len(made)
    text = f"{len(runs)} runs of {n} configuration{'s'[: n != 1]}:"
    boxes = [el("p", {"class": "note-box", "role": "note"}, note) for note in _notes(runs, made)]
    return join([el("p", {"class": "lead"}, text), el("ul", {"class": "pairs"}, *each), *boxes])


def _counted(g: Group) -> str:
    """`search by darts, 3 seeds`."""
    what = "training from scratch" if g.runs[0].training else f"search by {g.runs[0].method}"
    n = len(g.seeds)
    return f"{what}, {n} seed{'s'[: n != 1]}" if n else f"{what}, not finished"


def _notes(runs: Sequence[Run], made: Sequence[Group]) -> list[str]:
    notes = [f"{r.path}: {fault}." for r in runs for fault in r.faults]
    notes += [
        f"{r.path} is {r.state}, and counts in no mean." for r in runs if r.state != "finished"
    ]
    notes += [
        f"{' and '.join(g.names)} have the same settings and {_listed(g.repeated)}, which counts "
        "once, as in the first of them."
        for g in made
        if g.repeated
    ]
    if len({(r.data, r.training) for r in runs}) > len({r.training for r in runs}):
        notes.append("The runs are of different data: their figures stand in columns of their own.")
    for kind in (True, False):
        alike = [g for g in made if g.runs[0].training is kind]
        what = {k for g in alike for k in g.different if not _expected(k)}
        if kind and what:
            notes.append(
                "The trainings differ in more than the architecture: "
                f"{', '.join(sorted(map(plain, what)))} (see What differs)."
            )
    if any(0 < len(g.seeds) < ENOUGH for g in made):
        notes.append("With fewer than three seeds a difference proves little.")
    return notes


def _expected(setting: str) -> bool:
    """Whether trainings that are compared may well differ in it."""
    return setting in ("config.architecture", "data") or setting.startswith("space")


def _listed(repeated: Sequence[int]) -> str:
    return f"seed{'s'[: len(repeated) != 1]} {', '.join(map(str, repeated))}"


def sections(runs: Sequence[Run]) -> list[tuple[str, Html]]:
    """Titles and bodies of the sections that compare."""
    made = groups(runs)
    found = [("Results", _results(runs, made))]
    differences = _differences(made)
    if differences:
        found.append(("Differences", differences))
    other = _different(made)
    if other:
        found.append(("What differs", other))
    drawn = _clouds(made)
    if drawn:
        found.append(("In the benchmark", el("div", {"class": "figures"}, *drawn)))
    learnt = learning_curves([(g.name, g.style, g.runs) for g in made], 3)
    curves = [] if learnt is None else [learnt]
    curves += [c for c in (_curve(made, *what) for what in _curves(runs)) if c is not None]
    scored = _best_so_far(made)
    curves += [scored] if scored else []
    if curves:
        found.append(("Curves", el("div", {"class": "figures"}, *curves)))
    return found


# -- results ---------------------------------------------------------------------------------------


def _results(runs: Sequence[Run], made: Sequence[Group]) -> Html:
    every = dict.fromkeys(m for g in made for m in [*g.values, *g.listed])
    measures = sorted(every, key=lambda m: not m.data)  # what a table says comes last
    headings = told_apart(measures)
    directions = {m.higher_is_better for m in measures}
    rows = [
        [
            g.name,
            str(len(g.seeds)),
            *(_mean(g, m) for m in measures),
            duration(g.spent("seconds")),
            duration(g.spent("cpu_seconds")),
        ]
        for g in made
    ]
    mixed = len(directions) > 1
    columns = [f"{headings[m]}{f'; {_better(m)}' * mixed}" for m in measures]
    head = ["configuration", "seeds", *columns, "wall clock a seed", "CPU a seed"]
    each = [
        [
            el("a", {"href": f"#run-{i}"}, name),
            run.state,
            ", ".join(map(str, seeds(run))),
            *(_figure(run, m) for m in measures),
            duration(run.spent("seconds")),
        ]
        for i, (name, run) in enumerate(zip(run_titles(runs), runs, strict=True), start=1)
    ]
    text = (
        "Means over seeds with their 95 % intervals in brackets (Student's t), finished runs only. "
        "Each column is one way of measuring; figures of different columns do not compare."
    )
    if len(directions) == 1:
        text += f" {_better(measures[0]).capitalize()}."
    if any(g.listed for g in made):
        text += (
            " What the table says of an architecture that was trained is no result of that "
            "training: it is the table's own."
        )
    return join(
        [
            el("p", {}, text),
            table("Means by configuration", head, rows, cards=True),
            el("h3", {}, "Run by run"),
            table(
                "Run by run",
                ["run", "state", "seeds", *headings.values(), "wall clock"],
                each,
                cards=True,
            ),
        ]
    )


def _better(m: Measure) -> str:
    return f"{'higher' if m.higher_is_better else 'lower'} is better"


def _mean(g: Group, m: Measure) -> str:
    values = [v for _, v in sorted(g.values.get(m, {}).items())]
    if not values:
        return f"its architecture: {m.number(g.listed[m])}" if m in g.listed else ""
    return _with_interval(m, values)


def _with_interval(m: Measure, values: Sequence[float]) -> str:
    known = interval(values)
    if "low" not in known:
        return m.number(known["mean"])
    low, high = known["low"], known["high"]
    if m.unit == "%":
        low, high = max(low, 0.0), min(high, 100.0)
    return f"{m.number(known['mean'])} ({m.number(low)} to {m.number(high)})"


def _figure(run: Run, m: Measure) -> str:
    """Of one run: with the rank where the figure is a table's."""
    values = list(measured(run).get(m, {}).values())
    looked_up = listed(run).get(m)
    if looked_up is not None:
        values = [looked_up]
    if not values:
        return ""
    ranked = run.standing.get(run.main_metric) if run.standing and not m.data else None
    if ranked:
        return f"{m.number(values[0])}, rank {ranked['rank']:,} of {ranked['of']:,}"
    return _with_interval(m, values)


# -- differences -----------------------------------------------------------------------------------


def _differences(made: Sequence[Group]) -> Html | None:
    """For each two configurations that share a measure and seeds, what may be said of them."""
    measures = list(dict.fromkeys(m for g in made for m in g.values))
    headings = told_apart(measures)
    parts: list[Html] = []
    pairs = 0
    for m in measures:
        said, rows = [], []
        for a, b in combinations([g for g in made if m in g.values], 2):
            shared = sorted(a.values[m].keys() & b.values[m].keys())
            if not shared:
                continue
            said.append(el("li", {}, el("b", {}, a.name), f": {_verdict(a, b, m, shared)}."))
            for s in shared:
                x, y = a.values[m][s], b.values[m][s]
                name = f"{a.name} minus {b.name}, seed {s}"
                rows.append([name, m.number(x), m.number(y), _signed(m, x - y)])
        if not said:
            continue
        pairs += len(said)
        heading = headings[m]
        head = ["of which", "the first", "the second", "difference"]
        parts += [
            el("h3", {}, f"{heading[0].upper()}{heading[1:]}"),
            el("ul", {"class": "pairs"}, *said),
            details("Seed by seed", table(f"Differences in {heading}", head, rows, cards=True)),
        ]
    if not parts:
        return None
    text = (
        "Runs with the same seed are set against each other: what the seed does to both (the "
        "split, the order of the data) cancels. Differences are within one way of measuring alone."
    )
    if pairs > 1:
        text += (
            f" Each interval is of its pair alone; among {pairs} of them one in twenty is free of "
            "0 by chance."
        )
    return join([el("p", {}, text), *parts])


def _verdict(a: Group, b: Group, m: Measure, shared: Sequence[int]) -> str:
    found = contrast([[g.values[m][s] for s in shared] for g in (a, b)], 0, 1)
    return Verdict.of(
        found,
        against=b.name,
        metric=m.metric,
        unit=m.unit,
        higher_is_better=m.higher_is_better,
    ).sentence


def _signed(m: Measure, value: float) -> str:
    return f"{'+' if value >= 0 else '-'}{m.number(abs(value))}"


def _different(made: Sequence[Group]) -> Html | None:
    """Every setting in which configurations of one kind differ, whole."""
    rows = []
    for g in made:
        cells: list[Child] = []
        for setting, value in g.different.items():
            if setting == "config.architecture" or not isinstance(value, str | int | float):
                cells.append(el("span", {}, f"{plain(setting)} ", el("code", {}, str(value))))
            else:
                cells.append(f"{plain(setting)} {value}")
        if cells:
            rows.append([g.name, join(cells, "; ")])
    if not rows:
        return None
    text = "Settings in which configurations of the same method differ, but for the seed."
    head = ["configuration", "settings"]
    return join([el("p", {}, text), table("What differs", head, rows, cards=True)])


# -- figures ---------------------------------------------------------------------------------------


def _clouds(made: Sequence[Group]) -> list[Html]:
    """One set of clouds for each space with a table; trainings are there once."""
    drawn: list[Html] = []
    for space in dict.fromkeys(g.runs[0].space_name for g in made):
        pairs = [
            (run, (g.name, g.style))
            for g in made
            for run in (g.runs[:1] if g.runs[0].training else g.runs)
            if run.space_name == space and run.standing
        ]
        if pairs:
            drawn += clouds([p[0] for p in pairs], 3, [p[1] for p in pairs])
    return drawn


def _curve(made: Sequence[Group], name: str, heading: str, label: str) -> Html | None:
    text = "One line for each seed; those of one configuration have one colour."
    found: list[tuple[Group, int, Points]] = []
    for g in made:
        for run in g.runs:
            if run.training:
                found += [(g, s, of_seed(run, name, s)) for s in seeds(run)]
            else:
                found.append((g, run.seed, run.series(name)))
    return _overlaid(made, found, heading, text, label, share=name == "entropy")


def _best_so_far(made: Sequence[Group]) -> Html | None:
    found: list[tuple[Group, int, Points]] = []
    labels = set()
    for g in made:
        for run in g.runs:
            sign = run.task.sign if run.judged else 1
            points = [(x, sign * y) for x, y in thin(rising(run), 500)]
            found.append((g, run.seed, points))
            labels |= {run.task.label if run.judged else "score"} if points else set()
    label = f"best {labels.pop() if len(labels) == 1 else 'score'}"
    text = "Best score so far by architectures scored; one line for each run."
    return _overlaid(made, found, "Best score so far", text, label, "architecture")


def _overlaid(
    made: Sequence[Group],
    found: Sequence[tuple[Group, int, Points]],
    heading: str,
    text: str,
    label: str,
    unit: str = "epoch",
    *,
    share: bool = False,
) -> Html | None:
    series = [Series(f"{g.name}, seed {seed}", p, g.style) for g, seed, p in found if p]
    if not series:
        return None
    x = horizontal([a for s in series for a, _ in s.points], unit, whole=True)
    y = vertical([b for s in series for _, b in s.points], label, share=share)
    drawn = {g.name for g, _, p in found if p}
    legend = [(g.name, g.style) for g in made if g.name in drawn]
    return lines(heading, text, series, x, y, names=legend)
