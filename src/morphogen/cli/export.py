"""`export` and `predict`: a trained network as a file, and its use. Torch is imported late."""

from __future__ import annotations

from dataclasses import MISSING, asdict
from typing import Any

from morphogen.cli.options import Option, Section
from morphogen.core import ConfigError, ranges
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
            "onnx, torch-export, safetensors, or several with commas between; onnx and "
            "torch-export hold the whole network, safetensors its weights",
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
        Option((), "IMAGE...", "PNG, JPEG or other image files of any size", MISSING),
        Option(("--top",), "N", "classes to name for each image", "1"),
        _JSON,
    ),
)


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
    """`morphogen predict EXPORT IMAGE...`, from its options."""
    from morphogen.cli.commands import print_json
    from morphogen.cli.options import whole

    top = whole("--top", given["top"], ranges.CLASSES)
    from morphogen.exports import load

    model = load(given["export"])
    found = model.predict(given["image"])
    if given["json"]:
        print_json(
            {
                "model": str(model.path),
                "predictions": [
                    {"image": image, **asdict(p)}
                    for image, p in zip(given["image"], found, strict=True)
                ],
            }
        )
        return 0
    left = max(len(shown(image)) for image in given["image"])
    for image, prediction in zip(given["image"], found, strict=True):
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
        names = "  ".join(f"{shown(name)} {100 * p:.1f} %" for name, p in ranked)
        print(f"{shown(image):<{left}}  {names}")
    return 0
