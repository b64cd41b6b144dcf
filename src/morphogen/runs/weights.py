"""Weights as safetensors: tensors, and beside them what one must know to use the network.

The format holds numbers and text only: nothing in it can run when it is read. The text is checked
before anything is built from it: its sizes decide how much memory and time that takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, JsonValue, StringConstraints
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from morphogen.core import ConfigError, DataError, MorphogenError, ranges
from morphogen.core.config import config, from_mapping, to_mapping
from morphogen.core.files import nameable, write_anew
from morphogen.core.reading import trouble
from morphogen.supernets import NetworkSpec
from morphogen.supernets.nested import tensors_of, zeros
from morphogen.tasks.configs import inputs_for

TENSORS = "tensors"
"""Kind of the inputs of a task that alone knows how they are made."""

KEY = "morphogen"
"""Name of our entry in the metadata of a file."""

LONGEST = 64 * 2**20
"""Letters of a description; a million classes with names of ordinary length fit."""

LARGEST = 2**26
"""Numbers in an input."""

Width = Annotated[int, Field(ge=1, le=ranges.WIDTH.most, strict=True)]
Depth = Annotated[int, Field(ge=1, le=ranges.DEPTH.most, strict=True)]
Length = Annotated[int, Field(ge=1, le=ranges.LENGTH.most, strict=True)]
Classes = Annotated[int, Field(ge=0, le=ranges.CLASSES.most, strict=True)]
Channels = Annotated[int, Field(ge=0, le=ranges.CLASSES.most, strict=True)]
"""Of images and signals, or different tokens."""
Text = Annotated[str, StringConstraints(max_length=2**20, strict=True)]
Name = Annotated[str, StringConstraints(max_length=10_000, strict=True)]
Number = Annotated[float, Field(strict=True)]
Scale = Annotated[float, Field(gt=0, strict=True)]


@config
class Size:
    """Of a network, as `NetworkSpec` has it."""

    channels: Width
    depth: Depth
    classes: Classes
    in_channels: Channels
    stem: Literal["cifar", "imagenet"] = "cifar"


@config
class Signature:
    """What a trained network takes and gives, and where it is from."""

    format: Literal[2] = 2
    """of this description"""
    space: dict[Name, JsonValue]
    """the search space, as `to_mapping` writes it"""
    architecture: Text
    """in the space's notation"""
    spec: Size
    """size of the network"""
    classes: tuple[Name, ...]
    """names, in the order of the scores; none of a task without classes"""
    kind: Name
    """of inputs: a kind of data that says how it is read (`tasks.inputs`), or tensors"""
    example: JsonValue = None
    """of tensors, and of tokens: what one input is, as `supernets.nested.described` writes it"""
    preparation: dict[Name, JsonValue] | None = None
    """of tokens: what else is needed to make and to read them, such as vocabularies"""
    channels: Width = 1
    """of an input, such as 1 of a grey image and 3 of red, green and blue"""
    size: Length | tuple[Length, ...] = 1
    """along each other axis: height and width of an image in pixels, points of time of a signal; a
    number for each where they differ"""
    mean: tuple[Number, ...] = ()
    """per channel, of images on the scale of 0 to 1; the network takes (pixel / 255 - mean) / std,
    or (value - mean) / std"""
    std: tuple[Scale, ...] = ()
    """likewise"""
    origin: dict[str, JsonValue]
    """data, split, settings, seed, command, versions of the training"""

    def __post_init__(self) -> None:
        if self.structured:
            with torch.device("meta"):  # takes no memory, whatever the file claims
                held = tensors_of(zeros(self.example))  # refuses what is no description
            if sum(t.numel() for t in held) > LARGEST:
                raise ConfigError(f"Signature: example is larger than {LARGEST:,} numbers")
            return
        if not self.classes:
            raise ConfigError("Signature: classes is empty; accepted: a name for each score")
        for name, found, wanted in (
            ("spec.classes", self.spec.classes, len(self.classes)),
            ("spec.in_channels", self.spec.in_channels, self.channels),
            ("number of means", len(self.mean), self.channels),
            ("number of stds", len(self.std), self.channels),
        ):
            if found != wanted:
                raise ConfigError(f"Signature: {name} is {found}; accepted: {wanted}")
        inputs = inputs_for(self.kind)
        if isinstance(self.size, tuple) and len(self.size) != inputs.axes - 1:
            raise ConfigError(
                f"Signature: size is {self.size}; accepted: {inputs.axes - 1} numbers, or one"
            )
        if max(self.input_shape[1:]) > inputs.sizes.most:
            raise ConfigError(
                f"Signature: size is {self.size}; accepted: {inputs.unit}, at most "
                f"{inputs.sizes.most}"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError("Signature: classes has a name twice; accepted: different names")

    @property
    def structured(self) -> bool:
        """Whether an input is what `example` says, and not one array of channels and places."""
        return self.kind == TENSORS or inputs_for(self.kind).axes == 0

    @property
    def space_name(self) -> str:
        """Name of the search space."""
        return str(self.space.get("name", ""))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels and sizes: height and width of an image, points of time of a signal.

        Empty of tensors and tokens.
        """
        if self.structured:
            return ()
        if isinstance(self.size, tuple):
            return (self.channels, *self.size)
        return (self.channels, *[self.size] * (inputs_for(self.kind).axes - 1))

    def example_input(self, count: int) -> Any:
        """A batch of inputs of zeros, of the shapes that the network takes."""
        if self.structured:
            return zeros(self.example, count)
        return torch.zeros(count, *self.input_shape)

    @property
    def network_spec(self) -> NetworkSpec:
        """The size as supernets take it."""
        return NetworkSpec(**asdict(self.spec))

    def to_json(self) -> str:
        """As text, for the metadata of a file."""
        return json.dumps(to_mapping(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> Signature:
        """Read it back, or a `DataError` that names `where`."""
        try:
            if len(text) > LONGEST:
                raise ValueError(f"it has {len(text):,} letters")
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            return from_mapping(cls, values)
        except (ValueError, RecursionError, MorphogenError) as error:
            raise DataError(
                f"{where} has no readable description of its network ({error}); accepted: a file "
                "that morphogen wrote"
            ) from error


def packed(net: nn.Module, signature: Signature, names: set[str]) -> bytes:
    """The content of a file with those entries of the state of `net` that are in `names`."""
    state: Mapping[str, Tensor] = net.state_dict()
    # Copies, since a file holds no two names for one tensor.
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state.items() if k in names}
    return save(tensors, {KEY: signature.to_json()})


def write_weights(path: Path, net: nn.Module, signature: Signature, names: set[str]) -> None:
    """Write those entries of the state of `net` that are in `names`, whole or not at all."""
    write_anew(path, packed(net, signature, names))


def read_weights(path: Path) -> tuple[dict[str, Tensor], Signature]:
    """Tensors and signature of a file that `write_weights` wrote, or a `DataError`."""
    wrong = trouble(path)
    if wrong:
        raise DataError(f"{path} cannot be read ({wrong}); accepted: a whole .safetensors file")
    try:
        with nameable(path) as name, safe_open(name, framework="pt") as file:
            held: dict[str, str] = file.metadata() or {}
            if KEY not in held:
                raise DataError(
                    f"{path} holds weights but no description of their network; accepted: a file "
                    "that morphogen wrote"
                )
            signature = Signature.from_json(held[KEY], str(path))
            return {key: file.get_tensor(key) for key in file.keys()}, signature  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read ({reason}); accepted: a whole .safetensors file"
        ) from error
