"""The primitives of fast execution against plain operations; batch norm over several processes."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import forked
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.supernets import Gates, NetworkSpec, build
from morphogen.supernets.fused import (
    BatchNorm,
    Wiring,
    average_pool,
    batch_norm,
    channels_last,
    mix,
    mix_plain,
)

N, C, H = 6, 8, 5


def normal(shape, generator, dtype):
    """The same numbers in either precision."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def images(*shape, seed, dtype):
    g = torch.Generator().manual_seed(seed)
    return channels_last(normal(shape, g, dtype)).requires_grad_()


def tensors(wiring, dtype, shift=0.0):
    """Inputs of `mix`; `shift` moves the means of what is normalised away from 0."""
    g = torch.Generator().manual_seed(9)
    x = images(N, C, H, H, seed=0, dtype=dtype)
    y = images(N, C, H, H, seed=1, dtype=dtype)
    normed = [
        images(N, C * len(t), H, H, seed=2 + i, dtype=dtype) for i, t in enumerate(wiring.normed)
    ]
    linear = normal((max(len(wiring.linear), 1) * C, C), g, dtype)
    gains = torch.rand(wiring.gains, generator=g, dtype=torch.float64).to(dtype)
    held = images(N, C, H, H, seed=8, dtype=dtype)
    return x, y, [c + shift for c in normed], linear.requires_grad_(), gains.requires_grad_(), held


def results(form, wiring, dtype, *, unit=False, hold=None, shift=0.0):
    x, y, normed, linear, gains, held = tensors(wiring, dtype, shift)
    sums = [held.clone(memory_format=torch.preserve_format) if t == hold else None
            for t in range(wiring.sums)]  # fmt: skip
    source = F.relu(x) + shift
    mixed = form(
        wiring,
        sums,
        normed=normed,
        source=source if wiring.linear else None,
        linear=linear if wiring.linear else None,
        direct=[x, y],
        gains=None if unit else gains,
    )
    g = torch.Generator().manual_seed(3)
    loss = sum((s * s * normal(s.shape, g, dtype)).mean() for s in mixed.sums)
    inputs = [x, y, *normed, linear, gains, held]
    options = {"allow_unused": True}
    first = torch.autograd.grad(loss, inputs, retain_graph=True, **options)
    again = torch.autograd.grad(loss, inputs, create_graph=True, **options)
    probe = sum((t * normal(t.shape, g, dtype)).sum() for t in again
                if t is not None)  # fmt: skip
    second = torch.autograd.grad(probe, inputs, **options)
    moments = [t for pair in mixed.moments for t in pair]
    return [*mixed.sums, *moments], first, again, second


WIRINGS = {
    "all": Wiring(3, ((0, 1, 2),), (1, 2), ((0, 0), (0, 1), (1, 1), (1, 2))),
    "two convolutions": Wiring(2, ((0, 1), (1,)), (), ()),
    "linear alone": Wiring(2, (), (0, 1), ()),
    "direct alone": Wiring(2, (), (), ((0, 0), (1, 0), (1, 1))),
}


@pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS)
@pytest.mark.parametrize("unit", [False, True], ids=["gains", "unit"])
@pytest.mark.parametrize("hold", [None, 1], ids=["new", "added"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
def test_mix_equals_mix_plain(wiring, unit, hold, dtype, tolerance):
    found = results(mix, wiring, dtype, unit=unit, hold=hold)
    wanted = results(mix_plain, wiring, dtype, unit=unit, hold=hold)
    for ours, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                a, b = a.detach(), b.detach()
                assert float((a - b).abs().max()) <= tolerance * (1e-6 + float(b.abs().max()))


def test_mix_holds_its_digits_when_means_are_large():
    """Means ten deviations from 0: nothing in the backward may cancel badly in float32."""
    found = results(mix, WIRINGS["all"], torch.float32, shift=10.0)
    wanted = results(mix_plain, WIRINGS["all"], torch.float64, shift=10.0)
    for ours, theirs in zip(found[:2], wanted[:2], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            if a is not None:
                a, b = a.detach().double(), b.detach()
                assert float((a - b).abs().max()) <= 1e-4 * (1e-6 + float(b.abs().max()))


def test_mix_plain_equals_batch_norm():
    x, _, (c,), linear, gains, _ = tensors(Wiring(1, ((0,),), (0,)), torch.float64)
    found = mix_plain(
        Wiring(1, ((0,),), (0,)), [None], normed=[c], source=x, linear=linear, gains=gains
    )
    wanted = gains[0] * F.batch_norm(c, None, None, training=True) + gains[1] * F.batch_norm(
        F.conv2d(x, linear[:, :, None, None]), None, None, training=True
    )
    torch.testing.assert_close(found.sums[0], wanted)


def test_second_derivative_of_mix_is_that_of_finite_differences():
    wiring = Wiring(1, ((0,),), (0,), ((0, 0),))
    x, y, (c,), linear, gains, _ = tensors(wiring, torch.float64)
    x, y, c = (t.detach()[:2, :2, :2, :2].clone().requires_grad_() for t in (x, y, c))
    linear = linear.detach()[:2, :2].clone().requires_grad_()

    def form(x, c, y, linear, gains):
        clast = [channels_last(t) for t in (x, c, y)]
        return mix(
            wiring, [None], normed=[clast[1]], source=clast[0], linear=linear,
            direct=[clast[2]], gains=gains,
        ).sums[0]  # fmt: skip

    assert torch.autograd.gradcheck(form, (x, c, y, linear, gains))
    assert torch.autograd.gradgradcheck(form, (x, c, y, linear, gains))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_average_pool_equals_torchs(stride, side):
    x = images(3, 5, side, side, seed=0, dtype=torch.float32)
    found = average_pool(x, stride)
    wanted = F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    torch.testing.assert_close(found, wanted)
    probe = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad((p * p * probe).sum(), x, create_graph=True)[0]
                    for p in (found, wanted))  # fmt: skip
    torch.testing.assert_close(ours, theirs)
    second = [torch.autograd.grad((g * g).sum(), x)[0] for g in (ours, theirs)]
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_batch_norms_side_by_side_equal_one_by_one(training, affine):
    torch.manual_seed(0)
    norms = [BatchNorm(4, affine=affine).train(training) for _ in range(3)]
    for norm in norms:
        nn.init.normal_(norm.running_mean)
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    alone = copy.deepcopy(norms)
    x = channels_last(torch.randn(5, 12, 6, 6))
    found = batch_norm(x, norms)
    wanted = torch.cat([n(p) for n, p in zip(alone, x.chunk(3, 1), strict=True)], 1)
    torch.testing.assert_close(found, wanted)
    for a, b in zip(norms, alone, strict=True):
        for ours, theirs in zip(a.buffers(), b.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs)


# -- several processes -------------------------------------------------------------------------


def step(rank, size):
    """Loss, gradients, Hessian-vector product and buffers of one share of a batch of 8."""
    torch.manual_seed(0)
    space = NASBench201()
    net = build(space, NetworkSpec(channels=4, depth=1)).double()
    g = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, 8, 8, generator=g, dtype=torch.float64)[rank * 8 // size :][: 8 // size]
    y = torch.randint(10, (8,), generator=g)[rank * 8 // size :][: 8 // size]
    weights = torch.rand(6, 5, generator=g, dtype=torch.float64).requires_grad_()
    net.execution = "fused"
    inputs = [weights, *net.parameters()]
    out = net(x, Gates.dense(space, {"cell": weights}))
    loss = F.cross_entropy(out, y)
    grads = torch.autograd.grad(loss, inputs, create_graph=True)
    probe = sum((t * torch.randn(t.shape, generator=g, dtype=t.dtype)).sum() for t in grads)
    hvp = torch.autograd.grad(probe, inputs, allow_unused=True)
    hvp = [torch.zeros_like(i) if h is None else h for i, h in zip(inputs, hvp, strict=True)]
    flat = [torch.cat([t.detach().flatten() for t in ts]) for ts in (grads, hvp)]
    buffers = torch.cat([b.double().flatten() for b in net.buffers()])
    return [loss.detach(), *flat, buffers], out.detach()


def work(rank, size, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size
    )
    results, out = step(rank, size)
    for tensor in results:
        torch.distributed.all_reduce(tensor)
        tensor /= size
    rows = [torch.zeros_like(out) for _ in range(size)]
    torch.distributed.all_gather(rows, out)
    if rank == 0:
        found = [t.flatten().tolist() for t in (*results, torch.cat(rows))]
        Path(folder, "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo with a file")
@pytest.mark.slow
def test_two_processes_with_half_batches_equal_one_with_the_joint_batch(tmp_path):
    """Averaged over processes: gradients of mean losses, and products linear in them."""
    forked.two(work, 2, str(tmp_path))
    found = [
        torch.tensor(t, dtype=torch.float64)
        for t in json.loads((tmp_path / "found.json").read_text())
    ]
    results, out = step(0, 1)
    for a, b in zip(found, [*results, out], strict=True):
        b = b.flatten()
        assert float((a - b).abs().max()) <= 1e-8 * float(b.abs().max())
