"""`train`: from words to a training, and from its result to a report. Imports torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from morphogen import spaces
from morphogen.cli.interruptible import interruptible
from morphogen.cli.kinds import refuse_beside, sections_beside
from morphogen.cli.options import Section, given_fields, parse, peek, sections
from morphogen.cli.terminal.output import print_json, show_drawing, width
from morphogen.cli.terminal.watching import watcher
from morphogen.core import ConfigError, MorphogenError
from morphogen.core.config import config
from morphogen.core.names import shell, shown
from morphogen.core.text import count, duration, fold
from morphogen.engine.record.watch import Watcher
from morphogen.engine.search.beside import told_of, within_limits
from morphogen.engine.train.baseline import SEEDS
from morphogen.engine.train.origin import Origin, found_in
from morphogen.engine.train.retrain import train as run_training
from morphogen.engine.train.trained import TrainResult
from morphogen.engine.train.training import Training, paper_training, quick_training
from morphogen.reports.draw import draw
from morphogen.runs.described import PASSED, TITLES, Described, a, title
from morphogen.runs.directory import TRAINING, RunDirectory
from morphogen.spaces import SearchSpace, reference_of
from morphogen.tasks.configs import TaskConfig
from morphogen.tasks.kinds import USUAL_DATA, config_for, configured, space_for


@config
class Target:
    """What is trained, on what, and where it is written."""

    space: str = ""
    """search space of ARCH (default: nasbench201, for signals signal201; of a RUN: its own)"""
    data: str = ""
    """training and test examples, as for search (default: fashion-mnist; of a RUN: its own)"""
    run: str = ""
    """new run directory (default: runs/train-SPACE-TIME)"""
    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes on a small machine; paper: the published evaluation protocol of the space,
    for a GPU and full data. Other options override either"""
    baseline: bool = False
    """then train the space's reference network and a random architecture by the same recipe, and
    say whether this one is better; seeds are then 3 unless --seeds says otherwise"""
    json: bool = False
    """print the result as one JSON object on stdout, and progress on stderr"""


@dataclass(frozen=True)
class Arguments:
    """What the command line sets."""

    target: Target
    training: Training


@dataclass(frozen=True)
class _Found:
    """What the first argument means."""

    text: str
    space: SearchSpace
    data: str
    origin: Origin | None = None
    """The run that found it."""


def train(words: Sequence[str]) -> int:
    """`morphogen train RUN|ARCH ...`, from the words after `train`."""
    found = _found(words[0], peek(words, "--space", ""), peek(words, "--data", ""))
    kind = config_for(found.data)
    refuse_beside(words, kind, found.data)
    chosen = peek(words, "--preset", Target().preset)
    space, origin = found.space, found.origin
    held = preset(chosen, space.name, found.data, origin.task if origin else None)
    quick = chosen == Target().preset
    if origin is not None and quick:
        held = origin.continued(held)
        epochs = peek(words, "--epochs", "")
        if not epochs or epochs == str(held.epochs):
            held = origin.repeated(held)
    if any(word == "--baseline" for word in words):
        held = replace(held, seeds=SEEDS)
    known = option_sections(held)
    given = parse(
        Arguments,
        words[1:],
        known,
        prog=f"morphogen {TRAINING}",
        default=Arguments(Target(), held),
    )
    target, keep = given.target, None
    if quick and not (origin and origin.as_long(given.training)):
        typed = (name.partition(".") for name in given_fields(words, known))
        keep = {name for part, _, name in typed if part != "target"}
        keep |= set(origin.keep if origin else ())
    arch = space.parse(found.text)
    offer = "" if target.baseline or target.json else _offer(space)

    def watched() -> Watcher:
        made = watcher(target.json)
        if offer:
            made.notice(offer)
        return made

    if origin is not None and target.baseline:
        origin = within_limits(origin, space, found.data)
    # Claimed here and not by the engine, since an interrupt must name it.
    with (
        RunDirectory.claimed(target.run or None, f"{TRAINING}-{space.name}") as directory,
        interruptible(directory.path),
    ):
        result = run_training(
            arch,
            space=space,
            data=found.data,
            training=given.training,
            run=directory,
            baseline=target.baseline,
            keep=keep,
            origin=origin,
            watcher=watched,
        )
    if origin is not None:
        told_of(origin.run, result)
    return report(result, as_json=target.json)


def _offer(space: SearchSpace) -> str:
    """What --baseline would do, before a training without it."""
    reference = reference_of(space)
    named = f"the reference ({reference.name}) and " if reference else ""
    return (
        f"not compared with anything: --baseline trains {named}a random architecture by the same "
        "recipe, too, and says whether this one is better"
    )


