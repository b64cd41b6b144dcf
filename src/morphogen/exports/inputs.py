"""What a network can be run on, by the kind of its inputs."""

from __future__ import annotations

from morphogen.exports.tensors import Tensors
from morphogen.runs.weights import TENSORS, Signature
from morphogen.tasks.configs import inputs_for
from morphogen.tasks.inputs import Inputs


def inputs_of(signature: Signature) -> Inputs:
    """How a network's inputs are read and prepared."""
    return Tensors() if signature.kind == TENSORS else inputs_for(signature.kind)
