"""The three formats: how each is written from a network, and run from its file.

A file may come from anywhere. What is run from a file is built here, from an architecture and
tensors (safetensors), or is a graph that can only compute (ONNX). A torch.export archive is a
program, which torch reads with `eval`, `exec` and `pickle` and whose operators reach any file; it
is written for other runtimes, and run here only from the bytes that were just made, to verify them.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from morphogen import spaces
from morphogen.core import ConfigError, DataError
from morphogen.core.names import shell
from morphogen.exports.onnxfile import MOST, OUTPUT, inputs, need, opened
from morphogen.runs.weights import KEY, Signature, packed, read_weights
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets import network, space_of
from morphogen.supernets.checks import materialised
from morphogen.supernets.nested import call, mapped, tensors_of

ENTRY = f"{KEY}.json"
"""Name of the signature in a torch.export archive."""

REASON = 200
"""Letters of a library's own account of what it cannot do."""

SHALLOW = 50
"""Cells that a network may have whatever its tensors are: a cell of skips has none."""

Run = Callable[[Any], Any]
"""From inputs to outputs: tensors, or tuples and dicts of them."""


# -- ONNX ------------------------------------------------------------------------------------------


class _Flat(nn.Module):
    """A network that takes the tensors of its inputs one by one, and gives those of its output."""

    def __init__(self, net: nn.Module, example: Any) -> None:
        super().__init__()
        self.net, self._example = net, example

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        return tuple(tensors_of(call(self.net, mapped(lambda _: next(rest), self._example))))


def _axes(signature: Signature) -> Any:
    """Of each tensor of the inputs, which axes may have any size: the batch, and those that do."""
    batch = torch.export.Dim("batch", min=1)
    if not any(None in sizes for sizes in inputs(signature).values()):
        return tuple({0: batch} for _ in inputs(signature))
    free = torch.export.Dim.AUTO
    return tuple(
        {0: free, **{i: free for i, size in enumerate(sizes, 1) if size is None}}
        for sizes in inputs(signature).values()
    )


def write_onnx(file: BinaryIO, net: nn.Module, signature: Signature, x: Any) -> None:
    """Write a graph that takes batches of any size."""
    need("onnx")
    need("onnxscript")
    with _exporting("onnx"):
        tensors, axes = tensors_of(x), _axes(signature)
        if not isinstance(x, Tensor):
            net = _Flat(net, x)
        with torch.no_grad():
            outputs = len(tensors_of(net(*tensors)))
        program = torch.onnx.export(
            net,
            tuple(tensors),
            dynamo=True,
            verbose=False,
            input_names=list(inputs(signature)),
            output_names=[OUTPUT, *(f"{OUTPUT}_{i}" for i in range(1, outputs))],
            dynamic_shapes=axes if isinstance(x, Tensor) else {"tensors": axes},
        )
        if program is None:  # what torch's older exporter would return
            raise ConfigError("torch wrote no ONNX graph; accepted: torch 2.6 or newer")
        program.model.metadata_props[KEY] = signature.to_json()
        model = program.model_proto
    if model.ByteSize() > MOST:
        raise ConfigError(
            f"the network has {model.ByteSize():,} bytes; accepted: at most {MOST:,} in an .onnx "
            "file, or safetensors"
        )
    file.write(model.SerializeToString())


def read_onnx(path: Path) -> tuple[Run, Signature]:
    """Run an ONNX file by onnxruntime on the CPU."""
    content, signature = opened(path)
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # its warnings print names of the file as they are
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(
            f"{path} cannot be run ({reason(error)}); accepted: a whole .onnx file"
        ) from error

    names = list(inputs(signature))

    def run(x: Any) -> Any:
        fed = dict(zip(names, (t.numpy(force=True) for t in tensors_of(x)), strict=True))
        try:
            found = session.run(None, fed)
        except Exception as error:
            raise DataError(
                f"{path} fails ({reason(error)}); accepted: a whole .onnx file"
            ) from error
        outputs = tuple(map(torch.from_numpy, found))
        return outputs[0] if len(outputs) == 1 else outputs

    return run, signature


# -- torch.export ----------------------------------------------------------------------------------


def write_torch_export(file: Path | BinaryIO, net: nn.Module, signature: Signature, x: Any) -> None:
    """Write an archive that `torch.export.load` reads, for batches of any size."""
    with _exporting("torch-export"):
        axes = iter(_axes(signature))
        shapes: Any = mapped(lambda _: next(axes), x)
        args, named = ((), x) if isinstance(x, dict) else (x if isinstance(x, tuple) else (x,), {})
        program = torch.export.export(
            net,
            args,
            named,
            dynamic_shapes=shapes if isinstance(x, dict | tuple) else (shapes,),
            strict=False,
        )
        program.example_inputs = None  # they would be the one entry of the archive that is a pickle
    with _quiet():
        torch.export.save(program, file, extra_files={ENTRY: signature.to_json()})


