"""What every hypergradient promises whatever the problem: purity, cost, refusals, data parallel."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import forked
from morphogen.bilevel import hypergradient as hg
from morphogen.core.errors import ConfigError, MorphogenError

LR, MOMENTUM, DECAY = 0.1, 0.9, 3e-4


def smooth_loss(x, y):
    """Two edges of three smooth options each, then a linear head: the shape of DARTS, no kinks."""

    def loss(weights, alphas):
        *matrices, head = weights
        node = x
        for matrix, row in zip(matrices, torch.softmax(alphas[0], dim=-1), strict=True):
            z = node @ matrix
            node = row[0] * node + row[1] * torch.tanh(z) + row[2] * nn.functional.softplus(z)
        return nn.functional.cross_entropy(node @ head, y)

    return loss


def net(samples=8, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    weights = [torch.randn(*s, generator=g, dtype=dtype) / 2 for s in ((5, 5), (5, 5), (5, 3))]
    alphas = [torch.randn(2, 3, generator=g, dtype=dtype)]
    buffers = [0.1 * torch.randn(*w.shape, generator=g, dtype=dtype) for w in weights]
    batches = [
        (
            torch.randn(samples, 5, generator=g, dtype=dtype),
            torch.randint(3, (samples,), generator=g),
        )
        for _ in range(4)
    ]
    return weights, alphas, buffers, batches


def all_functions(batches, weights, alphas, buffers, reduce=hg.unchanged):
    """Every hypergradient on the same batches: name -> result. The last three batches train."""
    outer, *inners = [smooth_loss(*b) for b in batches]
    inner = inners[0]
    sgd = {"lr": LR, "momentum": MOMENTUM, "buffers": buffers, "weight_decay": DECAY}
    series = {"terms": 2, "step": 0.1, "reduce": reduce}
    at = (outer, weights, alphas)
    return {
        "first_order": hg.first_order(*at, reduce=reduce),
        "unrolled": hg.unrolled(inner, *at, **sgd, reduce=reduce),
        "unrolled exact": hg.unrolled(inner, *at, **sgd, radius=None, reduce=reduce),
        "neumann": hg.neumann([inner], *at, **series),
        "neumann differences": hg.neumann([inner], *at, **series, radius=0.01, shift_radius=0.01),
        "neumann independent": hg.neumann(inners, *at, **series),
        "conjugate_gradient": hg.conjugate_gradient(
            inner, *at, iterations=5, damping=0.5, reduce=reduce
        ),
        "exact": hg.exact(inner, *at, damping=0.5, reduce=reduce),
    }


# --- purity ---------------------------------------------------------------------------------------


def test_weights_alphas_buffers_and_their_grad_are_untouched_bit_for_bit():
    weights, alphas, buffers, batches = net()
    inputs = [nn.Parameter(w) for w in weights], [nn.Parameter(a) for a in alphas], buffers
    for group in inputs[:2]:
        for t in group:
            t.grad = torch.full_like(t, 7.0)
    before = [t.detach().clone() for group in inputs for t in group]
    versions = [t._version for group in inputs for t in group]
    all_functions(batches, *inputs)
    after = [t for group in inputs for t in group]
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))
    assert versions == [t._version for t in after], "a tensor was written and put back"
    assert all((t.grad == 7).all() for group in inputs[:2] for t in group)


def test_results_are_detached_and_shaped_like_the_alphas():
    weights, alphas, buffers, batches = net()
    for name, result in all_functions(batches, weights, alphas, buffers).items():
        tensors = [*result.total, *result.direct, *result.implicit, result.loss]
        assert not any(t.requires_grad for t in tensors), name
        assert [t.shape for t in result.total] == [a.shape for a in alphas], name
        assert result.loss.shape == (), name


def test_frozen_weights_and_computed_alphas_are_accepted():
    weights, alphas, buffers, batches = net()
    plain = all_functions(batches, weights, alphas, buffers)
    computed = [a.clone().requires_grad_() * 1.0 for a in alphas]
    for name, result in all_functions(batches, weights, computed, buffers).items():
        assert torch.equal(result.total[0], plain[name].total[0]), name


def test_a_module_is_differentiated_through_functional_call():
    torch.manual_seed(0)
    module, alpha = nn.Linear(4, 2), torch.zeros(2)
    names = list(dict(module.named_parameters()))

    def loss(weights, alphas):
        out = torch.func.functional_call(
            module, dict(zip(names, weights, strict=True)), (torch.ones(3, 4),)
        )
        return (torch.softmax(alphas[0], 0) * out).sum()

    result = hg.first_order(loss, list(module.parameters()), [alpha])
    row = module(torch.ones(3, 4)).sum(0)
    torch.testing.assert_close(result.total[0], 0.5 * (row - row.mean()).detach())


# --- cost -----------------------------------------------------------------------------------------


class Counted:
    """A loss that counts its forward passes and remembers which inputs asked for gradients."""

    def __init__(self, loss):
        self.loss, self.asked = loss, []

    def __call__(self, weights, alphas):
        self.asked.append((weights[0].requires_grad, alphas[0].requires_grad))
        return self.loss(weights, alphas)


W, A, BOTH = (True, False), (False, True), (True, True)


@pytest.mark.parametrize(
    ("call", "outer_asks", "inner_asks"),
    [
        (lambda i, o, *at: hg.first_order(o, *at), [A], []),
        (lambda i, o, *at: hg.unrolled(i, o, *at, lr=0.1), [BOTH], [W, A, A]),
        (lambda i, o, *at: hg.unrolled(i, o, *at, lr=0.1, radius=None), [BOTH], [BOTH]),
        (lambda i, o, *at: hg.neumann([i], o, *at, terms=0, step=0.1), [BOTH], [BOTH]),
        (lambda i, o, *at: hg.neumann([i], o, *at, terms=5, step=0.1), [BOTH], [BOTH]),
        (lambda i, o, *at: hg.neumann([i], o, *at, terms=0, step=0.1, radius=0.1), [BOTH], [A, A]),
        (
            lambda i, o, *at: hg.neumann([i], o, *at, terms=3, step=0.1, radius=0.1),
            [BOTH],
            [W, A, A],
        ),
        (lambda i, o, *at: hg.neumann([i] * 4, o, *at, terms=3, step=0.1), [BOTH], [BOTH] * 4),
    ],
)
def test_forward_passes_and_the_gradients_they_ask_for(call, outer_asks, inner_asks):
    weights, alphas, _, batches = net()
    outer, inner = (Counted(smooth_loss(*b)) for b in batches[:2])
    call(inner, outer, weights, alphas)
    assert outer.asked == outer_asks
    assert inner.asked == inner_asks


# --- the step, the growth, the shift --------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("stepped_before", [False, True])
def test_virtual_step_equals_torch_sgd(nesterov, stepped_before):
    weights, alphas, _, batches = net(dtype=torch.float32)
    loss = smooth_loss(*batches[0])
    live = [nn.Parameter(w.clone()) for w in weights]
    sgd = torch.optim.SGD(live, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=nesterov)
    buffers = None
    for step in range(2 if stepped_before else 1):
        now = [w.detach().clone() for w in live]
        if step == 1:
            buffers = [sgd.state[w]["momentum_buffer"].clone() for w in live]
        sgd.zero_grad()
        loss(live, alphas).backward()
        gradient = [w.grad.clone() for w in live]
        sgd.step()
    kept = None if buffers is None else [b.clone() for b in buffers]
    virtual = hg.sgd_step(
        now,
        gradient,
        lr=LR,
        momentum=MOMENTUM,
        buffers=buffers,
        weight_decay=DECAY,
        nesterov=nesterov,
    )
    for ours, theirs in zip(virtual, live, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-7)
    if buffers is not None:
        assert all(torch.equal(a, b) for a, b in zip(buffers, kept, strict=True))


def test_growth_and_shift_are_those_of_the_series():
    weights, alphas, _, batches = net()
    outer, inner = (smooth_loss(*b) for b in batches[:2])
    result = hg.neumann([inner], outer, weights, alphas, terms=2, step=0.3, shift_radius=0.01)
    h = hg.hessian(inner, weights, alphas)
    leaves = [w.clone().requires_grad_() for w in weights]
    v = torch.cat([g.reshape(-1) for g in torch.autograd.grad(outer(leaves, alphas), leaves)])
    u1 = v - 0.3 * h @ v
    u2 = u1 - 0.3 * h @ u1
    torch.testing.assert_close(result.growth, u2.norm() / v.norm())
    shift = torch.cat([s.reshape(-1) for s in result.shift])
    torch.testing.assert_close(shift, -0.01 / v.norm() * (u1 + u2), rtol=1e-10, atol=0)
    plain = hg.neumann([inner], outer, weights, alphas, terms=0, step=0.3)
    assert float(plain.growth) == 1
    assert plain.shift is None


def test_growth_exceeds_one_where_the_series_diverges():
    def bowl(weights, alphas):
        return 10 * weights[0].square().sum() * alphas[0]

    result = hg.neumann([bowl], bowl, [torch.ones(2)], [torch.tensor(1.0)], terms=3, step=0.2)
    assert float(result.growth) == pytest.approx(27)  # |1 - 0.2 * 20|^3


def test_conjugate_gradient_stops_at_the_tolerance_and_at_negative_curvature():
    scales = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    def loss(weights, alphas):
        return (scales * weights[0].square()).sum() / 2 - (weights[0] * alphas[0]).sum()

    at = (loss, [torch.ones(3, dtype=torch.float64)], [torch.ones(3, dtype=torch.float64)])
    solved = hg.conjugate_gradient(loss, *at, iterations=50, tolerance=1e-10)
    assert solved.products <= 4
    torch.testing.assert_close(solved.total[0], hg.exact(loss, *at).total[0])

    def hill(weights, alphas):
        return -loss(weights, alphas)

    stopped = hg.conjugate_gradient(hill, *at, iterations=50)
    assert stopped.products == 1
    torch.testing.assert_close(stopped.total, stopped.direct)


# --- sampled paths --------------------------------------------------------------------------------


def path_loss(weights, alphas):
    """Uses the first weight and the first alpha only, as one sampled path does."""
    return (weights[0] * torch.softmax(alphas[0], 0)).square().sum()


@pytest.mark.parametrize("name", ["first_order", "unrolled", "neumann", "cg", "exact"])
@pytest.mark.parametrize("radius", [None, 0.01])
def test_weights_and_alphas_off_the_path_get_zeros(name, radius):
    weights = [torch.ones(3), torch.ones(2, 2)]
    alphas = [torch.tensor([0.1, 0.2, 0.3]), torch.ones(4)]
    at = (path_loss, weights, alphas)
    result = {
        "first_order": lambda: hg.first_order(*at),
        "unrolled": lambda: hg.unrolled(path_loss, *at, lr=0.1, radius=radius),
        "neumann": lambda: hg.neumann([path_loss], *at, terms=2, step=0.1, radius=radius),
        "cg": lambda: hg.conjugate_gradient(path_loss, *at, iterations=2),
        "exact": lambda: hg.exact(path_loss, *at, damping=0.1),
    }[name]()
    assert result.total[0].abs().sum() > 0
    assert torch.equal(result.total[1], torch.zeros(4))


def test_a_loss_without_any_alpha_has_gradient_zero():
    def plain(weights, alphas):
        return weights[0].square().sum()

    weights, alphas = [torch.ones(3)], [torch.ones(2)]
    assert torch.equal(hg.first_order(plain, weights, alphas).total[0], torch.zeros(2))
    result = hg.neumann([plain], plain, weights, alphas, terms=1, step=0.1)
    assert torch.equal(result.total[0], torch.zeros(2))


def test_finite_difference_of_a_vanishing_vector_is_zero_not_nan():
    weights, alphas, _, batches = net(dtype=torch.float32)
    zeros = [torch.zeros_like(w) for w in weights]
    (m,) = hg.mixed_product_by_differences(
        smooth_loss(*batches[0]), weights, alphas, zeros, radius=0.01
    )
    assert torch.equal(m, torch.zeros_like(m))


# --- refusals -------------------------------------------------------------------------------------


def test_a_loss_of_the_modules_own_parameters_is_refused():
    module = nn.Linear(2, 1)

    def stray(weights, alphas):
        return module(torch.ones(1, 2)).sum() * alphas[0].sum()

    at = (list(module.parameters()), [torch.ones(1)])
    with pytest.raises(MorphogenError, match="outer loss depends on none of the 2 weights"):
        hg.neumann([path_loss], stray, *at, terms=0, step=0.1)
    with pytest.raises(MorphogenError, match="inner loss depends on none of the 2 weights"):
        hg.unrolled(stray, path_loss, *at, lr=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda *at: hg.unrolled(path_loss, *at, lr=-1), "lr is -1; accepted: 0 or above"),
        (lambda *at: hg.unrolled(path_loss, *at, lr=1, radius=0), "radius is 0; accepted: above 0"),
        (lambda *at: hg.neumann([path_loss], *at, terms=-1, step=1), "terms is -1"),
        (lambda *at: hg.neumann([path_loss], *at, terms=1, step=0), "step is 0"),
        (
            lambda *at: hg.neumann([path_loss] * 3, *at, terms=1, step=1),
            r"3 inner losses; accepted: 1, or terms \+ 1 = 2",
        ),
        (lambda *at: hg.conjugate_gradient(path_loss, *at, iterations=-1), "iterations is -1"),
        (lambda *at: hg.exact(path_loss, *at, damping=-1), "damping is -1"),
    ],
)
def test_numbers_out_of_range_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(path_loss, [torch.ones(3)], [torch.ones(3)])


# --- data parallel --------------------------------------------------------------------------------


def mean_over_ranks(tensors: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([t.reshape(-1) for t in tensors]) / dist.get_world_size()
    dist.all_reduce(flat)
    parts = flat.split([t.numel() for t in tensors])
    return [part.reshape(t.shape) for part, t in zip(parts, tensors, strict=True)]


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=world
    )
    weights, alphas, buffers, batches = net()
    mine = [(x.chunk(world)[rank], y.chunk(world)[rank]) for x, y in batches]
    out = {}
    for kind, reduce in (("joint", mean_over_ranks), ("alone", hg.unchanged)):
        for name, r in all_functions(mine, weights, alphas, buffers, reduce).items():
            out[f"{kind} {name}"] = [*r.total, *r.direct, r.loss, *(r.shift or [])]
    torch.save(out, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_half_the_batch_equal_one_with_the_whole(tmp_path: Path):
    forked.two(worker, 2, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    weights, alphas, buffers, batches = net()
    for name, r in all_functions(batches, weights, alphas, buffers).items():
        whole = [*r.total, *r.direct, r.loss, *(r.shift or [])]
        first, second = (rank[f"joint {name}"] for rank in ranks)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), name
        for ours, theirs in zip(first, whole, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=name)
        # Averaging the finished gradients is another thing: products of means are not means.
        average = sum(rank[f"alone {name}"][0] for rank in ranks) / 2
        agrees = torch.allclose(average, whole[0], rtol=1e-6, atol=0)
        assert agrees == (name == "first_order"), name


def test_every_vector_in_weight_space_and_the_alpha_gradient_is_reduced():
    # Worked by hand, K = 2: [loss, d, v] once; H v and H u_1; M' p.
    weights, alphas, _, batches = net()
    outer, inner = (smooth_loss(*b) for b in batches[:2])
    seen = []

    def reduce(tensors):
        seen.append([tuple(t.shape) for t in tensors])
        return tensors

    w, a = [tuple(t.shape) for t in weights], [tuple(t.shape) for t in alphas]
    hg.neumann([inner], outer, weights, alphas, terms=2, step=0.1, reduce=reduce)
    assert seen == [[(), *a, *w], w, w, a]
    seen.clear()
    hg.unrolled(inner, outer, weights, alphas, lr=0.1, reduce=reduce)
    assert seen == [w, [(), *a, *w], a]
    seen.clear()
    hg.first_order(outer, weights, alphas, reduce=reduce)
    assert seen == [[(), *a]]
