"""Predictions of a trained network, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.core import DataError
from morphogen.core.names import brief
from morphogen.exports.loading import load
from morphogen.exports.model import Model, Prediction
from morphogen.exports.pictures import Failed, Picture, expanded


def predict(
    model: str | os.PathLike[str] | Model,
    inputs: Picture | Sequence[Picture] | NDArray[np.uint8],
) -> list[Prediction]:
    """What a trained network says of images.

    Args:
        model: what `load` takes (an exported file or its folder, a training's run), or a `Model`.
        inputs: image files, folders of them, .npy or .npz files of images, or uint8 arrays of
            pixels `[height, width]` or `[height, width, channels]`; one, or a list of them; or an
            array `[n, height, width, channels]` of n images.

    Returns:
        One for each image, in the order of `inputs`.

    Raises:
        DataError: the model cannot be loaded, or an image cannot be read. `load(model).answers`
            goes on to the others.
    """
    network = model if isinstance(model, Model) else load(model)
    if isinstance(inputs, np.ndarray):
        return network.predict(list(inputs) if inputs.ndim == 4 else [inputs])
    given = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    if not isinstance(given, Sequence):
        raise DataError(f"inputs is {brief(inputs)}; accepted: image files or arrays of pixels")
    pictures: list[Picture] = []
    failed: list[Failed] = []
    for one in given:
        if isinstance(one, str | os.PathLike):
            pictures += [named.picture for named in expanded(os.fspath(one), [], failed)]
        else:
            pictures.append(one)
    if failed:
        raise failed[0][1]
    return network.predict(pictures)
