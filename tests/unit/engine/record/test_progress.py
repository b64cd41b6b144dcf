"""The live display costs little, and plain lines have no escape codes."""

from __future__ import annotations

import io
import time
from pathlib import Path
from statistics import median

from rich.console import Console

from morphogen.engine.record.progress import Display, Lines, columns
from morphogen.tasks.problem import Clock

CONFIG = {
    "method": "idarts",
    "space": {"name": "nasbench201"},
    "data": "fashion-mnist",
    "settings": {"hardware": {"accelerator": "cpu", "devices": 2}, "seed": 3},
}
ROW = {"epoch": 1, "architecture": "|none~0|", "train_loss": 1.25, "skips": 2, "seconds": 9.0}


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width)


def test_display_takes_at_most_one_percent_of_the_time():
    """Of the median half second: what is loaded or cleared away meanwhile is not the display's."""
    display = Display(terminal(80))
    display.started(CONFIG, Path("runs/x"), 0)
    shares = []
    for window in range(5):
        spent, step, start = 0.0, 0, time.monotonic()
        while time.monotonic() - start < 0.5:
            before = time.thread_time()
            display.stepped(Clock(window, 5, step, 1000))
            spent += time.thread_time() - before
            step += 1
            time.sleep(0.02)
        shares.append(spent / 0.5)
    display.close()
    assert median(shares) < 0.01


def test_display_shows_where_the_search_stands():
    console = terminal(80)
    display = Display(console)
    display.started(CONFIG, Path("runs/x"), 0)
    display.stepped(Clock(0, 2, 3, 3))
    display.epoch(ROW)
    display.close()
    text = console.file.getvalue()
    for part in ("idarts in nasbench201", "cpu x 2", "seed 3", "epoch 1/2", "1.250", "|none~0|"):
        assert part in text
    assert text.rstrip("\n").endswith("\x1b[?25h")  # the cursor is back


def test_lines_are_plain():
    out = io.StringIO()
    lines = Lines(Console(file=out))
    lines.started(CONFIG, Path("runs/x"), 1)
    lines.notice("a note")
    lines.stepped(Clock(1, 3, 4, 4))
    lines.epoch({**ROW, "epoch": 2})
    assert "\x1b" not in out.getvalue()
    head, going_on, note, row = out.getvalue().splitlines()
    assert head.endswith("run runs/x")
    assert going_on == "continuing after epoch 1"
    assert note == "note: a note"
    assert row.startswith("epoch 2/3  train loss 1.250  skips 2  sec 9.0  ")
    assert row.endswith("left  |none~0|")


def test_names_are_neither_markup_nor_escape_codes():
    name = "[bold]a[/] [/nothing] \x1b]0;t\x07\nmorphogen: all is well"
    console = terminal(200)
    display = Display(console)
    display.started({**CONFIG, "data": name}, Path(name), 0)
    display.notice(name)
    display.close()
    out = io.StringIO()
    Lines(Console(file=out)).started({**CONFIG, "data": name}, Path(name), 0)
    plain = r"[bold]a[/] [/nothing] \x1b]0;t\x07\nmorphogen: all is well"
    for text, times in ((console.file.getvalue(), 3), (out.getvalue(), 2)):
        assert text.count(plain) >= times
        assert "\x1b]" not in text
        assert "\x07" not in text
    assert out.getvalue().count("\n") == 1


def test_headings_bear_the_unit_of_the_tasks_metric():
    described = {"name": "mae", "unit": "m", "higher_is_better": False}
    named = columns({"task": {"metric": described}})
    assert named["supernet_mae"] == ("supernet m", "{:.4g}")
    assert "supernet_accuracy" not in named
    assert columns({})["best_accuracy"] == ("best %", "{:.1f}")
    of_loss = columns({"task": {"metric": {"name": "loss", "unit": ""}}})
    assert of_loss["train_loss"] == ("train loss", "{:.3f}")
    assert of_loss["supernet_loss"] == ("supernet loss", "{:.4g}")
