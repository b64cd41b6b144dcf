"""An ONNX file from anywhere: what of it may reach onnxruntime, so that only numbers are computed.

A graph of standard operators computes scores from pixels and can do nothing else. Two things in the
format reach further: tensors whose data lie in another file, wherever its author says, and
operators beyond the standard, which a runtime may know. Both are refused wherever they stand, in
subgraphs, functions and attributes too. onnxruntime is then given what was checked and no more:
what this reader of the format did not know is dropped, lest the other's know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from morphogen.core import ConfigError, DataError
from morphogen.exports.inputs import inputs_of
from morphogen.runs.weights import KEY, Signature
from morphogen.supernets.nested import sizes_of

OUTPUT = "scores"
"""Name in a graph of its output; that of its input is `Signature.kind`."""

STANDARD = ("", "ai.onnx")
"""Names of the set of operators that every runtime has."""

MOST = 2**31 - 1
"""Bytes of a message that the format, protocol buffers, can have."""


def installed() -> bool:
    """Whether what runs such a file is there."""
    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def need(name: str) -> Any:
    """A package of the extra `onnx`, or a `ConfigError`."""
    try:
        return __import__(name)
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs the package {name}, which is not installed; accepted: pip install "
            "'morphogen[onnx]', or another format"
        ) from error


def inputs(signature: Signature) -> dict[str, list[int | None]]:
    """Names and sizes of a graph's inputs, in order, without the batch; None: any size.

    The name is the kind of the input; of several it is made of their keys and places.
    """
    if not signature.structured:
        return {signature.kind: list(signature.input_shape)}

    def names(value: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from names(inner, (*words, str(key)))
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                yield from names(inner, (*words, str(place)))
        else:
            yield "_".join(("input", *words))

    return dict(zip(names(signature.example), sizes_of(signature.example), strict=True))


def opened(path: Path) -> tuple[bytes, Signature]:
    """A graph that can only compute, as bytes for onnxruntime, and its signature.

    Raises:
        DataError: the file is damaged, not ours, refers to other files or to other operators.
    """
    size = path.stat().st_size
    if size > MOST:
        raise DataError(f"{path} has {size:,} bytes; accepted: an .onnx file of at most {MOST:,}")
    onnx = need("onnx")
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except Exception as error:
        raise DataError(f"{path} cannot be read ({error}); accepted: a whole .onnx file") from error
    texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    if not texts:
        raise DataError(
            f"{path} has no description of classes and preprocessing; accepted: a file that "
            "`morphogen export` wrote"
        )
    signature = Signature.from_json(texts[0], str(path))
    wrong = next(_beyond(onnx, model), "") or _other_shape(model, signature)
    if wrong:
        raise DataError(f"{path} {wrong}, and was not run; accepted: a file that morphogen wrote")
    del model.metadata_props[:]  # some of which onnxruntime may take for options
    model.DiscardUnknownFields()
    return model.SerializeToString(), signature


def _beyond(onnx: Any, model: Any) -> Iterator[str]:
    """What a file refers to that is not in it."""
    own = {(f.domain, f.name) for f in model.functions}
    for part in _parts(model):
        if isinstance(part, onnx.TensorProto):
            if part.external_data or part.data_location != onnx.TensorProto.DEFAULT:
                yield f"keeps the tensor {part.name!r} in another file"
        elif isinstance(part, onnx.SparseTensorProto):
            yield "holds a sparse tensor, whose size is not that of its data"
        elif (
            isinstance(part, onnx.NodeProto)
            and part.domain not in STANDARD
            and (part.domain, part.op_type) not in own
        ):
            yield f"has the operator {part.op_type!r} of {part.domain!r}, which is not of ONNX"


def _parts(message: Any) -> Iterator[Any]:
    """A message and all messages within it. The reader limits how deep they are nested."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _parts(inner)


def _other_shape(model: Any, signature: Signature) -> str:
    """How a graph's inputs or outputs are not what its signature says."""
    held = {tensor.name for tensor in model.graph.initializer}
    takes = [value for value in model.graph.input if value.name not in held]
    gives = list(model.graph.output)
    outputs: dict[str, list[int | None]] = {OUTPUT: [*inputs_of(signature).outputs(signature)]}
    for word, values, wanted in (
        ("takes", takes, inputs(signature)),
        # What a task of a user's own gives is no row of scores, and only the task knows it.
        *([("gives", gives, outputs)] if not signature.structured else []),
    ):
        if [value.name for value in values] != list(wanted):
            names = ", ".join(repr(value.name) for value in values) or "nothing"
            return f"{word} {names} where {', '.join(map(repr, wanted))} should be"
        for value in values:
            shape = value.type.tensor_type.shape.dim
            found = [dim.dim_value or None for dim in shape[1:]]
            if found != wanted[value.name] or shape[0].HasField("dim_value"):
                return (
                    f"{word} {value.name} of shape {found}, and by its description of "
                    f"{wanted[value.name]}"
                )
    return ""
