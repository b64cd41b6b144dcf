"""Trained networks as files that others can use, and their use.

    morphogen.export("runs/train-...", ["onnx"])               # writes, runs and compares the file
    model = morphogen.load("runs/train-.../export/model.onnx")
    print(model.predict(["image.png"])[0])

No file is ever unpickled.
"""

from morphogen.exports.loading import load
from morphogen.exports.model import Model
from morphogen.tasks.labelled.answers import Prediction

# `writing` is left out: it brings in the engine, for which a prediction need not wait.
__all__ = ["Model", "Prediction", "load"]
