"""The commands. Each is a function from its words to an exit code; help texts are made from data.

What is needed to say that something is wrong, or what there is, is imported at once; torch only
when a search is about to start.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.options import Option, Section, read, show
from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.given import encodable
from morphogen.core.names import brief
from morphogen.reports.text import columns, count, fold

if TYPE_CHECKING:
    from morphogen.cli.catalogue import SpaceEntry

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Command:
    """One word after `morphogen`."""

    run: Callable[[Sequence[str]], int]
    usage: str
    summary: str


def run(words: Sequence[str]) -> int:
    """Run the command that `words` say."""
    for word in words:
        if "\0" in word or not encodable(word):
            raise ConfigError(f"argument {brief(word)} is no text; accepted: what a shell can pass")
    if not words or words[0] in (*HELP, "help"):
        print(_overview())
        return 0
    if words[0] in ("--version", "-V"):
        from morphogen import __version__

        print(f"morphogen {__version__}")
        return 0
    if words[0] not in COMMANDS:
        kind = "option" if words[0].startswith("-") else "command"
        raise UnknownNameError(kind, words[0], [*COMMANDS, "--help", "--version"])
    return COMMANDS[words[0]].run(words[1:])


def width() -> int:
    """Columns for text: those of the terminal, at most 110; no limit to speak of in a pipe."""
    return min(shutil.get_terminal_size().columns, 110)


# -- search and resume: the words are read here, the rest is in `searching` -----------------------


def _search(words: Sequence[str]) -> int:
    from morphogen.cli import catalogue

    if not words or words[0] in HELP:
        print(_search_overview())
        return 0
    if words[0].startswith("-"):
        raise ConfigError(
            "the method comes first: morphogen search METHOD [options]; known: "
            + ", ".join(catalogue.method_entries())
        )
    entry = catalogue.method_entry(words[0])
    from morphogen.cli import searching

    return searching.search(entry, words[1:])


def _resume(words: Sequence[str]) -> int:
    if _wants_help(words, "resume", RESUME):
        return 0
    from morphogen.cli.options import whole
    from morphogen.core.ranges import COUNT

    given = read(words, RESUME, prog="morphogen resume")
    lengths = {
        name: whole(f"--{name}", given[name], COUNT)
        for name in ("epochs", "evaluations")
        if given[name]
    }
    from morphogen.runs.directory import RunDirectory

    if RunDirectory.open(Path(given["run"])).config().get("method") == "train":
        from morphogen.cli import train

        for name, value in lengths.items():
            raise ConfigError(
                f"--{name} is {value}, and {given['run']} is a training, whose rate has run down "
                "with its epochs; accepted: a new `morphogen train` with --epochs"
            )
        return train.resume(given["run"], as_json=given["json"])
    from morphogen.cli import searching

    return searching.resume(given["run"], as_json=given["json"], **lengths)


# -- train: the words are read in its own file -----------------------------------------------------


def _train(words: Sequence[str]) -> int:
    from morphogen.cli import train

    return train.train(words)


# -- commands with options and work in files of their own ------------------------------------------


def _do(
    name: str,
    words: Sequence[str],
    options: Section,
    act: Callable[[dict[str, Any]], int],
) -> int:
    if _wants_help(words, name, options):
        return 0
    return act(read(words, options, prog=f"morphogen {name}"))


# -- export and predict ----------------------------------------------------------------------------


def _export(words: Sequence[str]) -> int:
    from morphogen.cli import export

    return _do("export", words, export.OPTIONS, export.export)


def _predict(words: Sequence[str]) -> int:
    from morphogen.cli import export

    return _do("predict", words, export.PREDICT, export.predict)


# -- query and import-nasbench101 ------------------------------------------------------------------


def _query(words: Sequence[str]) -> int:
    from morphogen.cli import query

    return _do("query", words, query.OPTIONS, query.query)


def _import_nasbench101(words: Sequence[str]) -> int:
    from morphogen.cli import query

    return _do("import-nasbench101", words, query.IMPORT, query.import_nasbench101)


# -- cost ------------------------------------------------------------------------------------------


def _cost(words: Sequence[str]) -> int:
    from morphogen.cli import cost

    return _do("cost", words, cost.OPTIONS, cost.run)


# -- compare ---------------------------------------------------------------------------------------


def _compare(words: Sequence[str]) -> int:
    from morphogen.cli import compare

    return _do("compare", words, compare.OPTIONS, compare.run)


# -- score -----------------------------------------------------------------------------------------


def _score(words: Sequence[str]) -> int:
    from morphogen.cli import score

    return _do("score", words, score.OPTIONS, score.run)


# -- rank ------------------------------------------------------------------------------------------


def _rank(words: Sequence[str]) -> int:
    from morphogen.cli import rank

    return _do("rank", words, rank.OPTIONS, rank.run)


# -- report and runs -------------------------------------------------------------------------------


def _report(words: Sequence[str]) -> int:
    from morphogen.cli import report

    return _do("report", words, report.OPTIONS, report.run)


def _runs(words: Sequence[str]) -> int:
    from morphogen.cli import runs

    return _do("runs", words, runs.OPTIONS, runs.run)


# -- list ------------------------------------------------------------------------------------------


def _list(words: Sequence[str]) -> int:
    if _wants_help(words, "list", LIST):
        return 0
    given = read(words, LIST, prog="morphogen list")
    kinds = ("methods", "spaces", "proxies")
    if given["what"] not in ("", *kinds):
        raise UnknownNameError("list", given["what"], kinds)
    wanted = (given["what"],) if given["what"] else kinds
    from morphogen.cli import catalogue

    found: dict[str, list[Any]] = {}
    if "methods" in wanted:
        found["methods"] = list(catalogue.method_entries().values())
    if "spaces" in wanted:
        found["spaces"] = catalogue.space_entries()
    if "proxies" in wanted:
        found["proxies"] = catalogue.proxy_entries()
    if given["json"]:
        print_json({kind: [asdict(entry) for entry in entries] for kind, entries in found.items()})
        return 0
    parts = []
    if "methods" in found:
        parts.append("Methods, for `morphogen search METHOD`:\n" + _method_lines())
    if "spaces" in found:
        parts.append("Search spaces, for `--space NAME`:\n" + _space_lines(found["spaces"]))
    if "proxies" in found:
        lines = _lines([(e.name, f"{e.summary}. {e.source}.") for e in found["proxies"]])
        parts.append("Zero-cost proxies, for `morphogen score --proxy NAME` and `rank`:\n" + lines)
    print("\n\n".join(parts))
    return 0


def _method_lines() -> str:
    from morphogen.cli import catalogue

    entries = catalogue.method_entries().values()
    return _lines([(e.name, f"{e.paper}. {e.reference}.") for e in entries])


def _space_lines(entries: Sequence[SpaceEntry]) -> str:
    return _lines(
        [
            (
                e.name,
                f"{e.summary}; {count(e.size)} architectures, {e.choices} choices; "
                f"{', '.join(e.capabilities)}; "
                + (f"table of {len(e.metrics)} metrics" if e.metrics else "no table")
                + f". {e.reference}.",
            )
            for e in entries
        ]
    )


def _lines(entries: Sequence[tuple[str, str]]) -> str:
    """One line each in a pipe, where someone may grep; folded in a terminal."""
    left = max(len(name) for name, _ in entries) + 4
    limit = width() if sys.stdout.isatty() else 10_000
    return "\n".join(
        fold(f"  {name}".ljust(left) + text, limit, hanging=left) for name, text in entries
    )


# -- help ------------------------------------------------------------------------------------------


def _wants_help(words: Sequence[str], name: str, known: Section) -> bool:
    """Print a small command's help if it is asked for, by a flag or by saying nothing."""
    needs = any(o.default is MISSING for o in known.options)
    if not any(word in HELP for word in words) and (words or not needs):
        return False
    command = COMMANDS[name]
    print(f"Usage: morphogen {name} {command.usage}\n\n{fold(command.summary, width())}")
    print(show([known], width=width()))
    print("\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[name]))
    return True


def _overview() -> str:
    rows = [[f"{name} {c.usage}", c.summary] for name, c in COMMANDS.items()]
    left = max(len(head) for head, _ in rows) + 4
    lines = [fold(f"  {head}".ljust(left) + text, width(), hanging=left) for head, text in rows]
    examples = [line for name in COMMANDS for line in EXAMPLES[name][:2]]
    about = (
        "Weight-sharing neural architecture search: find a network for your data by training one "
        "supernet that holds all candidates, with the published methods, and see at once what "
        "measured benchmark tables say of what was found."
    )
    return "\n".join(
        [
            "Usage: morphogen COMMAND ...",
            "",
            fold(about, width()),
            "",
            "Commands:",
            *lines,
            "",
            "Examples:",
            *(f"  {line}" for line in examples),
            "",
            fold(
                "`morphogen COMMAND --help` explains a command, `morphogen search METHOD --help` a "
                "method with all its options, `morphogen --version` says which version this is.",
                width(),
            ),
        ]
    )


def _search_overview() -> str:
    from morphogen.cli import catalogue

    spaces = [
        [e.name, count(e.size), f"{len(e.metrics)} metrics" if e.metrics else "-", e.summary]
        for e in catalogue.space_entries()
        if "Differentiable" in e.capabilities or e.metrics
    ]
    return "\n".join(
        [
            "Usage: morphogen search METHOD [options]",
            "",
            fold(COMMANDS["search"].summary, width()),
            "",
            "Methods:",
            _method_lines(),
            "",
            "Search spaces (--space; `morphogen list spaces` says more):",
            columns(["name", "architectures", "table"], [row[:3] for row in spaces]),
            "",
            fold(
                "Data (--data): fashion-mnist is shipped; else a path to a parquet or .npz file, "
                "to an image folder, hf:NAME, or a standard data set (cifar10:PATH names its "
                "classes).",
                width(),
            ),
            "",
            "Examples:",
            *(f"  {line}" for line in EXAMPLES["search"]),
            "",
            fold("`morphogen search METHOD --help` lists every option of a method.", width()),
        ]
    )


def show_drawing(drawing: str) -> str:
    """The drawing as stdout can show it."""
    from morphogen.reports.draw import ASCII

    try:
        drawing.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return drawing.translate(ASCII)
    return drawing


def print_json(content: Any) -> None:
    """One JSON object on stdout."""
    print(json.dumps(content, indent=2))


_CELL = "'|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|'"

_JSON = Option(("--json",), "", "print one JSON object on stdout, progress on stderr", False)

RESUME = Section(
    "Options",
    (
        Option((), "RUN", "the run directory that the search named", MISSING),
        Option(
            ("--epochs",),
            "N",
            "search on to N epochs, also from a finished run: schedules go on as those of a search "
            "of N epochs, so that the result is not that of such a search from the start",
            "",
        ),
        Option(
            ("--evaluations",),
            "N",
            "likewise to N architectures, of a black-box method, whose result is that of a search "
            "of N from the start",
            "",
        ),
        _JSON,
    ),
)

LIST = Section(
    "Options", (Option((), "WHAT", "methods, spaces or proxies (default: all)", ""), _JSON)
)

COMMANDS = {
    "search": Command(
        _search,
        "METHOD [options]",
        "Find an architecture in a search space, on your data; writes a run directory that "
        "`resume` continues.",
    ),
    "resume": Command(
        _resume,
        "RUN [options]",
        "Continue an interrupted search or training, bit for bit as if it had not stopped; or "
        "search on from a finished one.",
    ),
    "train": Command(
        _train,
        "RUN|ARCH [options]",
        "Train the architecture that a search found, or any other, from scratch, and evaluate it "
        "on the test images; writes a run directory that `resume` continues.",
    ),
    "export": Command(
        _export,
        "RUN [options]",
        "Write the trained network of a run as a file, verified by running it on real images, with "
        "a model card beside it.",
    ),
    "predict": Command(
        _predict, "EXPORT IMAGE...", "Classify images with an exported network; needs nothing else."
    ),
    "query": Command(
        _query, "SPACE ARCH", "Look an architecture up in the shipped benchmark table of a space."
    ),
    "import-nasbench101": Command(
        _import_nasbench101,
        "FILE",
        "Convert a public file of NAS-Bench-101, which you have downloaded, into a small table of "
        "all cells of the three spaces of NAS-Bench-1Shot1, for --table of `query`, `search`, "
        "`compare` and `rank`.",
    ),
    "cost": Command(
        _cost,
        "SPACE ARCH...",
        "Parameters, FLOPs, memory traffic and, with --latency, measured time of architectures.",
    ),
    "compare": Command(
        _compare,
        "METHOD...",
        "Compare black-box methods on a benchmark table: the same budget, the same seeds, in "
        "parallel; means with intervals, ranks, tests, regret curves.",
    ),
    "score": Command(
        _score,
        "SPACE [ARCH...]",
        "Score architectures by zero-cost proxies, without any training: a few, a sample, or a "
        "whole space; where there is a table, with the order that they give.",
    ),
    "rank": Command(
        _rank,
        "RUN|--proxy|--predictor|--column",
        "Measure how well a trained supernet (or a proxy, a predictor, a column) orders "
        "architectures, over all and among the best, against a table or your own trainings.",
    ),
    "report": Command(
        _report,
        "RUN...",
        "Write one HTML page on a run, or one that compares several; it needs no network.",
    ),
    "runs": Command(
        _runs,
        "[DIR]",
        "List the runs in a folder, newest first: whether each is running, finished or cut off, "
        "what it found and what it cost.",
    ),
    "list": Command(
        _list, "[methods|spaces|proxies]", "List methods, search spaces and zero-cost proxies."
    ),
}

EXAMPLES = {
    "search": (
        "morphogen search idarts",
        "morphogen search darts --data cifar10:/data/cifar-10-batches-py --epochs 20 --seed 1",
        "morphogen search idarts --preset paper --data cifar10:/data/cifar-10-batches-py",
        "morphogen search random --evaluator table --evaluations 100",
    ),
    "resume": (
        "morphogen resume runs/idarts-nasbench201-20260101-120000",
        "morphogen resume runs/idarts-nasbench201-20260101-120000 --epochs 50",
    ),
    "train": (
        "morphogen train runs/idarts-nasbench201-20260101-120000 --seeds 3",
        f"morphogen train {_CELL} \\\n      --space nasbench201 --data fashion-mnist",
        "morphogen train DARTS_V2 --space darts --preset paper --data cifar10:/data/cifar-10",
    ),
    "export": (
        "morphogen export runs/train-nasbench201-20260101-120000 --to onnx",
        "morphogen export runs/train-nasbench201-20260101-120000 --to onnx,safetensors",
    ),
    "predict": (
        "morphogen predict model/model.onnx image.png",
        "morphogen predict model/model.onnx photos/*.jpg --top 3 --json",
    ),
    "query": (
        f"morphogen query nasbench201 \\\n      {_CELL}",
        "morphogen query nasbench-macro 12121212 --metric test_acc --json",
    ),
    "import-nasbench101": (
        "morphogen import-nasbench101 nasbench_only108.tfrecord",
        "morphogen import-nasbench101 /data/nasbench_full.tfrecord --to /data/nasbench101.parquet",
    ),
    "cost": (
        f"morphogen cost nasbench201 \\\n      {_CELL}",
        "morphogen cost nasbench201 --latency --image 1x28x28 --channels 8 --depth 1 \\\n"
        f"      {_CELL}",
    ),
    "compare": (
        "morphogen compare random aging-evolution --seeds 20 --budget 300 --out comparison",
        "morphogen compare weaknas weaknas:predictor=forest local-search \\\n"
        "      --benchmark cifar100_valid_12",
        "morphogen compare random nsga2 --space nasbench-macro --benchmark test_acc --oracle",
    ),
    "score": (
        f"morphogen score nasbench201 --proxy nwot,synflow,params \\\n      {_CELL}",
        "morphogen score nasbench201 --sample 1000 --proxy nwot,jacob_cov --output scores.jsonl",
        "morphogen score nasbench-macro --all --data cifar10:/data/cifar-10 --output scores.jsonl",
    ),
    "rank": (
        "morphogen rank runs/spos-nasbench201-20260101-120000 --sample 500 --plot order.html",
        "morphogen rank --proxy nwot --sample 100",
        "morphogen rank --predictor forest --fit 200 --metric cifar10_valid_12",
        "morphogen rank --column cifar10_valid_12 --within 0.1",
    ),
    "report": (
        "morphogen report runs/idarts-nasbench201-20260101-120000 --open",
        "morphogen report runs/idarts-seed* runs/darts-seed* --out comparison.html",
    ),
    "runs": ("morphogen runs", "morphogen runs results/ --json"),
    "list": ("morphogen list", "morphogen list spaces --json"),
}
