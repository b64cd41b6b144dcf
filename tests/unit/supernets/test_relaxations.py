"""Relaxations: values, gradients, masks and randomness (GDAS card, section 7, items 1, 2 and 4)."""

import pytest
import torch

from morphogen.core.errors import ConfigError
from morphogen.supernets import relaxations as rx

MASK = torch.tensor([[True, True, True, True], [True, False, True, False], [False] * 4])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def alpha(dtype=torch.float64, shape=(3, 4)):
    return torch.randn(*shape, generator=generator(5), dtype=dtype).requires_grad_()


RELAXATIONS = {
    "softmax": lambda a, mask=None: rx.softmax(a, mask),
    "sigmoid": lambda a, mask=None: rx.sigmoid(a, mask),
    "clipped": lambda a, mask=None: rx.clipped(0.5 + a / 20, mask),
    "gumbel_soft": lambda a, mask=None: rx.gumbel_soft(a, 0.1, generator(), mask),
    "gumbel_hard": lambda a, mask=None: rx.gumbel_hard(a, 0.1, generator(), mask),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RELAXATIONS)
def test_masked_options_have_weight_and_gradient_exactly_zero(name, dtype):
    a = alpha(dtype)
    weights = RELAXATIONS[name](a, MASK)
    assert (weights[~MASK] == 0).all()
    (g,) = torch.autograd.grad((weights * torch.arange(1.0, 13.0).reshape(3, 4)).sum(), a)
    assert (g[~MASK] == 0).all()
    assert torch.isfinite(g).all()
    assert (g[:2][MASK[:2]] != 0).all()
    if name not in ("sigmoid", "clipped"):
        torch.testing.assert_close(weights.sum(-1), torch.tensor([1, 1, 0], dtype=dtype))


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_masked_alpha_has_no_influence_however_large(name):
    a = alpha().detach()
    b = torch.where(MASK, a, 1e6)
    assert torch.equal(RELAXATIONS[name](a, MASK), RELAXATIONS[name](b, MASK))


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_full_mask_changes_nothing(name):
    a = alpha()
    full = torch.ones(3, 4, dtype=torch.bool)
    assert torch.equal(RELAXATIONS[name](a, full), RELAXATIONS[name](a))


def test_clipped_weights_have_no_gradient_beyond_0_and_1():
    a = torch.tensor([[-0.3, 0.2, 0.9, 1.4]], requires_grad=True)
    weights = rx.clipped(a)
    torch.testing.assert_close(weights.detach(), torch.tensor([[0.0, 0.2, 0.9, 1.0]]))
    (g,) = torch.autograd.grad(weights.sum(), a)
    assert g.tolist() == [[0, 1, 1, 0]]


