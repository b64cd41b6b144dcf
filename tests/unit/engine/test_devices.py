"""Devices: names that do not exist are one sentence; one process is what it is without Fabric."""

from __future__ import annotations

import pytest
import torch

from morphogen.core import ConfigError
from morphogen.engine.devices import FabricDevices, make_fabric
from morphogen.tasks.problem import Devices, Local


def test_one_process_means_are_the_tensors_themselves():
    for devices in (Local(), FabricDevices(make_fabric("cpu", 1, "32-true"))):
        known: Devices = devices
        assert (known.rank, known.world, known.device.type) == (0, 1, "cpu")
        tensors = [torch.ones(2), torch.zeros(())]
        assert known.mean(tensors) is tensors


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_precision_is_that_of_matrix_products_under_autocast(precision, dtype):
    devices = FabricDevices(make_fabric("cpu", 1, precision))
    with devices.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_means_go_through_one_reduction_per_dtype(monkeypatch):
    """Two processes that hold 1 and 3 everywhere, played by a stand-in for Fabric."""

    class Two:
        global_rank, world_size, device = 0, 2, torch.device("cpu")
        reductions = 0

        def all_reduce(self, tensor, reduce_op):
            assert reduce_op == "mean"
            Two.reductions += 1
            return (tensor + 3) / 2

    devices = FabricDevices(Two())
    given = [torch.ones(2, 3), torch.ones(4, dtype=torch.float64), torch.ones(()), torch.ones(0)]
    means = devices.mean(given)
    assert Two.reductions == 2
    for mean, tensor in zip(means, given, strict=True):
        assert mean.shape == tensor.shape
        assert mean.dtype == tensor.dtype
        assert (mean == 2).all()
        assert (tensor == 1).all()
    assert devices.mean([]) == []


@pytest.mark.parametrize("name", ["abacus", ""])
def test_an_accelerator_that_is_not_there_is_one_sentence(name):
    with pytest.raises(ConfigError) as caught:
        make_fabric(name, 1, "32-true")
    assert "\n" not in str(caught.value)
    assert "accepted: cpu" in str(caught.value)
