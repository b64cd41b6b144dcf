"""`export` and `predict`: a trained network as a file, and its use. Torch is imported late."""

from __future__ import annotations

import sys
from dataclasses import MISSING, asdict
from typing import Any

from morphogen.cli.options import Option, Section
from morphogen.core import ConfigError, DataError, ranges
from morphogen.core.names import shell, shown
from morphogen.reports.text import fold

_JSON = Option(("--json",), "", "print one JSON object on stdout", False)

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
            "the training images, if they have moved; the written file is run on some of them and "
            "compared",
            "",
        ),
        _JSON,
    ),
)

PREDICT = Section(
    "Options",
    (
        Option((), "EXPORT", "an exported file, or the folder of an export", MISSING),
        Option(
            (),
            "IMAGE...",
            "image files of any size, folders of them, or .npy and .npz files with images "
            "[n, h, w] or [n, h, w, c]; one that cannot be read is named, and the others are "
            "classified",
            MISSING,
        ),
        Option(("--top",), "N", "classes to name for each image", "1"),
        _JSON,
    ),
)


WIDEST = 30
"""Letters of a class up to which columns are aligned."""


def export(given: dict[str, Any]) -> int:
    """`morphogen export RUN`, from its options."""
    to = [name.strip() for name in given["to"].split(",") if name.strip()]
    if not to:
        raise ConfigError("--to is empty; accepted: onnx, torch-export or safetensors")
    from morphogen.cli.commands import print_json, width
    from morphogen.exports import writing
    from morphogen.exports.loading import SUFFIXES

    done = writing.export(given["run"], to, given["out"] or None, data=given["data"] or None)
    if given["json"]:
        print_json({"files": [{**asdict(one), "path": str(one.path)} for one in done]})
        return 0
    for one in done:
        text = (
            f"{one.path}: {one.path.stat().st_size:,} bytes; run on {one.images} training images, "
            f"its scores differ from the network's by at most {one.difference:.1e} (accepted: "
            f"{one.tolerance:.1e})."
        )
        print(fold(text, width()))
    folder = done[0].path.parent
    print(f"{shown(folder / 'README.md')}: model card.\n\nTo use it:")
    loaded = [one.path for suffix in SUFFIXES for one in done if one.path.suffix == suffix]
    if loaded:
        print(f"  {shell('morphogen', 'predict', loaded[0])} IMAGE...")
    else:
        print(f"  torch.export.load({str(done[0].path)!r}).module() in Python, without morphogen")
    return 0


def predict(given: dict[str, Any]) -> int:
    """`morphogen predict EXPORT IMAGE...`, from its options.

    An image that cannot be read does not hide the others: it is named, and the exit code says so.
    """
    from morphogen.cli.options import whole

    top = whole("--top", given["top"], ranges.CLASSES)
    from morphogen.exports import load
    from morphogen.exports.pictures import Failed, Named, expanded

    model = load(given["export"])
    pictures: list[Named] = []
    failed: list[Failed] = []
    passed: list[str] = []
    for word in given["image"]:
        pictures += expanded(word, passed, failed)
    for sentence in passed:
        print(f"note: {shown(sentence)}", file=sys.stderr)
    said = []
    left = max((len(shown(one.name)) for one in pictures), default=0)
    for one, answer in zip(pictures, model.answers(p.picture for p in pictures), strict=True):
        if isinstance(answer, DataError):
            failed.append((one.name, answer))
        elif given["json"]:
            said.append({"image": one.name, **asdict(answer)})
        else:
            print(f"{shown(one.name):<{left}}  {_ranked(answer.probabilities, top)}")
    if given["json"] and (said or len(failed) > 1):
        _print_predictions(str(model.path), said, failed)
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        for _, reason in failed:
            print(f"note: {reason}", file=sys.stderr)
        raise DataError(
            f"{len(failed)} images were not classified, each is named above; accepted: image "
            "files, folders of them, .npy and .npz files"
        )
    return 0


def _print_predictions(
    model: str, said: list[dict[str, Any]], failed: list[tuple[str, DataError]]
) -> None:
    from morphogen.cli.commands import print_json

    lost = [{"image": name, "reason": str(error)} for name, error in failed]
    print_json({"model": model, "predictions": said} | ({"failed": lost} if lost else {}))


def _ranked(probabilities: dict[str, float], top: int) -> str:
    """The likeliest classes, as wide as the longest name so that columns stand."""
    wide = min(max(len(shown(name)) for name in probabilities), WIDEST)
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:top]
    return "  ".join(f"{shown(name):<{wide}} {100 * p:5.1f} %" for name, p in ranked)
