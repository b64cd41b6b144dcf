"""`morphogen export`: a trained network as a file. Torch is imported late."""

from __future__ import annotations

from dataclasses import MISSING, asdict
from typing import Any

from morphogen.cli.command import JSON, Command
from morphogen.cli.options import Option, Section
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError
from morphogen.core.names import shell, shown
from morphogen.core.text import fold

OPTIONS = Section(
    "Options",
    (
        Option((), "RUN", "the run directory of a finished training", MISSING),
        Option(
            ("--to",),
            "FORMATS",
            "onnx, safetensors, torch-export, or several with commas between; onnx holds the whole "
            "network, safetensors its weights; torch-export is for programs without morphogen, "
            "which writes it and never loads it",
            "onnx",
        ),
        Option(("--out",), "DIR", "folder to write to (default: RUN/export)", ""),
        Option(
            ("--data",),
            "TEXT",
            "the training data, if they have moved; the written file is run on some of them and "
            "compared",
            "",
        ),
        JSON,
    ),
)


def export(given: dict[str, Any]) -> int:
    """`morphogen export RUN`, from its options."""
    to = [name.strip() for name in given["to"].split(",") if name.strip()]
    if not to:
        raise ConfigError("--to is empty; accepted: onnx, torch-export or safetensors")
    from morphogen.exports import writing
    from morphogen.exports.loading import SUFFIXES
    from morphogen.runs.directory import RunDirectory
    from morphogen.tasks.configs import task_configs

    done = writing.export(given["run"], to, given["out"] or None, data=given["data"] or None)
    if given["json"]:
        print_json({"files": [{**asdict(one), "path": str(one.path)} for one in done]})
        return 0
    for one in done:
        text = (
            f"{one.path}: {one.path.stat().st_size:,} bytes; run on {one.examples} training "
            f"examples, its scores differ from the network's by at most {one.difference:.1e} "
            f"(accepted: {one.tolerance:.1e})."
        )
        print(fold(text, width()))
    folder = done[0].path.parent
    print(f"{shown(folder / 'README.md')}: model card.\n\nTo use it:")
    loaded = [one.path for suffix in SUFFIXES for one in done if one.path.suffix == suffix]
    held = RunDirectory.open(given["run"]).config()["settings"].get("task")
    if loaded and (held is None or task_configs()[held["name"]].inputs() is None):
        print(f"  morphogen.load({str(loaded[0])!r}) in Python")
    elif loaded:
        print(f"  {shell('morphogen', 'predict', loaded[0])} INPUT...")
    else:
        print(f"  torch.export.load({str(done[0].path)!r}).module() in Python, without morphogen")
    return 0


COMMAND = Command(
    "export",
    "RUN [options]",
    "Write the trained network of a run as a file, verified by running it on real data, with a "
    "model card beside it.",
    (
        "morphogen export runs/train-nasbench201-20260101-120000 --to onnx",
        "morphogen export runs/train-nasbench201-20260101-120000 --to onnx,safetensors",
    ),
    export,
    OPTIONS,
)
