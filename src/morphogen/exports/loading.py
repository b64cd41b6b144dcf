"""Load a trained network: an export, whichever its format, or the run of a training."""

from __future__ import annotations

import os

from torch import nn

from morphogen.core import DataError, arguments
from morphogen.core.reading import trouble
from morphogen.exports import formats, onnxfile
from morphogen.exports.model import Model
from morphogen.exports.trained import trained_network

SUFFIXES = (".onnx", ".safetensors")
"""Of the files that can be loaded, in the order in which a folder's are preferred."""

PROGRAM = ".pt2"
"""Of the files that are written for other runtimes only."""


def load(path: str | os.PathLike[str], module: nn.Module | None = None) -> Model:
    """A trained network that answers for new inputs.

    Args:
        path: an exported file, the folder of an export, or the run directory of a finished
            training, of which the best seed by its held-out figure is taken. It may come from
            anywhere: what is in it is checked before anything is built from it, and no file can
            run code here.
        module: your own module, for a .safetensors file or a run of one of its architectures.

    Raises:
        DataError: it is missing, damaged, a torch-export archive (which is a program), reaches for
            other files, or was not written by morphogen.
        RunError: it is the run of a search, or not finished.
        ConfigError: what is needed to run it is not installed, or `module` is missing.
    """
    file = arguments.path("path", path)
    if file.is_dir():
        inside = [file / f"model{suffix}" for suffix in SUFFIXES]
        there = [f for f in inside if f.is_file()]
        if not there and (file / "config.yaml").exists():
            net, signature = trained_network(file, space=module)
            return Model(net, signature, file)
        if not there and (file / f"model{PROGRAM}").is_file():
            raise formats.refusal(file / f"model{PROGRAM}")
        if not there:
            raise DataError(
                f"{file} holds no exported network; accepted: a run directory, a folder with "
                f"{' or '.join(f.name for f in inside)}, or such a file"
            )
        # Without the extra `onnx` the weights beside such a file do as well.
        file = next((f for f in there if f.suffix != ".onnx" or onnxfile.installed()), there[0])
    wrong = trouble(file)
    if wrong:
        raise DataError(f"{file} cannot be read ({wrong}); accepted: an exported network")
    if file.suffix == ".onnx":
        return Model(*formats.read_onnx(file), file)
    if file.suffix == ".safetensors":
        return Model(*formats.read_safetensors(file, module), file)
    if file.suffix == PROGRAM:
        raise formats.refusal(file)
    raise DataError(
        f"{file} is not an exported network by its name; accepted: files ending in "
        f"{' or '.join(SUFFIXES)}"
    )
