"""Predictions of a trained network, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from morphogen.core import DataError
from morphogen.core.names import brief
from morphogen.exports.inputs import inputs_of
from morphogen.exports.loading import load
from morphogen.exports.model import Model
from morphogen.tasks.inputs import Failed


def predict(model: str | os.PathLike[str] | Model, inputs: Any) -> list[Any]:
    """What a trained network says of images, signals or texts.

    Args:
        model: what `load` takes (an exported file or its folder, a training's run), or a `Model`.
        inputs: image files, folders of them, .npy or .npz files of images, or uint8 arrays of
            pixels `[height, width]` or `[height, width, channels]`; one, or a list of them; or an
            array `[n, height, width, channels]` of n images. Of a network of signals .npy or .npz
            files, or arrays `[channels, time]` or `[n, channels, time]`. Of a network for sequences
            texts, or .txt files of them.

    Returns:
        One for each input, in their order: a `Prediction`, a `Mask`, a `Translation`.

    Raises:
        DataError: the model cannot be loaded, or an input cannot be read. `load(model).answers`
            goes on to the others.
    """
    network = model if isinstance(model, Model) else load(model)
    reading = inputs_of(network.signature)
    if isinstance(inputs, np.ndarray):
        return network.predict(reading.several(inputs, network.signature))
    given = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    if not isinstance(given, Sequence):
        raise DataError(f"inputs is {brief(inputs)}; accepted: {reading.accepted}, or arrays")
    items: list[Any] = []
    failed: list[Failed] = []
    for one in given:
        if isinstance(one, str | os.PathLike):
            held = reading.expanded(os.fspath(one), network.signature, [], failed)
            items += [named.item for named in held]
        else:
            items.append(one)
    if failed:
        raise failed[0][1]
    return network.predict(items)
