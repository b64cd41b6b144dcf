"""`morphogen predict`: images or signals, classified by an exported network."""

from __future__ import annotations

import sys
from dataclasses import MISSING, asdict
from typing import Any

from morphogen.cli.command import JSON, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.cli.terminal.output import print_json
from morphogen.core import DataError, ranges
from morphogen.core.names import shown

OPTIONS = Section(
    "Options",
    (
        Option(
            (),
            "MODEL",
            "an exported file, the folder of an export, or the run directory of a training",
            MISSING,
        ),
        Option(
            (),
            "INPUT...",
            "image files of any size, folders of them, or .npy and .npz files with images "
            "[n, h, w] or [n, h, w, c], or with signals [n, channels, time]; one that cannot be "
            "read is named, and the others are classified",
            MISSING,
        ),
        Option(("--top",), "N", "classes to name for each input", "1"),
        JSON,
    ),
)

WIDEST = 30
"""Letters of a class up to which columns are aligned."""


def predict(given: dict[str, Any]) -> int:
    """`morphogen predict MODEL INPUT...`, from its options.

    An input that cannot be read does not hide the others: it is named, and the exit code says so.
    """
    top = whole("--top", given["top"], ranges.CLASSES)
    from morphogen.exports import load
    from morphogen.exports.inputs import inputs_of
    from morphogen.tasks.inputs import Failed, Named

    model = load(given["model"])
    reading = inputs_of(model.signature)
    inputs: list[Named] = []
    failed: list[Failed] = []
    passed: list[str] = []
    for word in given["input"]:
        inputs += reading.expanded(word, model.signature, passed, failed)
    for sentence in passed:
        print(f"note: {shown(sentence)}", file=sys.stderr)
    said = []
    left = max((len(shown(one.name)) for one in inputs), default=0)
    for one, answer in zip(inputs, model.answers(i.item for i in inputs), strict=True):
        if isinstance(answer, DataError):
            failed.append((one.name, answer))
        elif given["json"]:
            said.append({reading.one: one.name, **asdict(answer)})
        else:
            print(f"{shown(one.name):<{left}}  {_ranked(answer.probabilities, top)}")
    if given["json"] and (said or len(failed) > 1):
        _print_predictions(str(model.path), said, failed, reading.one)
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        for _, reason in failed:
            print(f"note: {reason}", file=sys.stderr)
        raise DataError(
            f"{len(failed)} {reading.one}s were not classified, each is named above; accepted: "
            f"{reading.accepted}"
        )
    return 0


def _print_predictions(
    model: str, said: list[dict[str, Any]], failed: list[tuple[str, DataError]], one: str
) -> None:
    lost = [{one: name, "reason": str(error)} for name, error in failed]
    print_json({"model": model, "predictions": said} | ({"failed": lost} if lost else {}))


def _ranked(probabilities: dict[str, float], top: int) -> str:
    """The likeliest classes, as wide as the longest name so that columns stand."""
    wide = min(max(len(shown(name)) for name in probabilities), WIDEST)
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:top]
    return "  ".join(f"{shown(name):<{wide}} {100 * p:5.1f} %" for name, p in ranked)


COMMAND = Command(
    "predict",
    "MODEL INPUT...",
    "Classify images or signals with an exported network, which needs nothing else, or with the "
    "network of a run.",
    (
        "morphogen predict model/model.onnx image.png",
        "morphogen predict model/model.onnx photos/*.jpg --top 3 --json",
    ),
    predict,
    OPTIONS,
)
