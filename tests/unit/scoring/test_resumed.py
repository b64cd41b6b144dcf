"""What does not depend on a perturbed choice is not computed again, and nothing else changes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.proxies import nwot
from morphogen.scoring import without
from morphogen.scoring.resumed import Resumed
from morphogen.spaces import make
from morphogen.supernets import Gated, Gates, NetworkSpec, build


@pytest.mark.parametrize(
    ("name", "channels", "training"),
    [
        ("nasbench-macro", 4, True),
        pytest.param("nasbench-macro", 4, False, marks=pytest.mark.slow),
        pytest.param("shufflenet-cifar", 8, True, marks=pytest.mark.slow),
    ],
)
def test_resumed_is_nwot_to_the_bit_whatever_was_asked_before(name, channels, training):
    space = make(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(space, NetworkSpec(channels=channels))
        x = torch.randn(4, 3, 16, 16)
    before = copy.deepcopy(net.state_dict())
    gates = softmax_gates(
        space, start_alphas(space, torch.Generator().manual_seed(1), "cpu")
    ).detach()
    layers = [c.name for c in space.choices]
    last = len(layers) - 1
    asked = [gates, *(without(space, gates, layers[5], o) for o in range(3))]
    asked += [without(space, gates, layers[2], 1), without(space, gates, layers[last], 0), gates]
    asked.append(Gates.of(space, space.sample(np.random.default_rng(0))))
    resumed = Resumed(net, x, training=training)
    mode = "train" if training else "eval"
    for each in asked:
        assert resumed(each) == nwot(Gated(net, each), x, mode=mode)
    n = len(layers)
    assert resumed.executed == n + 3 * (n - 5) + (n - 2) + (n - 2) + 1 + n
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
