"""Weights as safetensors: tensors, and beside them what one must know to use the network.

The format holds numbers and text only: nothing in it can run when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from morphogen.core import DataError, MorphogenError
from morphogen.core.config import config, from_mapping, to_mapping
from morphogen.core.files import sync_directory, write_whole, writing
from morphogen.supernets import NetworkSpec

KEY = "morphogen"
"""Name of our entry in the metadata of a file."""


@config
class Signature:
    """What a trained network takes and gives, and where it is from."""

    format: Literal[1] = 1
    """of this description"""
    space: str
    """name of the search space"""
    architecture: str
    """in the space's notation"""
    spec: dict[str, JsonValue]
    """size of the network, as `NetworkSpec` has it"""
    classes: tuple[str, ...]
    """names, in the order of the scores"""
    channels: Literal[1, 3] | int
    """of an image: 1 grey, 3 red, green and blue"""
    size: int
    """height and width of an image in pixels"""
    mean: tuple[float, ...]
    """per channel, on the scale of 0 to 1; the network takes (pixel / 255 - mean) / std"""
    std: tuple[float, ...]
    """likewise"""
    origin: dict[str, JsonValue]
    """data, split, settings, seed, command, versions of the training"""

    @property
    def network_spec(self) -> NetworkSpec:
        """The size as an object."""
        return NetworkSpec(**self.spec)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """As text, for the metadata of a file."""
        return json.dumps(to_mapping(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> Signature:
        """Read it back, or a `DataError` that names `where`."""
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            return from_mapping(cls, values)
        except (ValueError, MorphogenError) as error:
            raise DataError(
                f"{where} has no readable description of its network ({error}); accepted: a file "
                "that morphogen wrote"
            ) from error


def write_weights(path: Path, net: nn.Module, signature: Signature, names: set[str]) -> None:
    """Write those entries of the state of `net` that are in `names`, whole or not at all."""
    state: Mapping[str, Tensor] = net.state_dict()
    # Copies, since a file holds no two names for one tensor.
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state.items() if k in names}
    body = save(tensors, {KEY: signature.to_json()})
    with writing(path):
        fresh = path.with_name(path.name + ".new")
        write_whole(fresh, [body])
        fresh.replace(path)
        sync_directory(path.parent)


def read_weights(path: Path) -> tuple[dict[str, Tensor], Signature]:
    """Tensors and signature of a file that `write_weights` wrote, or a `DataError`."""
    try:
        with safe_open(path, framework="pt") as file:
            held: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); accepted: a whole .safetensors "
            "file"
        ) from error
    if KEY not in held:
        raise DataError(
            f"{path} holds weights but no description of their network; accepted: a file that "
            "morphogen wrote"
        )
    return tensors, Signature.from_json(held[KEY], str(path))
