"""Every method that trains a supernet searches the three spaces of NAS-Bench-1Shot1."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from morphogen.engine.search.search import search
from morphogen.methods import methods
from morphogen.spaces import Differentiable, make
from morphogen.spaces.nasbench1shot1 import PARENTS, cell_of
from morphogen.spaces.nasbench101 import prune
from morphogen.supernets import NetworkSpec, network

STEPWISE = [
    name for name, info in methods().items() if not info.black_box and Differentiable in info.needs
]
PAIRS = list(zip(STEPWISE, cycle(PARENTS), strict=False))
"""Each method with one of the spaces, by turns."""


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_a_method_searches_the_space(name: str, space: str, tmp_path: Path) -> None:
    settings = tiny.changed(tiny.SETTINGS, epochs=1, steps_per_epoch=1, diagnostic_images=20)
    result = search(
        tiny.config(name),
        space=make(space),
        data=tiny.images(),
        settings=settings,
        run=tmp_path / "run",
        watcher=tiny.Told,
    )
    arch = make(space).parse(result.text)
    assert arch == result.architecture
    rows, operations = cell_of(arch)
    assert prune(rows, ["input", *operations, "output"]) == (rows, operations)
    assert sum(map(sum, rows)) <= 9
    net = network(make(space), arch, NetworkSpec(channels=3, depth=1, classes=4, in_channels=1))
    assert torch.isfinite(net(torch.randn(2, 1, 8, 8))).all()
    assert all(np.isfinite(row["train_loss"]) for row in result.history if "train_loss" in row)
