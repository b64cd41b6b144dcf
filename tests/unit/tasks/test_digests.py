"""The bytes of tensors, whatever their strides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphogen.tasks.digests import raw


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([7]).expand(3)[:1],  # one element, of stride 0
        torch.tensor([7]).expand(3)[:0],
        torch.tensor(7),
    ],
)
def test_bytes_are_those_of_the_numbers_in_order(tensor):
    assert bytes(raw(tensor)) == np.ascontiguousarray(tensor.numpy()).tobytes()
