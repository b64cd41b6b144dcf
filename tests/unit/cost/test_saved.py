"""Bytes saved for backward, against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

from morphogen.cost.saved import SavedForBackward


def test_memory_counts_once_and_until_it_is_let_go():
    x = torch.linspace(-1, 1, 100, requires_grad=True)
    with SavedForBackward(without=[x]) as saved:
        y = x.exp()  # keeps its output
        assert saved.bytes == 400
        z = y * y  # keeps the same tensor, twice
        assert saved.bytes == 400
        total = z.sin().sum()  # keeps its input
        assert saved.bytes == 800
        total.backward()
        assert (saved.bytes, saved.peak) == (0, 800)
    y = x.exp()
    assert saved.peak == 800
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * (2 * x).exp() * (2 * x).exp().cos())


def test_weights_left_out_and_graphs_thrown_away():
    layer = nn.Linear(8, 4)
    x = torch.randn(3, 8)
    with SavedForBackward(without=layer.parameters()) as saved:
        y = layer(x)
        assert saved.bytes == x.nbytes
        del y
        assert saved.bytes == 0
