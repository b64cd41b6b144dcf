"""The three formats: how each is written from a network, and run from its file."""

from __future__ import annotations

import json
import logging
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morphogen import spaces
from morphogen.core import ConfigError, DataError
from morphogen.engine.weights import KEY, Signature, read_weights, write_weights
from morphogen.spaces import BUILT_IN, SearchSpace
from morphogen.supernets import network, space_of

INPUT, OUTPUT = "images", "scores"
"""Names in an ONNX graph: float32 `[batch, channels, size, size]`, and `[batch, classes]`."""

ENTRY = f"{KEY}.json"
"""Name of the signature in a torch.export archive."""

Run = Callable[[Tensor], Tensor]


# -- ONNX ------------------------------------------------------------------------------------------


def write_onnx(path: Path, net: nn.Module, signature: Signature, x: Tensor) -> None:
    """Write a graph that takes batches of any size."""
    _need("onnxscript")
    with _quiet():
        program = torch.onnx.export(
            net,
            (x,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
    if program is None:  # what torch's older exporter would return
        raise ConfigError("torch wrote no ONNX graph; accepted: torch 2.6 or newer")
    program.model.metadata_props[KEY] = signature.to_json()
    program.save(path)


def read_onnx(path: Path) -> tuple[Run, Signature]:
    """Run an ONNX file by onnxruntime on the CPU."""
    runtime = _need("onnxruntime")
    try:
        session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _damaged(path, error, ".onnx") from error
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise _foreign(path)

    def run(x: Tensor) -> Tensor:
        (scores,) = session.run([OUTPUT], {INPUT: x.numpy(force=True)})
        return torch.from_numpy(scores)

    return run, Signature.from_json(text, str(path))


# -- torch.export ----------------------------------------------------------------------------------


def write_torch_export(path: Path, net: nn.Module, signature: Signature, x: Tensor) -> None:
    """Write an archive that `torch.export.load` reads, for batches of any size."""
    with _quiet():
        program = torch.export.export(
            net, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
        )
        program.example_inputs = None  # they would be the one entry of the archive that is a pickle
        torch.export.save(program, path, extra_files={ENTRY: signature.to_json()})


def read_torch_export(path: Path) -> tuple[Run, Signature]:
    """Run a torch.export archive, if nothing in it is pickled or compiled."""
    text = _inspected(path)
    signature = Signature.from_json(text, str(path))
    try:
        with _quiet():
            run = torch.export.load(path).module()
    except Exception as error:
        raise _damaged(path, error, ".pt2") from error
    return run, signature


_PLAIN = re.compile(
    r"data/weights/(weight_\d+|\w+_weights_config\.json)|data/constants/\w+_constants_config\.json"
    r"|models/\w+\.json|data/sample_inputs/\w+\.pt|archive_(format|version)|byteorder"
    rf"|\.data/(version|serialization_id|\w+)|extra/{re.escape(ENTRY)}"
)
"""Entries of an archive that hold numbers and text."""


def _inspected(path: Path) -> str:
    """The signature of an archive of which no part could run code when torch reads it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {}
            for info in archive.infolist():
                name = info.filename.partition("/")[2]
                pickled = name.startswith("data/sample_inputs/") and info.file_size > 0
                if name in entries or pickled or not _PLAIN.fullmatch(name):
                    raise _unsafe(path, name)
                entries[name] = archive.read(info) if name.endswith(".json") else b""
        for name, body in entries.items():
            if name.endswith("_config.json"):
                for held in json.loads(body)["config"].values():
                    if held.get("use_pickle") is not False:
                        raise _unsafe(path, name)
            elif name.startswith("models/") and not all(map(_harmless, _code(json.loads(body)))):
                raise _unsafe(path, name)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error, ".pt2") from error
    if f"extra/{ENTRY}" not in entries:
        raise _foreign(path)
    return entries[f"extra/{ENTRY}"].decode(errors="replace")


def _code(value: Any) -> Iterator[Any]:
    """The texts in a graph that torch evaluates as Python: formulas of sizes, and guards."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr_str":
                yield inner
            elif key == "guards_code":
                yield from inner
            else:
                yield from _code(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _code(inner)


_SYMBOL = re.compile(r"Symbol\('[a-z]\d+'(, [a-z]+=(True|False))*\)")


def _harmless(text: Any) -> bool:
    """Whether it is arithmetic of sizes: no attribute, no text, no name with an underscore."""
    rest = _SYMBOL.sub("s", text) if isinstance(text, str) else "?"
    return re.fullmatch(r"[A-Za-z0-9+\-*/(), ]*", rest) is not None


# -- safetensors -----------------------------------------------------------------------------------


def write_safetensors(path: Path, net: nn.Module, signature: Signature, x: Tensor) -> None:
    """Write the weights alone; the network is built anew from its space and architecture."""
    write_weights(path, net, signature, set(net.state_dict()))


def read_safetensors(path: Path, module: nn.Module | None = None) -> tuple[Run, Signature]:
    """Build the network and give it the weights.

    Args:
        path: the file.
        module: your own module, if the network is one of its architectures.
    """
    tensors, signature = read_weights(path)
    space: SearchSpace
    if module is not None:
        space = space_of(module, signature.space)
    elif signature.space in BUILT_IN:
        space = spaces.make(signature.space)
    else:
        raise ConfigError(
            f"{path} holds the weights of a network of your own module; accepted: "
            f"morphogen.load({str(path)!r}, module=YOUR_MODULE), or an .onnx or .pt2 file, which "
            "hold the network itself"
        )
    return built(space, signature, tensors, str(path)), signature


def built(
    space: SearchSpace, signature: Signature, tensors: dict[str, Tensor], where: str
) -> nn.Module:
    """The network of a signature with its weights, in evaluation mode, or a `DataError`."""
    net = network(space, space.parse(signature.architecture), signature.network_spec)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(
            f"the weights of {where} do not fit {signature.architecture!r} of {space.name} "
            f"({str(error).splitlines()[-1].strip()}); accepted: the file as it was written"
        ) from error
    return net.eval()


# -- shared ----------------------------------------------------------------------------------------


def _need(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs the package {name}, which is not installed; accepted: pip install "
            "'morphogen[onnx]', or another format"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporters say of their own insides and of torchvision's absence."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _damaged(path: Path, error: Exception, suffix: str) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path} cannot be read ({reason}); accepted: a whole {suffix} file")


def _unsafe(path: Path, name: str) -> DataError:
    return DataError(
        f"{path} holds {name!r}, which could run code when it is read, and was not opened; "
        "accepted: a file that morphogen wrote"
    )


def _foreign(path: Path) -> DataError:
    return DataError(
        f"{path} has no description of classes and preprocessing; accepted: a file that "
        "`morphogen export` wrote"
    )
