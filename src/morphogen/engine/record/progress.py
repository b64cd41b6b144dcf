"""What a person sees while a search runs: a display in a terminal or a notebook, else lines."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.jupyter import JupyterMixin
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from morphogen.core.names import shown
from morphogen.core.text import duration
from morphogen.engine.record.pace import Pace
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.problem import Clock

# Lightning's remarks on its processes, which the headline counts. Here and not in `main`,
# because the processes that it starts import this file and not the command line.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

Columns = dict[str, tuple[str, str]]
"""Entries of a line of metrics that are shown, with their heading and format."""

BEFORE: Columns = {
    "seed": ("seed", "{:.0f}"),
    "train_loss": ("train loss", "{:.3f}"),
    "valid_loss": ("valid loss", "{:.3f}"),
    "score": ("score", "{:.2f}"),
}
MEASURED = {
    "candidate": "candidates",
    "best": "best",
    "supernet": "supernet",
    "discrete": "discretised",
    "train": "train",
    "held_out": "held-out",
}
"""Of what the task's metric is taken, and how that is called in a heading."""
AFTER: Columns = {
    "entropy": ("entropy", "{:.3f}"),
    "skips": ("skips", "{:.0f}"),
    "seconds": ("sec", "{:.1f}"),
}


def columns(config: Mapping[str, Any]) -> Columns:
    """What is shown of a run, from its config.yaml: headings bear the unit of the metric."""
    metric = config.get("task", {}).get("metric", {"name": "accuracy", "unit": "%"})
    name, unit = metric["name"], metric["unit"]
    form = "{:.1f}" if unit == "%" else "{:.4g}"
    judged = {f"{of}_{name}": (f"{word} {unit or name}", form) for of, word in MEASURED.items()}
    return {**BEFORE, **{key: v for key, v in judged.items() if key not in BEFORE}, **AFTER}


WIDTH = 100
"""Columns of the display in a notebook."""

SHOWN_EPOCHS = 8
"""Lines of the live table."""

FIRST_LINES = 20
"""Architectures of a black-box search that have a line each, however fast they come."""

LINE_PAUSE = 1.0
"""Seconds between two lines of a black-box search after those, at least."""

LEAST_PAUSE = 0.25
"""Seconds between two refreshes of the display, at least."""

SHARE = 0.005
"""Share of the time that refreshing may take: the next one waits until it is that little."""


def headline(config: Mapping[str, Any]) -> str:
    """Method, space, data, device and seed of a run, from its config.yaml."""
    settings = config["settings"]
    hardware = settings["hardware"]
    where = hardware["accelerator"]
    if hardware.get("devices", 1) > 1:
        where += f" x {hardware['devices']}"
    return (
        f"{config['method']} in {config['space']['name']}, data {config['data']}, {where}, "
        f"seed {settings['seed']}"
    )


class Lines:
    """One line per epoch, without escape codes: for pipes, files and dumb terminals."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.pace = Pace()
        self.columns = columns({})
        self._next = 0.0
        self._shown = ""

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """Says what runs, and where."""
        self.columns = columns(config)
        self.pace.started(RunDirectory(path).metrics() if finished_epochs else ())
        self._print(f"{headline(config)}; run {path}")
        if finished_epochs:
            self._print(f"continuing after epoch {finished_epochs}")

    def stepped(self, clock: Clock) -> None:
        """Nothing is printed."""
        self.pace.at(clock)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The epoch's figures, the time left and the architecture, if it is another than before."""
        self.pace.epoch()
        clock, now = self.pace.clock, time.monotonic()
        last = clock is not None and row["epoch"] >= clock.epochs
        if "candidate" in row and row["epoch"] > FIRST_LINES and now < self._next and not last:
            return  # look-ups in a table come by the thousand in a second
        self._next = now + LINE_PAUSE
        parts = [f"{_unit(row)} {row['epoch']}/{clock.epochs if clock else '?'}"]
        parts += [str(row["phase"])] if "phase" in row else []
        parts += [
            f"{title} {form.format(row[name])}"
            for name, (title, form) in self.columns.items()
            if name in row
        ]
        if "failed" in row:
            parts.append(f"failed: {row['failed']}")
        left = self.pace.left()
        parts += [left] if left else []
        architecture = str(row.get("architecture", ""))
        if architecture != self._shown:
            parts.append(architecture)
            self._shown = architecture
        self._print("  ".join(parts))

    def notice(self, sentence: str) -> None:
        """The sentence."""
        self._print(f"note: {sentence}")

    def _print(self, line: str) -> None:
        print(shown(line), file=self.console.file, flush=True)


