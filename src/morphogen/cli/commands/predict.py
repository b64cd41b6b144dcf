"""`morphogen predict`: what an exported network says of images, signals or texts."""

from __future__ import annotations

import sys
from dataclasses import MISSING
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import JSON, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.cli.terminal.output import print_json
from morphogen.core import ConfigError, DataError, ranges
from morphogen.core.files import write_anew
from morphogen.core.names import brief, shown

if TYPE_CHECKING:
    from morphogen.tasks.inputs import Answer

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
            "read is named, and the others are answered. Of a network for sequences texts, each in "
            "quotes, or .txt files with one in each line. Of a policy how many episodes it is to "
            "play",
            MISSING,
        ),
        Option(("--top",), "N", "classes to name for each input", "1"),
        Option(
            ("--out",),
            "FOLDER",
            "of a network that gives masks: where to write a coloured PNG file for each image",
            "",
        ),
        JSON,
    ),
)


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
    out = _folder(given["out"])
    left = max((len(shown(one.name)) for one in inputs), default=0)
    for one, answer in zip(inputs, model.answers(i.item for i in inputs), strict=True):
        if isinstance(answer, DataError):
            failed.append((one.name, answer))
            continue
        wrote = {"file": str(_written(out, one.name, answer))} if out is not None else {}
        if given["json"]:
            said.append({reading.one: one.name, **answer.plain(), **wrote})
        else:
            beside = f"  {shown(wrote['file'])}" if wrote else ""
            print(f"{shown(one.name):<{left}}  {answer.line(top)}{beside}")
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


def _folder(text: str) -> Path | None:
    """Where files are to go, made if it is not there; None if none are asked for."""
    if not text:
        return None
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out is {brief(text)}, which cannot be made ({error.strerror}); accepted: a folder"
        ) from error
    return folder


def _written(folder: Path, name: str, answer: Answer) -> Path:
    """The file of an answer, named after its input; a name that is taken gets a number."""
    file = answer.file()
    if file is None:
        raise ConfigError("--out is given, and the network gives no masks; accepted: none")
    ending, content = file
    stem = Path(name).stem
    free = (folder / f"{stem}{(n and f'-{n}') or ''}{ending}" for n in count())
    path = next(path for path in free if not path.exists())
    write_anew(path, content)
    return path


COMMAND = Command(
    "predict",
    "MODEL INPUT...",
    "Classify images or signals, or translate texts, with an exported network, which needs nothing "
    "else, or with the network of a run.",
    (
        "morphogen predict model/model.onnx image.png",
        "morphogen predict model/model.onnx photos/*.jpg --top 3 --json",
        "morphogen predict runs/translation 'A man rides a bicycle.'",
    ),
    predict,
    OPTIONS,
)
