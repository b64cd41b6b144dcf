"""The operations of the DARTS space."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morphogen.core import ConfigError, DataError, UnknownNameError
from morphogen.supernets.operations import (
    BUILDERS,
    DilConv,
    FactorizedReduce,
    Noise,
    ReLUConvBN,
    SepConv,
    Zero,
    drop_path,
    operation,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def layers(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("affine", [True, False])
def test_every_operation_keeps_channels_and_strides(name, stride, affine):
    module = operation(name, 4, stride, affine=affine)
    side = 8 // stride
    assert module(torch.randn(2, 4, 8, 8)).shape == (2, 4, side, side)
    assert all(m.bias is None for m in module.modules() if isinstance(m, nn.Conv2d))
    assert all(m.affine == affine for m in module.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("name", "stride", "parameters"),
    [
        ("sep_conv_3x3", 1, 2 * (9 * 8 + 64)),
        ("sep_conv_5x5", 2, 2 * (25 * 8 + 64)),
        ("dil_conv_3x3", 1, 9 * 8 + 64),
        ("dil_conv_5x5", 2, 25 * 8 + 64),
        ("skip_connect", 1, 0),
        ("skip_connect", 2, 64),
        ("max_pool_3x3", 1, 0),
        ("noise", 1, 0),
        ("none", 2, 0),
    ],
)
def test_parameters_without_affine(name, stride, parameters):
    module = operation(name, 8, stride, affine=False)
    assert sum(p.numel() for p in module.parameters()) == parameters


def test_composition():
    sep = operation("sep_conv_5x5", 4, 2, affine=True)
    assert isinstance(sep, SepConv)
    first, second = sep.depthwise1, sep.depthwise2
    assert (first.kernel_size, first.stride, first.padding) == ((5, 5), (2, 2), (2, 2))
    assert (second.stride, second.padding, second.groups) == ((1, 1), (2, 2), 4)
    dil = operation("dil_conv_5x5", 4, 1, affine=True)
    assert isinstance(dil, DilConv)
    assert (dil.depthwise.dilation, dil.depthwise.padding) == ((2, 2), (4, 4))
    assert isinstance(operation("skip_connect", 4, 1, affine=True), nn.Identity)
    assert isinstance(operation("skip_connect", 4, 2, affine=True), FactorizedReduce)


def test_pools_are_normed_in_supernets_only():
    assert layers(operation("max_pool_3x3", 4, 1, affine=False)) == ["MaxPool2d", "BatchNorm2d"]
    assert layers(operation("avg_pool_3x3", 4, 1, affine=True)) == ["AvgPool2d"]
    ones = operation("avg_pool_3x3", 1, 1, affine=True)(torch.ones(1, 1, 4, 4))
    assert torch.equal(ones, torch.ones(1, 1, 4, 4))  # padding is not counted


def test_factorized_reduce_sees_the_shifted_pixels():
    module = FactorizedReduce(1, 2, affine=False)
    with torch.no_grad():
        module.conv_a.weight.fill_(1.0)
        module.conv_b.weight.fill_(1.0)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    y = module.convolve(x)
    assert y[0, 0].tolist() == [[0, 2], [8, 10]]
    assert y[0, 1].tolist() == [[5, 7], [13, 15]]
    with pytest.raises(DataError, match="5x4"):
        module(torch.randn(1, 1, 5, 4))
    with pytest.raises(ConfigError, match="channels 3"):
        FactorizedReduce(4, 3, affine=False)


def test_relu_comes_first():
    x = torch.randn(4, 3, 6, 6)
    for module in (
        ReLUConvBN(3, 4, affine=True),
        operation("sep_conv_3x3", 3, 1, affine=True),
        operation("dil_conv_3x3", 3, 1, affine=True),
    ):
        assert torch.equal(module(x), module(F.relu(x)))


def test_none_stops_a_nan():
    x = torch.full((1, 2, 4, 4), float("nan"))
    assert torch.equal(Zero(2)(x), torch.zeros(1, 2, 2, 2))


def test_noise_does_not_look_at_its_input():
    noise = Noise(2)
    torch.manual_seed(3)
    first = noise(torch.zeros(2, 3, 8, 8))
    torch.manual_seed(3)
    second = noise(torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last) * 0 + 7)
    assert first.shape == (2, 3, 4, 4)
    torch.manual_seed(3)
    third = noise(torch.ones(2, 3, 8, 8))
    assert torch.equal(first, third)
    assert second.shape == first.shape
    assert not torch.equal(noise(torch.zeros(2, 3, 8, 8)), first)  # fresh, also in eval
    noise.eval()
    assert not torch.equal(noise(torch.zeros(2, 3, 8, 8)), noise(torch.zeros(2, 3, 8, 8)))


def test_unknown_operation_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'sep_conv_3x3'"):
        operation("sep_con_3x3", 4, 1, affine=True)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    x = torch.ones(4000, 2, 2, 2)
    y = drop_path(x, 0.25)
    per_sample = y.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    assert sorted(set(per_sample[:, 0].tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert y.mean().item() == pytest.approx(1.0, abs=0.05)
    assert drop_path(x, 0.0) is x
    with pytest.raises(ConfigError, match="drop_path"):
        drop_path(x, 1.0)
