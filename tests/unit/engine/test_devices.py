"""Devices: names that do not exist are one sentence; one process is what it is without Fabric."""

from __future__ import annotations

import pytest
import torch

import tiny
from morphogen.core import ConfigError
from morphogen.engine import devices as places
from morphogen.engine.devices import FabricDevices, make_fabric, place
from morphogen.engine.search.search import search
from morphogen.tasks.problem import Devices, Local


def test_one_process_means_are_the_tensors_themselves():
    for devices in (Local(), FabricDevices(make_fabric("cpu", 1, "32-true"), "32-true")):
        known: Devices = devices
        assert (known.rank, known.world, known.device.type) == (0, 1, "cpu")
        tensors = [torch.ones(2), torch.zeros(())]
        assert known.mean(tensors) is tensors


@pytest.mark.parametrize(
    ("precision", "kind"), [("32-true", "Local"), ("bf16-mixed", "LocalBFloat16")]
)
def test_the_cpu_needs_no_fabric_and_finds_what_it_finds_with_one(
    precision, kind, tmp_path, monkeypatch
):
    def run(name):
        return search(
            tiny.config("darts"),
            space="nasbench201",
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, precision=precision),
            run=tmp_path / name,
        ).run

    assert type(place("cpu", 1, precision)).__name__ == kind
    without = run("without")
    made = []

    def fabric():
        made.append(FabricDevices(make_fabric("cpu", 1, precision), precision))
        return made[-1]

    monkeypatch.setattr(places, kind, fabric)
    tiny.assert_same_run(run("with"), without)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_precision_is_that_of_matrix_products_under_autocast(precision, dtype):
    devices = place("cpu", 1, precision)
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

    devices = FabricDevices(Two(), "32-true")
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
        place(name, 1, "32-true")
    assert "\n" not in str(caught.value)
    assert "accepted: cpu" in str(caught.value)


def test_in_bfloat16_images_have_channels_last_and_the_network_computes_the_same():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten())
    x = torch.randn(2, 3, 6, 6)
    before = net(x).detach()
    placed = place("cpu", 1, "bf16-mixed").placed(net)
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(placed(x), before, atol=1e-6)
