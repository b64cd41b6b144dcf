"""`search` and `resume`: from words to a run, and from its result to a report. Imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from morphogen import benchmarks, spaces
from morphogen.cli.catalogue import MethodEntry
from morphogen.cli.command import HELP
from morphogen.cli.interruptible import interruptible
from morphogen.cli.kinds import refuse_beside, sections_beside
from morphogen.cli.options import Section, given_fields, parse, peek, sections, show
from morphogen.cli.terminal.interrupts import INTERRUPTED
from morphogen.cli.terminal.output import print_json, show_drawing, width
from morphogen.cli.terminal.watching import watcher
from morphogen.core.config import altered, config, from_mapping
from morphogen.core.names import shell, shown
from morphogen.core.ranges import SEED
from morphogen.core.text import columns, count, duration, fold
from morphogen.engine.search.planning.plan import NAME as PLANNED
from morphogen.engine.search.planning.plan import usual_space, usual_time
from morphogen.engine.search.presets import Preset, paper_preset, quick_preset
from morphogen.engine.search.result import SearchResult
from morphogen.engine.search.search import search as run_search
from morphogen.engine.search.settings import BATCH_SIZE, Settings, Split
from morphogen.engine.sizes import usual
from morphogen.methods import MethodInfo, find
from morphogen.reports.draw import draw
from morphogen.reports.reading import read_run
from morphogen.reports.standing import result_text, standing
from morphogen.runs.described import SEARCHED, Described
from morphogen.runs.described import title as heading
from morphogen.runs.directory import RunDirectory
from morphogen.runs.tabled import metric_on
from morphogen.tasks.kinds import USUAL_DATA, config_for, configured


@config
class Target:
    """What is searched, on what, and where it is written."""

    space: str = ""
    """search space; `morphogen list spaces` names them (default: nasbench201, without a METHOD
    anynet; for signals signal201)"""
    data: str = USUAL_DATA
    """fashion-mnist (shipped), the path of a parquet or .npz file, of images or signals, or of an
    image folder, hf:NAME for a data set of the Hugging Face library, or cifar10:PATH,
    cifar100:PATH, fashion-mnist:PATH for a standard set; the test part stays closed"""
    run: str = ""
    """new run directory (default: runs/METHOD-SPACE-TIME)"""
    start: str = ""
    """a finished run whose trained supernet this search begins with, on the same or on other data:
    then its classifier is drawn anew. Space, channels and depth must be that run's"""
    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes on a small machine; paper: sizes, epochs and rates of the publication, for a
    GPU and full data. Other options override either"""
    baseline: bool = False
    """in the end train what was found, the space's reference network and a random architecture from
    scratch by the same recipe, with 3 seeds each, and say whether the search has paid; that opens
    the test part. For another recipe: `morphogen train RUN --baseline`"""
    json: bool = False
    """print the result as one JSON object on stdout, and progress on stderr"""


@config
class PlannedTarget(Target):
    """What is searched, on what, for how long, and where it is written."""

    time: str = ""
    """wall clock for all of it, as 90s, 30m or 2h: sizes and lengths that you do not set are chosen
    to fit the data and the time (without a METHOD: 2m on the embedded images, 10m on others)"""


def target_for(info: MethodInfo) -> Target:
    """The target of a search by a method."""
    return PlannedTarget() if info.name == PLANNED else Target()


Options = TypeVar("Options")


@dataclass(frozen=True)
class Arguments(Generic[Options]):
    """What the command line sets."""

    target: Target
    settings: Settings
    options: Options
    """of the method"""


def preset(name: str, info: MethodInfo, space: str, data: str = Target().data) -> Preset:
    """The defaults of `--preset name` for a method in a space, on data."""
    kind = config_for(data)
    held = paper_preset(info, space) if name == "paper" else quick_preset(info, space, kind())
    task = configured(held.settings.task, kind)
    return replace(held, settings=replace(held.settings, task=task))


def option_sections(info: MethodInfo, held: Preset, *, every_kind: bool = False) -> list[Section]:
    """Every option of `morphogen search METHOD`, with the defaults of a preset.

    Args:
        info: the method.
        held: the defaults.
        every_kind: with those for other kinds of data than the defaults are for.
    """
    return [
        *sections("What and where", target_for(info), name="target"),
        *sections("Search", held.settings, name="settings", flat=True),
        *(sections_beside(held.settings.task) if every_kind else ()),
        *sections(f"Options of {info.name}", held.options, name="options"),
    ]


def search(entry: MethodEntry | None, words: Sequence[str]) -> int:
    """`morphogen search METHOD ...`; without one, planned for the time."""
    info = find(entry.name if entry else PLANNED)
    data = peek(words, "--data", Target().data)
    if entry and any(word in HELP for word in words):
        print(_help(entry, info, peek(words, "--space", usual_space(info, Target().data))))
        return 0
    space = peek(words, "--space", "") or usual_space(info, data)
    refuse_beside(words, config_for(data), data)
    held = preset(peek(words, "--preset", Target().preset), info, space, data)
    of_method: Any = Arguments  # [...] of a class that is known at run time only
    known = option_sections(info, held)
    given: Arguments[Any] = parse(
        of_method[info.config],
        words,
        known,
        prog=f"morphogen search {info.name}",
        default=Arguments(target_for(info), held.settings, held.options),
    )
    target = given.target
    time = getattr(target, "time", "") or (None if entry else usual_time(target.data))
    typed = (name.partition(".") for name in given_fields(words, known))
    info.require(spaces.make(space))
    # Claimed here and not by the engine, since an interrupt must name it.
    with (
        RunDirectory.claimed(target.run or None, f"{info.name}-{space}") as directory,
        interruptible(directory.path),
    ):
        result = run_search(
            given.options,
            time=time,
            keep=[name for part, _, name in typed if part != "target"] if time else (),
            space=space,
            data=target.data,
            settings=given.settings,
            run=directory,
            start=target.start or None,
            baseline=target.baseline,
            watcher=partial(watcher, target.json),
        )
    return report(result, as_json=target.json)


def _help(entry: MethodEntry, info: MethodInfo, space: str) -> str:
    published: list[Section] = []
    about = spaces.about(space)
    if about is not None and about.search is not None:
        published = option_sections(info, preset("paper", info, space), every_kind=True)
    known = option_sections(info, preset("quick", info, space), every_kind=True)
    return "\n".join(
        [
            f"Usage: morphogen search {info.name} [options]",
            "",
            entry.algorithm,
            show(known, width=width(), paper=published),
            "",
            "Examples:",
            f"  morphogen search {info.name}",
            f"  morphogen search {info.name} --space darts-s2 --epochs 10 --seed 1",
        ]
    )


def report(result: SearchResult, *, as_json: bool) -> int:
    """Print what was found; the exit code, which of a search that was interrupted says so."""
    code = INTERRUPTED if result.ended_early else 0
    table = benchmarks.of(result.space)
    listed = table is not None and result.architecture in table
    found = standing(table, result.architecture, table.final_metrics) if table and listed else {}
    known = read_run(result.run)
    if as_json:
        written = RunDirectory(result.run).result() or {}
        print_json({**written, "run": str(result.run), "table": found})
        return code
    bold = "\033[1m{}\033[0m" if sys.stdout.isatty() else "{}"
    why = f" {heading(known.explanation)}." if known.explanation else ""
    said = bold.format(fold(f"{known.compared}.{why}", width()))
    rows = len(result.history)
    kind = "architecture" if rows and "candidate" in result.history[-1] else "epoch"
    first = (
        f"Found by {result.method} in {result.space.name}, after {rows} {kind}{'s'[: rows != 1]}:"
    )
    parts = [
        first,
        "  " + bold.format(shown(result.text)),
        said,
        show_drawing(draw(result.space, result.architecture, width=width())),
    ]
    parts += [bold.format(fold(f"Warning: {remark}.", width())) for remark in result.remarks]
    title = benchmarks.describe(table.name).title if table else ""
    own = bool(table and metric_on(table, known.config))
    if result.test:
        parts.append(fold(_reached(result, known.task), width()))
        written = RunDirectory(result.run).result() or {}
        for _, figure, held, how in known.task.figures(written):
            text = f"Test {figure.metric}: {figure.value(held['mean'])}"
            parts.append(fold(text + f" ({how})" * bool(how), width()))
    elif known.headline and not (found and own):
        what, value, _ = known.headline
        parts.append(fold(f"On these data: {what}: {value:.4g} (one seed, no interval).", width()))
    if table and found:
        parts.append(result_text(table, title, found, width(), own=own))
    elif table and not listed:
        parts.append(f"The {title} table does not have it.")
    if result.candidates:
        parts.append(_candidates(result))
    if result.limits:
        parts.append(fold(_limits(result), width()))
    parts.append(_cost(result))
    if result.weights is not None:
        parts.append(f"Weights: {shown(result.weights)}")
    parts += [f"Run directory: {shown(result.run)}", _next(result, bool(found))]
    print("\n" + "\n\n".join(parts))
    return code


def _reached(result: SearchResult, task: Described) -> str:
    """What the delivered network reaches on the test part."""
    test = result.test
    text = f"Test {task.spelt} of the trained network: {task.value(test['mean'])}"
    if "low" not in test:
        return f"{text} (one seed, no interval)."
    low, high = map(task.number, (test["low"], test["high"]))
    return f"{text}, 95 % interval {low} to {high} {task.covers(test)}."


def _limits(result: SearchResult) -> str:
    """What the network costs beside each limit."""
    each = (f"{k['limit']}: {k['value']:,.10g}" for k in result.limits if k["cost"] != "latency")
    timed = (f"{k['limit']}: {k['value']:.3g} ms" for k in result.limits if k["cost"] == "latency")
    return f"Limits, and what the network found has: {'; '.join((*each, *timed))}."


SHOWN_CANDIDATES = 12
"""Candidates that are printed."""

LONGEST_CELL = 400
"""Signs of an architecture in their table; all of it is in result.json."""


def _candidates(result: SearchResult) -> str:
    """The candidates, thinned if they are many; of a Pareto front its hypervolume, too."""
    several = result.candidates
    names = [name for name in several[0] if name != "architecture"]
    step = max(1, -(-len(several) // SHOWN_CANDIDATES))
    rows = [[*(f"{c[n]:,.6g}" for n in names), _cut(c["architecture"])] for c in several[::step]]
    about = "Pareto front of what was evaluated" if result.front else "Candidates of the search"
    about += f", {len(several)} architectures"
    about += f", every {step}th shown; result.json has all" if step > 1 else ""
    if result.front:
        reference = ", ".join(f"{n} {value:,.6g}" for n, value in result.front["reference"].items())
        volume = result.front["hypervolume"]
        about += f"; hypervolume {volume:,.6g} above the worst evaluated ({reference})"
    about += ":"
    return f"{fold(about, width())}\n\n{columns([*names, 'architecture'], rows, left=0)}"


def _cut(text: str) -> str:
    """The text of an architecture, the beginning alone if it would not fit a table."""
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 4]} ..."


def _cost(result: SearchResult) -> str:
    cost, task = result.cost, Described.of(RunDirectory(result.run).config())
    text = f"Cost: {duration(cost['seconds'])} wall clock, {duration(cost['cpu_seconds'])} CPU"
    if "full_epochs" in cost:
        text += f"; {cost['early_epochs']:g} epochs of early and {cost['full_epochs']:g} of full"
        text += " trainings"
    numbers = {
        part: int(cost[f"{part}_examples"]) for part in SEARCHED if f"{part}_examples" in cost
    }
    drawn = [
        f"{count(number)} {task.drawn} drawn from {'the ' * (part != 'pool')}{SEARCHED[part]}"
        for part, number in task.drawn_of(numbers).items()
    ]
    return fold("; ".join([text, *drawn]), width()) + "."


def _next(result: SearchResult, has_table: bool) -> str:
    lines = []
    if has_table:
        query = shell("morphogen", "query", result.space.name, result.text)
        lines += ["Every figure of the table:", f"  {query}"]
    train = shell("morphogen", "train", result.run, "--seeds", "3")
    values = RunDirectory(result.run).config()
    test = f"the test {Described.of(values).examples}"
    if result.weights is not None:
        lines += ["To use it:", f"  {shell('morphogen', 'export', result.run, '--to', 'onnx')}"]
    lines += [f"Train it from scratch and measure it on {test}:", f"  {train}"]
    if not set(values["space"]) <= {"name", "without"}:  # no words for it on the command line
        return "\n".join(lines)
    timed = ["--time", values["time"]] if "time" in values else [result.method]
    again = ["morphogen", "search", *timed, "--space", values["space"]["name"]]
    again += ["--data", values["data"], *(["--from", values["start"]] if "start" in values else [])]
    again += [*_flags(find(result.method), values)]
    lines += ["Another seed (one search proves little):", f"  {shell(*again)}"]
    return "\n".join(lines)


def _flags(info: MethodInfo, values: dict[str, Any]) -> list[str]:
    """The flags that repeat a run with the next seed: what differs from the quick preset.

    What was chosen for a time is chosen again, what was not to be is said again.
    """
    chosen, kept = (set(values.get(name, ())) for name in ("planned", "kept"))
    seed = (values["settings"]["seed"] + 1) % (SEED.most + 1)
    settings = from_mapping(Settings, {**values["settings"], "seed": seed})
    ran = Preset(settings, from_mapping(info.config, values["config"]))
    quick = preset("quick", info, values["space"]["name"], values["data"])
    split = usual(Split()) if settings.split.train_images else Split()
    before = altered(quick.settings, {"split": split, "batch_size": BATCH_SIZE})
    usually = option_sections(info, replace(quick, settings=before))
    words: list[str] = []
    for section, same in zip(option_sections(info, ran), usually, strict=True):
        for option, other in zip(section.options, same.options, strict=True):
            value = option.default
            name = option.field.partition(".")[2]
            if name in chosen or (value == other.default and name not in kept):
                continue
            if isinstance(value, bool):
                words.append(option.flags[0 if value else 1])
            else:
                parts = value if isinstance(value, tuple) else [value]
                words += [option.flags[0], *map(str, parts)]
    return words
