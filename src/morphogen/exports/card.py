"""The model card: what a stranger needs to know of an exported network, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen import spaces
from morphogen.core.names import code, markdown
from morphogen.exports.inputs import inputs_of
from morphogen.exports.loading import SUFFIXES
from morphogen.runs.described import TITLES, Described
from morphogen.runs.weights import TENSORS, Signature
from morphogen.tasks import Task
from morphogen.tasks.configs import task_configs

NAMED, NAME = 12, 80
"""Classes that the card names, and letters of a name."""


def card(
    signature: Signature,
    result: Mapping[str, Any],
    config: Mapping[str, Any],
    task: Task,
    files: Mapping[str, Mapping[str, Any]],
) -> str:
    """The text of README.md.

    Args:
        signature: of the exported weights.
        result: result.json of the training, or of the search that delivers the network.
        config: its config.yaml.
        task: its data.
        files: export.json, by file name.
    """
    inputs, said = inputs_of(signature), Described.of(config)
    one = inputs.one
    parts = [
        f"# {one.capitalize()} {inputs.what}, {len(signature.classes)} classes"
        if signature.classes
        else f"# Network for {markdown(task.name)}",
        _use(signature, list(files)),
        "## What it is\n\n" + _table(_facts(signature, result, said.gathered)),
        "## How good it is\n\n" + _reached(result, said),
        "## How it was trained\n\n" + _training(signature, result, config, task),
        "## Input\n\n" + _input(signature),
        "## Files\n\n" + _files(files),
        "## Limits\n\n"
        + (
            f"It knows only the classes above and names one of them for any "
            f"{inputs.labelled or one}. Its "
            "probabilities are not calibrated. "
            if signature.classes
            else ""
        )
        + f"It was measured on {one}s of the same source as its training {one}s; "
        "on others it may do much worse. The licence of the training data may bind the network: "
        f"{_licence(str(config['data']))}.",
    ]
    return "\n\n".join(parts) + "\n"


def _use(signature: Signature, files: Sequence[str]) -> str:
    if not signature.classes:
        return _commands(signature, files)
    named = [f"{n[:NAME]}..." if len(n) > NAME else n for n in signature.classes[:NAMED]]
    more = ", ..." if len(signature.classes) > NAMED else ""
    return f"Classes: {', '.join(map(markdown, named))}{more}.\n\n" + _commands(signature, files)


def _commands(signature: Signature, files: Sequence[str]) -> str:
    """How to run it: by morphogen where it loads one of the files, else by torch."""
    loaded = [file for suffix in SUFFIXES for file in files if file.endswith(suffix)]
    if not loaded:
        return (
            f"```python\nimport torch\n\nnet = torch.export.load({files[0]!r}).module()\n"
            f"scores = net({signature.kind})  # prepared as Input says\n```\n\n"
            "To read such a file is to run a program: do so only if you trust who gave it to you."
        )
    file = loaded[0]
    if signature.kind == TENSORS:
        own = file.endswith(".safetensors") and spaces.needs_code(signature.space)
        module = ", module=YOUR_MODULE" if own else ""
        return (
            f"```python\nimport morphogen\n\nmodel = morphogen.load({file!r}{module})\n"
            "print(model(x))  # a batch as Input says\n```"
        )
    inputs = inputs_of(signature)
    before, given = inputs.python
    own = file.endswith(".safetensors") and spaces.needs_code(signature.space)
    return (
        ("" if own else f"```console\n$ morphogen predict {file} {inputs.word}\n```\n\n")
        + f"```python\nimport morphogen\n{before}\nmodel = morphogen.load({file!r}"
        + (", module=YOUR_MODULE" if own else "")
        + f")\nprint(model.predict({given})[0].{inputs.answer})\n```"
    )


def _facts(signature: Signature, result: Mapping[str, Any], gathered: str) -> list[tuple[str, str]]:
    """What the network is.

    Args:
        signature: of the network.
        result: of its training.
        gathered: what was gathered with it, if the examples are not fixed.
    """
    spec, cost = signature.spec, result["cost"]
    macs = f"{cost['macs'] / 1e6:,.2f} M"
    return [
        ("Search space", markdown(signature.space_name)),
        ("Architecture", code(signature.architecture)),
        ("Channels, depth", f"{spec.channels}, {spec.depth}"),
        ("Parameters", f"{cost['params']:,.0f}"),
        ("Multiply-adds for one " + (gathered or f"{inputs_of(signature).one}s")[:-1], macs),
    ]


def _reached(result: Mapping[str, Any], said: Described) -> str:
    lines = []
    for part, held in said.reached(result).items():
        text = f"- {TITLES[part]} {said.metric}: {said.value(held['mean'])}"
        if held.get("low") is not None:
            low, high = map(said.number, (held["low"], held["high"]))
            text += f", 95 % interval {low} to {high} {said.covers(held)}"
        else:
            text += ", one seed (no interval)"
        lines.append(text)
    for part, figure, held, how in said.figures(result):
        text = f"- {TITLES[part]} {figure.metric}: {figure.value(held['mean'])}"
        if held.get("low") is not None:
            text += f", 95 % interval {figure.number(held['low'])} to {figure.number(held['high'])}"
        lines.append(text + f" ({markdown(how)})" * bool(how))
    if result["seeds"] > 1:
        lines.append("- The figures are of all seeds; the files hold the weights of one.")
    return "\n".join([*lines, "", f"Split: {markdown(result['split'])}."])


def _training(
    signature: Signature,
    result: Mapping[str, Any],
    config: Mapping[str, Any],
    task: Task,
) -> str:
    cost, origin = result["cost"], signature.origin
    versions = ", ".join(f"{name} {text}" for name, text in config["versions"].items())
    said, size = Described.of(config), 0 if task.gathers else task.length("pool")
    drawn = sum(int(count) for name, count in cost.items() if name.endswith("_examples"))
    rows = [
        ("Data", markdown(config["data"]) + f" ({size:,} training {task.unit})" * bool(size)),
        ("Weights", f"seed {origin['seed']}, epoch {origin['epoch']} ({origin['weights']})"),
        ("Seeds", str(result["seeds"])),
        ("Time", f"{cost['seconds']:,.0f} s wall clock, {cost['cpu_seconds']:,.0f} s CPU"),
        (f"{said.drawn.capitalize()} drawn", f"{drawn:,}"),
        ("Command", code(config["command"])),
        ("Versions", markdown(versions)),
        ("Machine", markdown(config["machine"])),
    ]
    return _table(rows)


def _input(signature: Signature) -> str:
    prepared = inputs_of(signature).described(signature)
    if signature.structured and signature.kind != TENSORS:
        return prepared
    if not signature.classes:
        return f"{prepared} Output: as the loss of the training takes it."
    shape = ", ".join(("batch", "classes", *map(str, inputs_of(signature).outputs(signature)[1:])))
    return f"{prepared} Output: scores `[{shape}]`, before softmax."


def _files(files: Mapping[str, Mapping[str, Any]]) -> str:
    head = "| File | Format | Bytes | Largest difference from the network | SHA-256 |"
    rows = [
        f"| {markdown(name)} | {markdown(f['format'])} | {f['bytes']:,} | "
        f"{f['largest_difference']:.1e} on {f['verified_on_examples']} training examples "
        f"(accepted: {f['tolerance']:.1e}) | `{f['sha256'][:16]}...` |"
        for name, f in files.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)])


def _licence(data: str) -> str:
    known = (cls.licences.get(data.partition(":")[0]) for cls in task_configs().values())
    return next(filter(None, known), "not known to morphogen, so look it up")
