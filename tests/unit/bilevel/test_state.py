"""Optimisers by their configuration, and the steps of searches against plain torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import tiny
from morphogen.bilevel.gates import concrete_gates, probabilities, softmax_gates
from morphogen.bilevel.optimisers import SGD, Adam, Optimiser, descend
from morphogen.bilevel.state import BilevelState, alpha_step, joint_step
from morphogen.cost import of_options
from morphogen.spaces import make
from morphogen.supernets import live_masks, space_of
from morphogen.tasks.problem import Clock, Problem


@pytest.mark.parametrize(
    "config",
    [
        SGD(lr=0.2, lr_end=0.02, nesterov=False, weight_decay=0.1, clip=0.5),
        SGD(lr=0.2, momentum=0.0, clip=0.0),
        Adam(lr=0.1),
        Adam(lr=0.1, lr_end=0.01, clip=0.3),
    ],
)
def test_steps_of_a_configuration_are_those_of_torch(config: Optimiser) -> None:
    start = torch.arange(1.0, 5.0)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    made = config.make([ours])
    if isinstance(config, SGD):
        reference: torch.optim.Optimizer = torch.optim.SGD(
            [theirs],
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0 and config.nesterov,
            weight_decay=config.weight_decay,
        )
    else:
        reference = torch.optim.Adam(
            [theirs], lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
    for epoch in range(3):
        gradient = torch.tensor([3.0, -4.0, 0.0, 12.0]) / (epoch + 1)
        clock = Clock(epoch, 3, 0, 1)
        made.param_groups[0]["lr"] = config.at(clock)
        descend(made, [ours], [gradient.clone()], clip=config.clip)
        scale = min(1.0, config.clip * (epoch + 1) / 13) if config.clip else 1.0  # 3, 4, 12: 13
        reference.param_groups[0]["lr"] = config.at(clock)
        theirs.grad = scale * gradient
        reference.step()
        torch.testing.assert_close(ours, theirs.detach())
    assert ours.grad is None


def test_rates_of_adam_are_constant_or_a_cosine() -> None:
    clocks = [Clock(epoch, 2, 0, 1) for epoch in range(2)]
    assert [Adam(lr=0.3).at(c) for c in clocks] == [0.3, 0.3]
    assert [Adam(lr=0.3, lr_end=0.1).at(c) for c in clocks] == pytest.approx([0.3, 0.2])


def test_what_has_no_gradient_is_not_moved_not_even_by_momentum() -> None:
    tensors = [torch.ones(2), torch.ones(2)]
    made = SGD(weight_decay=0.1).make(tensors)
    descend(made, tensors, [torch.ones(2), torch.ones(2)])
    kept = tensors[1].clone()
    descend(made, tensors, [torch.ones(2), None])
    assert torch.equal(tensors[1], kept)
    assert not torch.equal(tensors[0], kept)


def started(seed: int = 0) -> tuple[BilevelState, Problem]:
    problem = tiny.problem(space_of(tiny.smooth()), seed=seed)
    return BilevelState.start(problem, SGD(), Adam()), problem


def test_a_joint_step_is_one_backward_pass_and_two_optimisers() -> None:
    weights, alpha = SGD(lr=0.1, lr_end=0.1, clip=0.05), Adam(lr=0.02, clip=1e-3)
    state, problem = started()
    twin, other = started()
    batch = problem.batch("train")

    def objective(s: BilevelState, p: Problem) -> tuple[Tensor, Tensor]:
        gates = softmax_gates(p.space, s.alphas)
        squares = [w.square().sum() for w in gates.weights.values()]
        return p.loss(s.net, gates, batch), 0.3 * torch.stack(squares).sum()

    loss, penalty = objective(state, problem)
    value = joint_step(state, problem, loss, weights, alpha, tiny.CLOCK, penalty=penalty)
    wanted, more = objective(twin, other)
    (wanted + more).backward()  # type: ignore[no-untyped-call]
    for config, tensors in ((weights, twin.weights), (alpha, twin.alphas)):
        torch.nn.utils.clip_grad_norm_(tensors, config.clip)
        config.make(tensors).step()
    torch.testing.assert_close(value, wanted.detach())  # without the penalty
    for mine, theirs in zip(
        [*state.weights, *state.alphas], [*twin.weights, *twin.alphas], strict=True
    ):
        torch.testing.assert_close(mine, theirs)
        assert mine.grad is None


def test_alphas_may_descend_by_sgd() -> None:
    state, problem = started()
    plain = SGD(lr=1.0, lr_end=1.0, momentum=0.0, weight_decay=0.0, clip=0.0)
    state = replace(state, alpha_optimiser=plain.make(state.alphas))
    before = [a.detach().clone() for a in state.alphas]
    alpha_step(state, problem, [torch.ones_like(a) for a in state.alphas], plain, tiny.CLOCK)
    for old, new in zip(before, state.alphas, strict=True):
        assert torch.equal(new, old - 1)


def test_a_resource_cost_alone_leads_to_the_cheapest_options() -> None:
    """The pieces of a single-level search: sampled gates, costs, the joint step, masks."""
    space = make("nasbench201")
    problem = tiny.problem(space)
    state = BilevelState.start(problem, SGD(), Adam())
    costs = of_options(space, problem.spec, (1, 8, 8))
    live = live_masks(space, {c.name: set(c.options) - {"none"} for c in space.choices})
    spent = []
    for _ in range(30):
        gates = concrete_gates(space, state.alphas, 1.0, problem.search_rng, live)
        loss = 1e-3 * costs.expected(gates, "macs") + 0 * problem.loss(
            state.net, gates, problem.batch("train")
        )
        joint_step(state, problem, loss, SGD(), Adam(lr=0.3, clip=1.0), tiny.CLOCK)
        soft = softmax_gates(space, state.alphas, live).detach()
        spent.append(float(costs.expected(soft, "macs")))
    assert spent[-1] < 0.05 * spent[0]
    found = space.derive(probabilities(space, state.alphas, live))
    assert {found.one(c.name) for c in space.choices} <= {"skip_connect", "avg_pool_3x3"}
