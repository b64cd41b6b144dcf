"""Regularisers against closed forms, brute force and slow constructions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from morphogen.bilevel.gates import (
    edge_shares,
    matrices,
    probabilities,
    sampled_path,
    softmax_gates,
    start_alphas,
)
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.regularisation import Regularisation
from morphogen.bilevel.regularised import RegularisedProblem, beta_decay
from morphogen.bilevel.state import BilevelState, alpha_step, weight_step
from morphogen.core import CapabilityError
from morphogen.spaces import SearchSpace, make
from morphogen.spaces.nasbench201 import EDGES, NASBench201
from morphogen.supernets import Gates, space_of
from morphogen.supernets.relaxations import to_shares

NB201 = NASBench201()


def regularised(
    space: SearchSpace = NB201, spec: dict[str, Any] | None = None, **options: Any
) -> RegularisedProblem:
    """The toy problem of the suites, regularised."""
    plain = tiny.problem(space, **(spec or {}))
    return RegularisedProblem(
        space,
        plain.task,
        plain.spec,
        batch_size=plain.batch_size,
        seed=plain.seed,
        regularisation=Regularisation(**options),
    )


def rows(seed: int = 1, space: SearchSpace = NB201, *, edges: bool = False) -> list[Tensor]:
    """Alphas that differ everywhere."""
    g = torch.Generator().manual_seed(seed)
    return start_alphas(space, g, torch.device("cpu"), 1.0, edges=edges)


# -- off ------------------------------------------------------------------------------------------


def test_what_is_off_changes_no_bit_and_draws_nothing() -> None:
    ends = []
    for problem in (tiny.problem(NB201), regularised()):
        state = BilevelState.start(problem, SGD(), Adam())
        gates = softmax_gates(NB201, state.alphas)
        batch = problem.batch("train")
        loss = weight_step(state, problem, batch, gates, SGD(), tiny.CLOCK)
        alpha_step(state, problem, [torch.ones_like(a) for a in state.alphas], Adam(), tiny.CLOCK)
        drawn = torch.rand(3, generator=problem.search_rng)
        ends.append([loss, drawn, *state.weights, *state.alphas])
    for ours, theirs in zip(*ends, strict=True):
        assert torch.equal(ours, theirs)


# -- edges ----------------------------------------------------------------------------------------


def test_edges_into_a_node_share_it_by_a_softmax_of_their_own() -> None:
    space = make("darts")
    alphas = rows(space=space, edges=True)
    shares = edge_shares(space, alphas)
    assert shares is not None
    found = softmax_gates(space, alphas)
    scores = probabilities(space, alphas)
    for group, beta, share, alpha in zip(
        space.groups, alphas[2:], shares, matrices(space, alphas), strict=True
    ):
        first = 0
        for edges in (2, 3, 4, 5):  # into the four nodes
            part = slice(first, first + edges)
            torch.testing.assert_close(share[part], torch.softmax(beta[part], dim=0))
            first += edges
        torch.testing.assert_close(found.weights[group], torch.softmax(alpha, -1) * share)
        np.testing.assert_allclose(scores[group], found.weights[group].detach().numpy())
    # Beta 0: sums of a node divided by the edges into it.
    level = [*matrices(space, alphas), *(torch.zeros_like(b) for b in alphas[2:])]
    even = softmax_gates(space, level).weights["normal"]
    degrees = torch.tensor([2.0] * 2 + [3.0] * 3 + [4.0] * 4 + [5.0] * 5)
    torch.testing.assert_close(even, torch.softmax(alphas[0], -1) / degrees[:, None])


def test_a_sampled_path_keeps_the_share_of_each_edge() -> None:
    alphas = rows(edges=True)
    paths = [
        sampled_path(NB201, some, 1.0, torch.Generator().manual_seed(3))
        for some in (alphas, matrices(NB201, alphas))
    ]
    shares = edge_shares(NB201, alphas)
    assert shares is not None
    assert paths[0].live == paths[1].live
    torch.testing.assert_close(paths[0].weights["cell"], paths[1].weights["cell"] * shares[0])


def test_an_edge_without_live_options_leaves_its_share_to_the_others() -> None:
    alphas = rows(edges=True)
    live = [torch.ones(6, 5, dtype=torch.bool)]
    live[0][3] = False  # one of three edges into the last node
    shares = edge_shares(NB201, alphas, live)
    assert shares is not None
    node = shares[0][3:, 0].detach()
    assert float(node[0]) == 0
    torch.testing.assert_close(node[1:], torch.softmax(alphas[1][4:, 0].detach(), dim=0))


# -- perturbation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("edges", ["off", "on"])
def test_random_perturbation_stays_within_epsilon_and_keeps_the_weight_of_an_edge(
    edges: str,
) -> None:
    problem = regularised(perturb="random", edge_normalisation=edges, partial_channels=1)
    net, batch = problem.supernet(), problem.batch("train")
    soft = softmax_gates(NB201, rows(edges=edges == "on"))
    for progress, epsilon in ((0.0, 0.03), (0.5, 0.165), (1.0, 0.3)):
        problem.progress = progress
        assert problem.epsilon == pytest.approx(epsilon)
        moved = problem.weight_gates(net, soft, batch)
        before, after = soft.weights["cell"].detach(), moved.weights["cell"]
        assert not after.requires_grad
        assert not torch.equal(before, after)
        torch.testing.assert_close(before.sum(-1), after.sum(-1))
        if edges == "off" and progress == 0:  # dividing by the sum moves by up to as much again
            assert float((after - before).abs().max()) <= 5 * epsilon


def test_random_perturbation_of_a_quadratic_costs_the_trace_of_its_hessian() -> None:
    """E over U(-eps, eps) of L(a + d) = L + eps^2 / 6 trace(A), without dividing by the sum."""
    g = torch.Generator().manual_seed(0)
    m = torch.randn(5, 5, generator=g, dtype=torch.float64)
    a = m @ m.T
    d = 0.2 * (2 * torch.rand(20_000, 5, generator=g, dtype=torch.float64) - 1)
    at = torch.rand(5, generator=g, dtype=torch.float64)
    x = at + d
    values = ((x @ a) * x).sum(1) / 2
    wanted = at @ a @ at / 2 + 0.04 / 6 * a.trace()
    error = values.std() / 20_000**0.5
    assert abs(float(values.mean() - wanted)) < 3 * float(error)


class Linear(nn.Module):
    """A supernet whose loss is a known quadratic of its gates."""

    def __init__(self, matrix: Tensor, target: Tensor) -> None:
        super().__init__()
        self.matrix, self.target = nn.Parameter(matrix), target


class Quadratic(RegularisedProblem):
    """Its loss is |M g - target|^2 of the gates g, whatever the batch."""

    def loss(self, net: Any, gates: Gates, batch: Any, **more: Any) -> Tensor:
        g = torch.cat([w.reshape(-1) for w in gates.weights.values()])
        return (net.matrix @ g - net.target).square().sum()


def test_the_adversary_comes_near_the_worst_gates_that_there_are() -> None:
    """Against all corners of the box, put back to rows of sum 1: the maximum of a convex loss."""
    space = space_of(tiny.smooth())  # rows of 3 and 2 options
    plain = tiny.problem(space)
    problem = Quadratic(
        space,
        plain.task,
        plain.spec,
        batch_size=plain.batch_size,
        regularisation=Regularisation(perturb="adversarial", perturb_epsilon=0.2),
    )
    problem.progress = 1.0
    soft = softmax_gates(space, rows(2, space)).detach()
    mask = {group: soft.mask(group) for group in soft.weights}
    sizes = {group: w.numel() for group, w in soft.weights.items()}
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        # Slopes without a mean over a row, since rows keep their sum.
        parts = [
            torch.randn(4, n, generator=g) * mask[group].reshape(-1) for group, n in sizes.items()
        ]
        centred = [
            p - p.sum(1, keepdim=True) / (p != 0).sum(1, keepdim=True) * (p != 0) for p in parts
        ]
        net: Any = Linear(torch.cat(centred, dim=1), 2 * torch.randn(4, generator=g))
        found = problem.weight_gates(net, soft, plain.batch("train"))
        clean, reached = (float(problem.loss(net, gates, None).detach()) for gates in (soft, found))
        worst = clean
        for signs in itertools.product((-0.2, 0.0, 0.2), repeat=sum(sizes.values())):
            parts = torch.split(torch.tensor(signs), list(sizes.values()))
            weights = {
                group: to_shares(w + d.reshape(w.shape), mask[group])
                for (group, w), d in zip(soft.weights.items(), parts, strict=True)
            }
            value = problem.loss(net, Gates(weights, soft.live), None)
            worst = max(worst, float(value.detach()))
        assert clean <= reached <= worst * (1 + 1e-5)
        assert reached - clean >= 0.7 * (worst - clean)


def test_the_adversary_raises_the_loss_of_a_supernet_and_leaves_it_as_it_was() -> None:
    problem = regularised(perturb="adversarial")
    problem.progress = 1.0
    net, batch = problem.supernet(), problem.batch("train")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    soft = softmax_gates(NB201, rows())
    moved = problem.weight_gates(net, soft, batch)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    net.eval()
    with torch.no_grad():
        assert float(problem.loss(net, moved, batch)) > float(problem.loss(net, soft, batch))


# -- skip connections -----------------------------------------------------------------------------


def test_beta_decay_is_the_mean_of_logsumexp_and_its_gradient_a_softmax() -> None:
    alphas = [a.double().detach().requires_grad_() for a in rows(edges=True)]
    problem = regularised(skip_penalty="beta")
    assert problem.alpha_penalty(alphas) is None  # nothing before the first epoch is over
    problem.progress = 0.4
    value = problem.alpha_penalty(alphas)
    assert value is not None
    by_hand = np.log(np.exp(alphas[0].detach().numpy()).sum(axis=1)).mean()
    assert float(value.detach()) == pytest.approx(0.4 * 50 * by_hand)
    (slope,) = torch.autograd.grad(value, alphas[:1])
    torch.testing.assert_close(slope, 0.4 * 50 / 6 * torch.softmax(alphas[0], -1))


def test_beta_decay_does_not_see_options_that_a_choice_lacks() -> None:
    space = space_of(tiny.smooth())
    alphas = rows(2, space)
    padded = [a.detach().clone() for a in alphas]
    for alpha, mask in zip(padded, space.masks.values(), strict=True):
        alpha[~torch.from_numpy(mask)] = 100.0
    assert torch.equal(beta_decay(space, padded), beta_decay(space, alphas))


def test_every_alpha_step_goes_along_the_penalty_too() -> None:
    plain = SGD(lr=1.0, lr_end=1.0, momentum=0.0, weight_decay=0.0, clip=0.0)
    problem = regularised(skip_penalty="beta", skip_weight=6.0)
    problem.progress = 1.0
    state = BilevelState.start(problem, SGD(), plain)
    before = state.alphas[0].detach().clone()
    alpha_step(state, problem, [torch.zeros_like(a) for a in state.alphas], plain, tiny.CLOCK)
    torch.testing.assert_close(state.alphas[0], before - torch.softmax(before, -1))


def test_the_auxiliary_skip_connection_adds_the_sources_to_every_node() -> None:
    """Against edges written out with one more term; it fades, and then nothing is left."""
    problem = regularised(spec={"channels": 4}, skip_penalty="auxiliary")
    net: Any = problem.supernet().eval()
    batch, soft = problem.batch("train"), softmax_gates(NB201, rows())
    problem.progress = 0.25
    gates = soft.weights["cell"].detach()
    with torch.no_grad():
        found = problem.loss(net, soft, batch)
        x = net.stem(batch.x)
        for cell in net.cells:
            if not hasattr(cell, "edges"):
                x = cell(x)
                continue
            nodes = [x]
            for target in (1, 2, 3):
                node = torch.zeros_like(x)
                for row, (source, end) in enumerate(EDGES):
                    if end == target:
                        node += 0.75 * nodes[source]
                        for option, gate in zip(NB201.operations, gates[row], strict=True):
                            if option != "none":
                                name = NB201.choices[row].name
                                node += gate * cell.option(name, option)(nodes[source])
                nodes.append(node)
            x = nodes[-1]
        scores = net.classifier(net.norm(x).relu().mean((2, 3)))
        wanted = problem.task.loss(scores, batch.y, train=True)
    torch.testing.assert_close(found, wanted)
    problem.progress = 1.0
    assert problem.with_auxiliary(soft) is soft


def test_a_path_runs_the_auxiliary_connection_beside_what_is_drawn() -> None:
    problem = regularised(skip_penalty="auxiliary")
    path = sampled_path(NB201, rows(), 1.0, torch.Generator().manual_seed(3))
    found = problem.with_auxiliary(path)
    skip = NB201.choices[0].index("skip_connect")
    for row, (before, after) in enumerate(zip(path.live["cell"], found.live["cell"], strict=True)):
        assert set(after) == {*before, skip}
        own = float(path.weights["cell"][row, skip].detach()) if skip in before else 0.0
        assert float(found.weights["cell"][row, skip].detach()) == own + 1.0


# -- the rest -------------------------------------------------------------------------------------


def test_alpha_rests_while_the_weights_warm_up() -> None:
    problem = regularised(alpha_warmup=0.3)
    state = BilevelState.start(problem, SGD(), Adam())
    before = state.alphas[0].detach().clone()
    ones = [torch.ones_like(a) for a in state.alphas]
    alpha_step(state, problem, ones, Adam(), tiny.CLOCK)
    assert torch.equal(before, state.alphas[0])
    assert not state.alpha_optimiser.state
    problem.progress = 0.3
    alpha_step(state, problem, ones, Adam(), tiny.CLOCK)
    assert not torch.equal(before, state.alphas[0])


def test_what_a_space_cannot_have_is_refused() -> None:
    with pytest.raises(CapabilityError, match="no option of space 'nasbench-macro'"):
        regularised(make("nasbench-macro").without(["identity"]), skip_penalty="auxiliary")
    with pytest.raises(CapabilityError, match="no node of space 'nasbench-macro' adds up"):
        regularised(make("nasbench-macro"), edge_normalisation="on")