def _found(word: str, space: str, data: str) -> _Found:
    """A run directory's architecture, space and data, or an architecture of `space`."""
    if not os.path.isdir(word):
        name = space or space_for(data or USUAL_DATA)
        known = spaces.make(name)
        try:
            known.parse(word)
        except MorphogenError as error:
            if os.sep not in word:
                raise
            raise ConfigError(
                f"{word!r} is no run directory and no architecture of {name}; accepted: the "
                "directory of a finished run, or an architecture in the space's notation"
            ) from error
        return _Found(word, known, data or USUAL_DATA)
    origin = found_in(word)
    written, own_data = origin.space, origin.data
    if spaces.needs_code(written):
        raise ConfigError(
            f"the space of {word} was an object passed from Python; accepted: "
            "morphogen.train(text, space=YOUR_MODULE, data=...) in Python"
        )
    known = spaces.read(written)
    if space and space != known.name:
        raise ConfigError(
            f"--space is {space!r} and {word} is a run in {known.name!r}; leave it out"
        )
    if own_data in PASSED and not data:
        raise ConfigError(f"the data of {word} were passed from Python; say them with --data")
    return _Found(origin.text, known, data or own_data, origin.of(data or own_data))


def preset(
    name: str, space: str, data: str = USUAL_DATA, asked: TaskConfig | None = None
) -> Training:
    """The defaults of `--preset name` in a space, on data.

    Args:
        name: of the preset.
        space: of the architecture.
        data: on which it is trained.
        asked: what the data were asked for in the search.

    Raises:
        ConfigError: nothing is published for the space.
    """
    kind = config_for(data)
    if name == "paper":
        held = paper_training(space, asked)
    else:
        held = quick_training(space, asked or kind())
    return replace(held, task=configured(held.task, kind))


def option_sections(held: Training, *, every_kind: bool = False) -> list[Section]:
    """Every option of `morphogen train`, with its defaults.

    Args:
        held: the defaults, of `preset`.
        every_kind: with the options for other kinds of data, too.
    """
    return [
        *sections("What and where", Target(), name="target"),
        *sections("Training", held, name="training", flat=True),
        *(sections_beside(held.task) if every_kind else ()),
    ]


def report(result: TrainResult, *, as_json: bool) -> int:
    """Print what was reached."""
    written = RunDirectory(result.run).result() or {}
    if as_json:
        print_json({**written, "run": str(result.run)})
        return 0
    bold = "\033[1m{}\033[0m" if sys.stdout.isatty() else "{}"
    seeds = int(written["seeds"])
    parts = [
        f"Trained from scratch in {result.space.name}, {seeds} seed{'s'[: seeds != 1]}:",
        "  " + shown(result.text),
        show_drawing(draw(result.space, result.architecture, width=width())),
    ]
    task = Described.of(RunDirectory(result.run).config())
    parts += [
        bold.format(_reached(TITLES[part], held, task))
        for part, held in task.reached(written).items()
    ]
    for part, figure, held, how in task.figures(written):
        parts.append(fold(_reached(TITLES[part], held, figure) + f" ({how})" * bool(how), width()))
    if result.comparison is not None:
        parts.append(bold.format(fold(f"Compared {result.comparison.sentence}.", width())))
    parts.append(fold(f"Split: {written['split']}.", width()))
    inherited = RunDirectory(result.run).config().get("inherited")
    if inherited:
        parts.append(fold(f"{title(inherited)}.", width()))
    cost = result.cost
    parts.append(
        fold(
            f"Cost: {duration(cost['seconds'])} wall clock, {duration(cost['cpu_seconds'])} CPU, "
            f"{count(int(cost['train_examples']))} {task.drawn}; the network has "
            f"{count(int(cost['params']))} parameters and takes {cost['macs'] / 1e6:,.2f} M "
            f"multiply-adds for {a(task.drawn.removesuffix('s'))}.",
            width(),
        )
    )
    parts.append("Weights: " + "\n         ".join(map(shown, result.weights)))
    export = shell("morphogen", "export", result.run, "--to", "onnx")
    parts.append(f"Run directory: {shown(result.run)}\n\nTo use it:\n  {export}")
    print("\n" + "\n\n".join(parts))
    return 0


def _reached(part: str, held: Mapping[str, Any], task: Described) -> str:
    text = f"{part} {task.spelt}: {task.value(held['mean'])}"
    if "low" in held:
        low, high, *each = map(task.number, (held["low"], held["high"], *held["values"]))
        over = task.covers(held) if held.get("examples") else f"({', '.join(each)})"
        text += f", 95 % interval {low} to {high} {over}"
    return text