def run_torch_export(content: bytes) -> Run:
    """Run an archive that this process has just made; one from elsewhere would run its author."""
    with _quiet():
        net = torch.export.load(io.BytesIO(content)).module()
    return lambda x: call(net, x)


def refusal(path: Path) -> DataError:
    """Why a torch.export archive is not loaded, and what is."""
    again = shell("morphogen", "export", "RUN", "--to", "onnx,safetensors")
    return DataError(
        f"{path} is a torch-export file: a program, which could do anything here when it is read, "
        "so morphogen does not; accepted: an .onnx or .safetensors file of the same network "
        f"(`{again}`), or, if you trust its author, torch.export.load in a program of your own"
    )


# -- safetensors -----------------------------------------------------------------------------------


def write_safetensors(file: BinaryIO, net: nn.Module, signature: Signature, x: Any) -> None:
    """Write the weights alone; the network is built anew from its space and architecture."""
    file.write(packed(net, signature, set(net.state_dict())))


def read_safetensors(path: Path, module: nn.Module | None = None) -> tuple[Run, Signature]:
    """Build the network and give it the weights.

    Args:
        path: the file.
        module: your own module, if the network is one of its architectures.
    """
    tensors, signature = read_weights(path)
    space: SearchSpace
    if module is not None:
        space = space_of(module, signature.space_name)
    elif not spaces.needs_code(signature.space):
        space = spaces.read(signature.space)
    else:
        raise ConfigError(
            f"{path} holds the weights of a network of your own module; accepted: "
            f"morphogen.load({str(path)!r}, module=YOUR_MODULE), or an .onnx file, which holds the "
            "network itself"
        )
    return built(space, signature, tensors, str(path)), signature


def built(
    space: SearchSpace, signature: Signature, tensors: dict[str, Tensor], where: str
) -> nn.Module:
    """The network of a signature with its weights, in evaluation mode, or a `DataError`."""
    arch, spec = space.parse(signature.architecture), signature.network_spec
    if isinstance(space, ModuleSpace):  # whose sizes are the user's own
        net = network(materialised(space, signature.example_input(2), 0), arch, spec)
        wrong = _misfit(net, tensors)
    elif spec.depth > max(SHALLOW, len(tensors)):  # each cell would take time, if no memory
        net, wrong = nn.Identity(), f"{len(tensors)} tensors are no network of depth {spec.depth}"
    else:
        with torch.device("meta"):  # takes no memory, whatever sizes the file claims
            wrong = _misfit(network(space, arch, spec), tensors)
        net = nn.Identity() if wrong else network(space, arch, spec)
    if wrong:
        raise DataError(
            f"the weights of {where} do not fit {signature.architecture!r} of {space.name} "
            f"({wrong}); accepted: the file as it was written"
        )
    net.load_state_dict(tensors)
    return net.eval()


def _misfit(net: nn.Module, tensors: dict[str, Tensor]) -> str:
    """How tensors are not those of a network; empty if they are."""
    wanted = net.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        return f"{name!r} is {'missing' if name in wanted else 'none of its own'}"
    for name, held in tensors.items():
        if (held.shape, held.dtype) != (wanted[name].shape, wanted[name].dtype):
            return (
                f"{name!r} is {held.dtype} {list(held.shape)}, of the network "
                f"{wanted[name].dtype} {list(wanted[name].shape)}"
            )
        if held.is_floating_point() and not bool(held.isfinite().all()):
            return f"{name!r} holds numbers that are not finite"
    return ""


# -- shared ----------------------------------------------------------------------------------------


@contextmanager
def _exporting(name: str) -> Iterator[None]:
    """Whatever torch's exporters raise becomes a sentence that says what to do instead."""
    try:
        with _quiet():
            yield
    except (ConfigError, MemoryError):
        raise
    except Exception as error:
        raise ConfigError(
            f"torch cannot write this network as {name} ({reason(error)}); accepted: a module "
            "whose forward does not branch on the values of its input and is not wrapped "
            "(DataParallel: pass its .module), or the format safetensors, which holds the weights "
            "alone"
        ) from error


def reason(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:REASON]


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporters print of their own insides and of torchvision's absence."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
