"""The whole way of a new user, timed: a folder of PNG files to a network that classifies new ones.

    python benchmarks/journey.py --data cifar10:PATH

Writes results/journey.md. The commands are those of README and docs/, at a small size; each is a
process of its own, and what it printed is kept. The folder is made of CIFAR-10: 300 training and 30
test images of each class, and one more test image of each class that no command sees before
`predict`. Run it on an idle machine: wall clock is what a user waits.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import record
from PIL import Image

from morphogen.tasks.classification import load

TRAIN, TEST = 300, 30
"""Images of each class."""

STEPS = (
    ("Look what there is", "morphogen list methods"),
    ("Search, for a minute",
     "morphogen search --data pictures --time 60s --limit 'params<=300K' --run found"),
    ("Report on it", "morphogen report found --out report.html"),
    ("Export its trained network, with the check on real images",
     "morphogen export found --to onnx"),
    ("Classify images no one has seen",
     "morphogen predict found/export/model.onnx {unseen} --top 2"),
    ("Train from scratch, beside networks that nobody searched",
     "morphogen train found --baseline --seeds 2 --run trained"),
    ("Export the best of these", "morphogen export trained --to onnx"),
    ("List the runs", "morphogen runs ."),
)  # fmt: skip

MISTAKES = (
    "morphogen search --data picturs",
    "morphogen search --data pictures --time 2",
    "morphogen search --data pictures --limit 'params<=1K'",
    "morphogen predict found unseen/cats.png",
)
"""What a newcomer types wrongly."""


@dataclass(frozen=True)
class Step:
    """A command and what came of it."""

    title: str
    command: str
    code: int
    seconds: float
    cpu: float
    out: str
    err: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "cifar10")
    parser.add_argument("--out", default=str(record.RESULTS / "journey.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unseen = pictures(options.data, folder)
        steps = [step(title, line.format(unseen=" ".join(unseen)), folder) for title, line in STEPS]
        mistakes = [step("", line, folder) for line in MISTAKES]
        result = json.loads((folder / "found" / "result.json").read_text(encoding="utf-8"))
        size = (folder / "report.html").stat().st_size
    command = "python benchmarks/journey.py --data cifar10:PATH"
    text = page(steps, mistakes, result, size, command)
    Path(options.out).write_text(text, encoding="utf-8")
    print(options.out)


def pictures(data: str, folder: Path) -> list[str]:
    """The image files; returns the names of those that are left for the end."""
    for part, count in (("train", TRAIN), ("test", TEST + 1)):
        images = load(data, part)
        for label, name in enumerate(images.classes):
            rows = (images.labels == label).nonzero().flatten()[:count]
            into = folder / "pictures" / part / name
            into.mkdir(parents=True)
            for row in rows.tolist():
                Image.fromarray(images.pixels[row].permute(1, 2, 0).numpy()).save(
                    into / f"{row}.png"
                )
    (folder / "unseen").mkdir()
    left = []
    for into in sorted((folder / "pictures" / "test").iterdir()):
        last = max(into.iterdir(), key=lambda path: int(path.stem))
        left.append(f"unseen/{into.name}.png")
        last.rename(folder / left[-1])
    return left


def step(title: str, command: str, folder: Path) -> Step:
    """Run one command as typed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{seconds:6.1f} s  {cpu:6.1f} s CPU  exit {done.returncode}  {command}", flush=True)
    return Step(title, command, done.returncode, seconds, cpu, done.stdout, done.stderr)