class Display:
    """A display over several lines that is redrawn in place.

    It is drawn by calls alone, without a thread of its own, and rests so long after each drawing
    that drawing takes at most `SHARE` of the time.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.pace = Pace()
        self.headline = ""
        self.path = ""
        self.columns = columns({})
        self.rows: list[Mapping[str, Any]] = []
        self.live = Live(console=console, auto_refresh=False)
        self._next = 0.0

    def started(self, config: Mapping[str, Any], path: Path, finished_epochs: int) -> None:
        """Opens the display; a resumed run shows the epochs it has."""
        self.headline, self.path = shown(headline(config)), shown(path)
        self.columns = columns(config)
        rows = RunDirectory(path).metrics() if finished_epochs else []
        self.rows = [*rows[-SHOWN_EPOCHS:]]
        self.pace.started(rows)
        self._open()
        self._draw()

    def stepped(self, clock: Clock) -> None:
        """Redraws if it is time."""
        self.pace.at(clock)
        if time.monotonic() >= self._next:
            self._draw()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Adds the epoch's row; closes the display after the last."""
        self.pace.epoch()
        before = [r for r in self.rows if r["epoch"] < row["epoch"]]
        self.rows = [*before[-SHOWN_EPOCHS:], row]
        clock = self.pace.clock
        last = clock is not None and row["epoch"] >= clock.epochs
        # Look-ups in a table come by the thousand in a second.
        if last or "candidate" not in row or time.monotonic() >= self._next:
            self._draw()
        if last:
            self.close()

    def notice(self, sentence: str) -> None:
        """Prints the sentence above the display."""
        self.console.print(Text(f"note: {shown(sentence)}"))  # a text, in which [b] is no markup

    def close(self) -> None:
        """Ends the display; what it shows stays, and the cursor comes back."""
        self.live.stop()

    def _open(self) -> None:
        end()  # of a run before this one: of two displays, one
        self.live.start()
        _OPEN.append(self)

    def _show(self, picture: Group) -> None:
        self.live.update(picture, refresh=True)

    def _draw(self) -> None:
        start = time.monotonic()
        self._show(self._picture())
        took = time.monotonic() - start
        self._next = start + max(LEAST_PAUSE, took / SHARE)

    def _picture(self) -> Group:
        parts: list[Any] = [Text(self.headline, style="bold"), Text(self.path, style="dim")]
        parts += [Text(), self._bar()]
        rows = self.rows[-SHOWN_EPOCHS:]
        if rows:
            parts += [Text(), _table(rows, self.columns), Text()]
            parts.append(Text(shown(rows[-1].get("architecture", "")), style="green"))
        return Group(*parts)

    def _bar(self) -> Table:
        clock = self.pace.clock
        if clock is None:
            return _row(Text("starting"), ProgressBar(total=1, completed=0), Text())
        unit = _unit(self.rows[-1]) if self.rows else "epoch"
        label = Text(f"{unit} {min(clock.epoch + 1, clock.epochs)}/{clock.epochs}")
        if self.rows and "phase" in self.rows[-1]:
            label.append(f"  {shown(clock.phase)}")
        if clock.steps > 1:
            label.append(f"  step {clock.step}/{clock.steps}")
        times = ", ".join(filter(None, (duration(self.pace.elapsed), self.pace.left())))
        bar = ProgressBar(total=1, completed=self.pace.share)
        return _row(label, bar, Text(times))


class Notebook(Display):
    """The same in the output of a notebook's cell, where it is one output that is updated.

    It needs no widgets: rich makes HTML of the picture, and Jupyter's own display puts it in place.
    """

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO(), width=WIDTH))
        self.output = _Output()

    def notice(self, sentence: str) -> None:
        """Prints the sentence."""
        print(f"note: {shown(sentence)}")

    def close(self) -> None:
        """Nothing: what it shows stays."""

    def _open(self) -> None:
        """Nothing: the first picture opens it."""

    def _show(self, picture: Group) -> None:
        self.output.show(picture)


class Bar:
    """A bar of many equal pieces of work, likewise in the output of a notebook's cell.

    Args:
        what: is counted.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.output = _Output()
        self._next = 0.0

    def __call__(self, done: int, of: int) -> None:
        """So many are done."""
        if done < of and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LEAST_PAUSE
        label = Text(f"{self.what} {done}/{of}")
        self.output.show(Group(_row(label, ProgressBar(total=max(of, 1), completed=done), Text())))


class _Output:
    """One output of a notebook's cell."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, picture: Group) -> None:
        """Have it show this."""
        from IPython import display as ipython

        display: Callable[..., Any] = ipython.display  # it has no types of its own
        if self.handle is None:
            self.handle = display(_Page(picture), display_id=True)
        else:
            self.handle.update(_Page(picture))


class _Page(JupyterMixin):
    """What rich shows of a picture in Jupyter, as HTML and as text."""

    def __init__(self, picture: Group) -> None:
        self.picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.picture, options.update(width=WIDTH))


_OPEN: list[Display] = []
"""Displays of this process that may still be open: an interrupted search cannot close its own."""


def _unit(row: Mapping[str, Any]) -> str:
    """What a line of metrics is about: a black-box method has one for each architecture scored."""
    return "architecture" if "candidate" in row else "epoch"


def _row(*parts: Any) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(*parts)
    return grid


def _table(rows: list[Mapping[str, Any]], columns: Columns) -> Table:
    shown = [name for name in columns if any(name in row for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in (_unit(rows[-1]), *(columns[name][0] for name in shown)):
        table.add_column(title, justify="right", no_wrap=False)
    for row in rows:
        cells = [columns[n][1].format(row[n]) if n in row else "" for n in shown]
        table.add_row(str(row["epoch"]), *cells)
    return table


def end() -> None:
    """Close every display, however its search ended, and show the cursor that processes hid."""
    while _OPEN:
        _OPEN.pop().close()
    for console in (Console(), Console(stderr=True)):
        console.show_cursor(True)  # nothing happens where there is no terminal
