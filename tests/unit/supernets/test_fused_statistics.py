"""Batch statistics of channels-last images: as exact as float32 can be, whatever the rows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, cross_entropy

from morphogen.spaces import make
from morphogen.supernets import Gates, NetworkSpec, build
from morphogen.supernets.fused import BatchNorm, normalised, served
from morphogen.supernets.fused.blocks import products
from morphogen.supernets.fused.statistics import statistics


def images(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = 0.7 * torch.randn(shape, generator=g) + 1.0
    return x.contiguous(memory_format=torch.channels_last)


def off(found, wanted):
    """Relative distance of two vectors."""
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(
    "shape", [(64, 16, 32, 32), (48, 36, 7, 7), (5, 3, 9, 11), (1, 4, 1, 3), (2, 3000, 2, 2)]
)
def test_statistics_are_those_of_float64_within_rounding(shape):
    x = images(*shape)
    exact = x.double()
    mean, variance = statistics(x)
    assert off(mean, exact.mean((0, 2, 3))) < 3e-7
    assert off(variance, exact.var((0, 2, 3), correction=0)) < 1e-6


def test_many_rows_are_no_less_exact_than_few():
    x = images(64, 16, 32, 32)
    exact = x.double().var((0, 2, 3), correction=0)
    own = torch.batch_norm_update_stats(x, None, None, 0.0)[1]
    assert off(statistics(x)[1], exact) < off(own, exact) / 10


@pytest.mark.parametrize("affine", [True, False])
def test_the_norm_and_its_two_derivatives_are_right(affine):
    x = images(3, 2, 4, 4).double().requires_grad_()
    g = torch.Generator().manual_seed(1)
    scales = [torch.randn(2, generator=g).double().requires_grad_() for _ in range(2)]
    weight, bias = scales if affine else (None, None)

    def norm(x, *scales):
        return normalised(x, *(scales or (None, None)), 1e-5)[0]

    torch.testing.assert_close(
        norm(x, *scales[: 2 * affine]), batch_norm(x, None, None, weight, bias, training=True)
    )
    given = (x, *scales[: 2 * affine])
    assert torch.autograd.gradcheck(norm, given)
    assert torch.autograd.gradgradcheck(norm, given)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_norm_moves_its_running_statistics_as_torch_does(momentum):
    ours, theirs = BatchNorm(5, momentum=momentum), nn.BatchNorm2d(5, momentum=momentum)
    for seed in range(3):
        x = images(6, 5, 4, 4, seed=seed)
        assert served(x)
        torch.testing.assert_close(ours(x), theirs(x))
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)


def test_one_batch_of_the_two_layouts_at_once_is_torchs():
    assert not served(torch.ones(4, 3, 1, 1))
    assert not served(torch.ones(4, 3, 2, 2))
    assert not served(images(4, 3, 2, 2).double())


@pytest.mark.parametrize("rows", [1, 255, 256, 16384, 16500])
def test_products_of_many_rows_are_those_of_float64(rows):
    g = torch.Generator().manual_seed(0)
    x, y = (torch.rand(rows, n, generator=g)[:, 1:] for n in (9, 5))
    wanted = x.double().t() @ y.double()
    torch.testing.assert_close(products(x, y).double(), wanted, rtol=5e-6, atol=0)


@pytest.mark.parametrize(("name", "depth"), [("nasbench201", 1), ("darts", 3)])
def test_a_fused_supernet_is_as_near_to_float64_as_a_plain_one(name, depth):
    space = make(name)
    torch.manual_seed(0)
    fused = build(space, NetworkSpec(channels=8, depth=depth))
    plain = copy.deepcopy(fused)
    plain.execution = "plain"
    exact = copy.deepcopy(plain).double()
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 3, 16, 16, generator=g), torch.randint(10, (64,), generator=g)
    gates = {k: torch.rand(m.shape, generator=g) for k, m in space.masks.items()}

    def scores(net, dtype):
        weights = {k: w.to(dtype) for k, w in gates.items()}
        with torch.no_grad():
            out = net(x.to(dtype), Gates.dense(space, weights))
        assert torch.isfinite(cross_entropy(out, y))
        return out

    wanted = scores(exact, torch.float64)
    errors = [off(scores(net, torch.float32), wanted) for net in (fused, plain)]
    assert errors[0] < 2 * errors[1]  # 4 to 12 times, were the rows added one after the other