def page(
    steps: list[Step], mistakes: list[Step], result: dict[str, object], size: int, command: str
) -> str:
    """results/journey.md."""
    (named,) = (s.out for s in steps if s.command.startswith("morphogen predict"))
    predicted = re.findall(r"^unseen/(\w+)\.png +(\w+) ", named, re.MULTILINE)
    right = sum(truth == label for truth, label in predicted)
    accuracy = result["test_accuracy"]
    assert isinstance(accuracy, dict)
    wall, cpu = sum(s.seconds for s in steps), sum(s.cpu for s in steps)
    rows = [
        f"| {s.title} | `{brief(s.command)}` | {s.seconds:.1f} | {s.cpu:.1f} | {s.code} |"
        for s in steps
    ]
    ok = all(s.code == 0 for s in steps)
    parts = [
        "# The journey of a new user",
        f"Made by `{command}` on {datetime.datetime.now(datetime.UTC).date().isoformat()}; "
        f"{record.processor()}, {platform.platform()}, Python {platform.python_version()}, no GPU. "
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; "
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}.",
        f"From a folder of PNG files (CIFAR-10: 10 classes, {TRAIN} training and {TEST} test "
        "images of each, 32 x 32 pixels) to an exported network that names images no command has "
        "seen, with the commands of README and docs/. "
        + ("Every command ended well. " if ok else "**Not every command ended well.** ")
        + f"In all {wall:.0f} s wall clock, {cpu:.0f} s of processor time.",
        f"Test accuracy of what the search delivers {accuracy['mean']:.2f} % on {TEST * 10} test "
        f"images (one seed, {TRAIN * 10} training images; chance is 10 %); of the {len(predicted)} "
        f"unseen images {right} were named rightly. This shows that the way is whole, and nothing "
        "about the method: the times are the smallest that learn.",
        "| Step | Command | s | CPU s | Exit |\n|---|---|---|---|---|\n" + "\n".join(rows),
        f"The report is one HTML file of {size / 1024:.0f} KiB; what such pages look like: "
        "[light](../docs/images/report-light.png), [dark](../docs/images/report-dark.png), "
        "[phone](../docs/images/report-phone.png), "
        "[comparison](../docs/images/report-comparison.png).",
        "## What was printed",
        *(block(s) for s in steps[1:]),
        "## Mistakes on the way",
        "What a newcomer gets wrong, and the sentence that answers.",
        *(block(s) for s in mistakes),
        HURT,
    ]
    return "\n\n".join(parts) + "\n"


HURT = """## What hurt, and what was done

- The quick preset wants 4,600 training images, and a folder of 3,000 was refused without a word on
  what would do: the sentence now names two numbers that fit.
- A path whose sub-folders are `test` and `val`, or a `train` without class folders, was read as a
  set with the classes "test" and "val": it is refused.
- macOS' hidden `._*.png` files were taken for corrupt images: hidden files are passed over.
- Unbalanced classes were split rightly and in silence: search and training now say so, with the
  accuracy that the commonest class alone would give.
- The first try was GDAS for 5 epochs of 15 steps, which ends with gates as good as uniform, and
  said nothing of it (tried by hand, 20 epochs were not enough either). Such a result now comes with
  a warning; and `morphogen search` takes a time instead of a method, says whether a search can pay
  in it, and delivers a trained network.
- A good part of a short search went to measuring what only a race asks for, and bfloat16 where the
  processor has none: now a few steps are timed.
- A training printed its architecture, which does not change, in every line: once is enough.
- Data sets of the Hugging Face library had to be written to parquet by hand: `--data hf:NAME`."""


def brief(command: str) -> str:
    """The command without the tail of its file names."""
    first, *rest = command.split(" unseen/")
    if len(rest) < 2:
        return command
    return " ".join([first, "unseen/*.png", *rest[-1].split()[1:]])


def block(done: Step) -> str:
    """A command with its output; of many epochs the first two and the last."""
    shown: list[str] = []
    lines = (done.out.strip() or done.err.strip()).splitlines()
    for number, line in enumerate(lines):
        near = lines[max(0, number - 2) : number + 2]
        if len(near) < 4 or not all(text.startswith("epoch ") for text in near):
            shown.append(line)
        elif shown[-1] != "...":
            shown.append("...")
    return "\n".join(["```console", f"$ {brief(done.command)}", *shown, "```"])


if __name__ == "__main__":
    main()