def test_a_dominant_alpha_selects_its_option():
    # DARTS card 7.6: row 50 * onehot(k) is option k within 1e-5.
    weights = rx.softmax(50 * torch.eye(5))
    torch.testing.assert_close(weights, torch.eye(5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("tau", [10.0, 0.1])
def test_hard_sample_is_one_hot_exactly_in_every_precision(dtype, tau):
    a = torch.randn(10_000, 5, generator=generator(), dtype=dtype).requires_grad_()
    hard = rx.gumbel_hard(a, tau, generator(1))
    assert torch.equal(hard.sum(-1), torch.ones(10_000, dtype=dtype))
    assert ((hard == 0) | (hard == 1)).all()


@pytest.mark.parametrize("tau", [10.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_argmax_frequencies_are_softmax_alpha_whatever_tau(tau, masked):
    row = torch.tensor([1.0, 0.0, -0.5, 0.3, -2.0])
    mask = torch.tensor([True, True, False, True, True]) if masked else None
    hard = rx.gumbel_hard(row.expand(400_000, 5), tau, generator(), mask)
    torch.testing.assert_close(hard.mean(0), rx.softmax(row, mask), rtol=0, atol=0.003)


@pytest.mark.parametrize("tau", [10.0, 1.0, 0.1])
def test_gradient_equals_the_closed_form_of_the_selected_entry(tau):
    a = alpha(shape=(6, 5))
    h = rx.gumbel_soft(a, tau, generator(7)).detach()
    hard = rx.gumbel_hard(a, tau, generator(7))
    s = hard.argmax(-1, keepdim=True)
    r = torch.randn(6, 1, generator=generator(8), dtype=torch.float64)
    (g,) = torch.autograd.grad((r * hard.gather(-1, s)).sum(), a, retain_graph=True)
    delta = torch.zeros_like(h).scatter_(-1, s, 1.0)
    formula = r * h.gather(-1, s) * (delta - h) / tau
    torch.testing.assert_close(g, formula, rtol=0, atol=1e-10)

    # The official NAS-Bench-201 cell adds the other entries as scalars: r becomes r - c.
    c = torch.randn(6, 1, generator=generator(9), dtype=torch.float64)
    others = hard.sum(-1, keepdim=True) - hard.gather(-1, s)
    (g,) = torch.autograd.grad((r * hard.gather(-1, s) + c * others).sum(), a)
    formula = (r - c) * h.gather(-1, s) * (delta - h) / tau
    torch.testing.assert_close(g, formula, rtol=0, atol=1e-10)


def test_straight_through_gradient_is_biased():
    # Two choices of four options and a loss with an interaction; 16 outcomes give the exact
    # gradient of the expectation. The bias is a property of GDAS: the test keeps it known.
    g = generator(3)
    linear = torch.randn(2, 4, generator=g, dtype=torch.float64)
    pair = torch.randn(4, 4, generator=g, dtype=torch.float64)

    def loss(w):  # [..., 2, 4] -> [...]
        s = (w * linear).sum((-1, -2)) + torch.einsum(
            "...i,ij,...j->...", w[..., 0, :], pair, w[..., 1, :]
        )
        return torch.tanh(s) + 0.5 * (s - 0.3) ** 2 + 2

    a = (0.5 * torch.randn(2, 4, generator=g, dtype=torch.float64)).requires_grad_()
    p = torch.softmax(a, -1)
    eye = torch.eye(4, dtype=torch.float64)
    outcomes = torch.stack([torch.stack([i, j]) for i in eye for j in eye])
    chances = torch.einsum("i,j->ij", p[0], p[1]).reshape(-1)
    (exact,) = torch.autograd.grad((chances * loss(outcomes)).sum(), a)

    draws = a.detach().expand(100_000, 2, 4).clone().requires_grad_()
    (each,) = torch.autograd.grad(loss(rx.gumbel_hard(draws, 0.4, g)).sum(), draws)
    z = (each.mean(0) - exact) / (each.std(0) / each.shape[0] ** 0.5)
    assert z.abs().max() > 10


def test_same_generator_same_sample_and_the_global_state_is_untouched():
    a, state = alpha(), torch.get_rng_state()
    first, again = (rx.gumbel_hard(a, 1.0, generator(4)) for _ in range(2))
    assert torch.equal(first, again)
    g = generator(4)
    rows = [rx.gumbel_soft(a, 1.0, g) for _ in range(2)]
    assert not torch.equal(*rows)
    rx.init_alpha((2, 2), generator())
    assert torch.equal(state, torch.get_rng_state())


def test_noise_that_is_not_finite_is_drawn_again(monkeypatch):
    real, calls = torch.Tensor.exponential_, []

    def unlucky(self, *args, **kwargs):
        calls.append(1)
        real(self, *args, **kwargs)
        return self.zero_() if len(calls) == 1 else self

    monkeypatch.setattr(torch.Tensor, "exponential_", unlucky)
    h = rx.gumbel_soft(alpha(), 1.0, generator())
    assert len(calls) == 2
    assert torch.isfinite(h).all()


def test_an_alpha_that_is_nan_is_not_drawn_for_ever():
    h = rx.gumbel_hard(torch.full((1, 3), float("nan")), 1.0, generator())
    assert h.isnan().any()


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_tau_out_of_range_is_named(tau):
    with pytest.raises(ConfigError, match=r"tau is .*; accepted: above 0"):
        rx.gumbel_soft(alpha(), tau, generator())


def test_initial_alpha_is_small_and_a_mask_leaves_the_others_as_they_were():
    a = rx.init_alpha((500, 8), generator())
    assert a.std().item() == pytest.approx(1e-3, rel=0.05)
    assert a.dtype == torch.float32
    small, masked = (
        rx.init_alpha((3, 4), generator()),
        rx.init_alpha((3, 4), generator(), 1e-3, MASK),
    )
    assert torch.equal(masked, torch.where(MASK, small, 0.0))


def test_jitter_is_the_published_rule_row_by_row():
    """SmoothDARTS, a row at a time: noise, position of the largest, clamp, 1 there if all are 0."""
    weights = torch.softmax(torch.randn(400, 3, generator=generator(1)), -1)
    mask = torch.ones(400, 3, dtype=torch.bool)
    mask[::2, 2] = False
    weights = weights.masked_fill(~mask, 0)
    found = rx.jitter(weights, 0.9, generator(2), mask)
    noise = 2 * torch.rand(400, 3, generator=generator(2)) - 1
    rows, kept_another = [], 0
    for row, shift, live in zip(weights, noise, mask, strict=True):
        moved = (row + 0.9 * shift)[live]
        largest = int(moved.argmax())
        moved = moved.clamp(0, 1)
        if moved.sum() == 0:
            kept_another += largest != int(row[live].argmax())
            moved[largest] = 1.0
        rows.append(torch.zeros(3).masked_scatter(live, moved / moved.sum()))
    torch.testing.assert_close(found, torch.stack(rows))
    assert kept_another > 5  # where it is another than the largest before the noise
