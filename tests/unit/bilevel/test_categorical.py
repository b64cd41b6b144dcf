"""Categoricals against torch.distributions, closed forms, enumeration and Monte Carlo."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, RelaxedOneHotCategorical

from morphogen import OneOf
from morphogen.bilevel import categorical as ct
from morphogen.core import ConfigError
from morphogen.supernets import Gates, NetworkSpec, build, space_of
from morphogen.supernets.relaxations import gumbel_soft

P = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


MASK = torch.tensor([[True, True, False, True], [False, True, False, False], [False] * 4])


def test_frequencies_are_the_softmax() -> None:
    drawn = ct.sample(P.log().expand(200_000, 1, 3), generator())
    assert torch.equal(drawn.sum(-1), torch.ones(200_000, 1, dtype=torch.float64))
    torch.testing.assert_close(drawn.mean(0), P, atol=0.003, rtol=0)


def test_log_prob_and_entropy_are_those_of_torch() -> None:
    alpha = logits(5, 3, 4)
    drawn = ct.sample(alpha, generator())
    reference = Categorical(logits=alpha)
    wanted = Independent(reference, 1).log_prob(drawn.argmax(-1))
    torch.testing.assert_close(ct.log_prob(alpha, drawn), wanted)
    torch.testing.assert_close(ct.entropy(alpha), reference.entropy())


def test_masked_options_are_not_drawn_and_a_row_without_any_is_certain() -> None:
    alpha = logits(3, 4).requires_grad_()
    drawn = ct.sample(alpha.expand(2000, 3, 4), generator(), MASK)
    assert not drawn[:, ~MASK].any()
    assert drawn[:, 0].mean(0)[MASK[0]].min() > 0.02
    assert (drawn[:, 2] == 0).all()
    row = torch.tensor([0, 1, 3])
    left = Categorical(logits=alpha[0, row])
    log_p = ct.log_prob(alpha, drawn[0], MASK)
    torch.testing.assert_close(log_p, left.log_prob(drawn[0, 0, row].argmax()))
    spread = ct.entropy(alpha, MASK)
    torch.testing.assert_close(spread[0], left.entropy())
    assert spread[1:].tolist() == [0.0, 0.0]
    for value in (log_p, spread.sum()):
        (slope,) = torch.autograd.grad(value, alpha, retain_graph=True)
        assert slope.isfinite().all()
        assert not slope[~MASK].any()


@pytest.mark.parametrize("options", [5, 6, 7])
def test_softened_logits_keep_every_option_between_bounds(options: int) -> None:
    # UNAS on ImageNet: epsilon 0.08; 7 options 0.0513 to 0.6923, 6: 0.0541 to 0.7297, 5: 0.7714.
    alpha = torch.zeros(1, options, dtype=torch.float64)
    alpha[0, 0] = 50.0
    p = torch.softmax(ct.soften(alpha, 0.08), -1)[0]
    wanted = {5: (0.0571, 0.7714), 6: (0.0541, 0.7297), 7: (0.0513, 0.6923)}[options]
    assert (float(p.min()), float(p.max())) == pytest.approx(wanted, abs=5e-5)
    assert ct.soften(alpha, 0.0) is alpha


def test_the_concrete_density_is_that_of_torch_and_knows_masks() -> None:
    alpha, tau = logits(6, 2, 5), 0.6
    z = gumbel_soft(alpha, tau, generator())
    reference = RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=alpha)
    torch.testing.assert_close(
        ct.concrete_log_prob(z, alpha, tau), reference.log_prob(z), rtol=1e-9, atol=1e-9
    )
    part = logits(3, 4)
    z = gumbel_soft(part, tau, generator(), MASK)
    found = ct.concrete_log_prob(z, part, tau, MASK)
    kept = RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=part[0, MASK[0]])
    torch.testing.assert_close(found[0], kept.log_prob(z[0, MASK[0]]))
    assert found[1:].tolist() == [0.0, 0.0]  # one option or none: nothing is uncertain


def test_the_density_of_eight_equal_weights_has_the_constant_of_the_paper() -> None:
    even = torch.full((1, 8), 0.125, dtype=torch.float64)
    found = ct.concrete_log_prob(even, torch.zeros(1, 8, dtype=torch.float64), 1.0)
    # ln 7! - (1 + 1) 8 ln (1/8) - 8 ln (8 * 8)
    assert float(found) == pytest.approx(math.log(5040) + 16 * math.log(8) - 8 * math.log(64))


def test_a_score_function_of_the_density_agrees_with_the_reparametrised_gradient() -> None:
    # SNAS, linear cost (3, 1, 0) at tau 0.5: (0.467, -0.231, -0.236); discrete: (0.49, -0.26, ..).
    cost, count = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64), 400_000
    alpha = P.log().expand(count, 1, 3).clone().requires_grad_()
    z = gumbel_soft(alpha, 0.5, generator(3))
    value = (z * cost).sum(-1)
    (direct,) = torch.autograd.grad(value.mean(), alpha, retain_graph=True)
    density = ct.concrete_log_prob(z.detach(), alpha, 0.5)
    (score,) = torch.autograd.grad((value.detach() * density).mean(), alpha)
    wanted = torch.tensor([[0.467, -0.231, -0.236]], dtype=torch.float64)
    torch.testing.assert_close(direct.sum(0), wanted, atol=0.005, rtol=0)
    torch.testing.assert_close(score.sum(0), wanted, atol=0.012, rtol=0)


# -- REBAR ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [2, 5, 8])
@pytest.mark.parametrize("tau", [0.1, 0.4, 2.0])
def test_the_conditional_sample_is_the_sample(options: int, tau: float) -> None:
    alpha = 2 * logits(20_000, 1, options)
    found = ct.rebar(alpha, tau, generator())
    assert (found.soft - found.conditional).abs().max() < 1e-10
    assert torch.equal(found.sample.argmax(-1), found.soft.argmax(-1))
    assert torch.equal(found.sample.argmax(-1), found.conditional.argmax(-1))
    assert torch.equal(found.soft, gumbel_soft(alpha, tau, generator()))
    single = ct.rebar(alpha.float(), tau, generator())
    assert (single.soft - single.conditional).abs().max() < 1e-4


def test_the_conditional_gradient_holds_the_noise_of_the_others() -> None:
    """By finite differences of the published formula: v from u, then s~ of other alphas."""
    alpha, tau = logits(1, 4), 0.7
    found = ct.rebar(alpha.clone().requires_grad_(), tau, generator(5))
    top = int(found.sample.argmax())
    noise = torch.empty(1, 4, dtype=torch.float64).exponential_(generator=generator(5))
    log_u, q = -noise, torch.softmax(alpha, -1)
    log_vk = log_u[0, top] / q[0, top]
    log_v = log_u - q * log_vk

    def conditional(a: Tensor) -> Tensor:
        p = torch.softmax(a, -1)
        scores = -torch.log(-log_v / p - log_vk)
        scores[0, top] = -torch.log(-log_vk)
        return torch.softmax(scores / tau, -1)

    torch.testing.assert_close(found.conditional.detach(), conditional(alpha))
    a = alpha.clone().requires_grad_()
    again = ct.rebar(a, tau, generator(5)).conditional
    for i in range(4):
        (ours,) = torch.autograd.grad(again[0, i], a, retain_graph=True)
        steps = 1e-6 * torch.eye(4, dtype=torch.float64)
        theirs = [(conditional(alpha + e) - conditional(alpha - e))[0, i] / 2e-6 for e in steps]
        torch.testing.assert_close(ours[0], torch.stack(theirs), rtol=1e-5, atol=1e-7)


def toy(weights: Tensor) -> Tensor:  # [..., 2, 4] -> [...]
    """A loss with an interaction that no relaxation gets right."""
    g = generator(3)
    linear = torch.randn(2, 4, generator=g, dtype=torch.float64)
    pair = torch.randn(4, 4, generator=g, dtype=torch.float64)
    both = torch.einsum("...i,ij,...j->...", weights[..., 0, :], pair, weights[..., 1, :])
    s = (weights * linear).sum((-1, -2)) + both
    return torch.tanh(s) + 0.5 * (s - 0.3) ** 2 + 2


def test_rebar_is_unbiased_and_each_of_its_terms_is_needed() -> None:
    a = 0.5 * logits(2, 4, seed=7)
    leaf = a.clone().requires_grad_()
    p, eye = torch.softmax(leaf, -1), torch.eye(4, dtype=torch.float64)
    outcomes = torch.stack([torch.stack([i, j]) for i in eye for j in eye])
    chances = torch.einsum("i,j->ij", p[0], p[1]).reshape(-1)
    (exact,) = torch.autograd.grad((chances * toy(outcomes)).sum(), leaf)

    alpha = a.expand(200_000, 2, 4).clone().requires_grad_()
    found = ct.rebar(alpha, 0.4, generator(9))
    log_p = ct.log_prob(alpha, found.sample)
    reward = toy(found.sample)
    terms = {
        "unas": (reward - toy(found.control)).detach() * log_p + toy(found.control),
        "reinforce": reward * log_p,
        "no score": toy(found.control),
        "no correction": (reward - toy(found.soft)).detach() * log_p + toy(found.soft),
    }
    off, spread = {}, {}
    for name, objective in terms.items():
        (each,) = torch.autograd.grad(objective.sum(), alpha, retain_graph=True)
        z = (each.mean(0) - exact) / (each.std(0) / each.shape[0] ** 0.5)
        off[name], spread[name] = float(z.abs().max()), float(each.var(0).sum())
    assert off["unas"] < 4
    assert off["reinforce"] < 4
    assert off["no score"] > 10
    assert off["no correction"] > 10
    assert spread["unas"] < 0.5 * spread["reinforce"]


def test_rebar_knows_masks_and_extremes() -> None:
    alpha = (60 * logits(3, 4)).float().requires_grad_()
    found = ct.rebar(alpha, 0.1, generator(), MASK)
    assert not found.sample[~MASK].any()
    (slope,) = torch.autograd.grad((found.control * logits(3, 4).float()).sum(), alpha)
    assert slope.isfinite().all()
    assert not slope[~MASK].any()
    torch.testing.assert_close(found.soft, found.conditional)
    assert not found.soft[2].any()
    with pytest.raises(ConfigError, match=r"^tau is 0.0; accepted: above 0$"):
        ct.rebar(alpha, 0.0, generator())


class Net(nn.Module):
    """Two choices, one after the other, of functions that interact."""

    def __init__(self) -> None:
        super().__init__()
        self.first = OneOf({"half": Times(0.5), "flip": Times(-1.0), "sin": Sine()}, name="first")
        self.second = OneOf({"square": Square(), "keep": Times(1.0)}, name="second")

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (3 * x).sin()


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def test_samples_of_each_example_give_the_exact_gradient_of_a_supernet() -> None:
    """UNAS on a supernet: one network for every example of one batch, against all six networks."""
    space = space_of(Net())
    net, x, target = build(space, NetworkSpec()), torch.tensor(0.8), torch.tensor(0.3)
    alphas = [0.7 * logits(1, 3, seed=2), 0.7 * logits(1, 2, seed=3)]
    leaves = [a.clone().requires_grad_() for a in alphas]
    first, second = (torch.softmax(a, -1)[0] for a in leaves)
    expected = torch.zeros((), dtype=torch.float64)
    for arch in space.enumerate():
        loss = (net(x.double()[None], Gates.of(space, arch)) - target).square().squeeze()
        i, j = (c.index(arch.one(c.name)) for c in space.choices)
        expected = expected + first[i] * second[j] * loss
    exact = torch.autograd.grad(expected, leaves)

    examples = 40_000
    wide = [a.expand(examples, *a.shape).clone().requires_grad_() for a in alphas]
    drawn = [ct.rebar(a, 0.4, generator(seed)) for seed, a in enumerate(wide)]
    images = x.double().expand(examples)

    def losses(gates: Gates) -> Tensor:
        return (net(images, gates) - target).square()

    with torch.no_grad():
        paths = dict(zip(space.groups, (d.sample for d in drawn), strict=True))
        hard = losses(Gates.above(paths))
    soft = losses(
        Gates.dense(space, dict(zip(space.groups, (d.control for d in drawn), strict=True)))
    )
    log_p = sum(ct.log_prob(a, d.sample) for a, d in zip(wide, drawn, strict=True))
    objective = (hard - soft).detach() * log_p + soft
    each = torch.autograd.grad(objective.sum(), wide)
    for found, wanted in zip(each, exact, strict=True):
        z = (found.mean(0) - wanted) / (found.std(0) / examples**0.5)
        assert float(z.abs().max()) < 4
