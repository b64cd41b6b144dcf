"""The Hessian in alpha against closed forms and a real supernet; the stop against its authors'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import tiny
from morphogen.bilevel.curvature import EigenvalueStop, alpha_hessian, dominant_eigenvalue
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.spaces import make

CPU = torch.device("cpu")


@pytest.mark.parametrize("written_out", [64, 0], ids=["written out", "Lanczos"])
def test_the_dominant_eigenvalue_of_a_quadratic_is_that_of_its_matrix(written_out: int) -> None:
    g = torch.Generator().manual_seed(0)
    m = torch.randn(30, 30, generator=g, dtype=torch.float64)
    a = (m + m.T) / 2
    wanted = float(torch.linalg.eigvalsh(a)[-1])

    def loss(weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        x = torch.cat([alpha.reshape(-1) for alpha in alphas])
        return x @ a @ x / 2 + weights[0].sum()

    alphas = [torch.randn(n, 5, generator=g, dtype=torch.float64) for n in (4, 2)]
    found = dominant_eigenvalue(loss, [torch.ones(2)], alphas, written_out=written_out)
    assert found == pytest.approx(wanted, abs=1e-4)
    assert found == dominant_eigenvalue(loss, [torch.ones(2)], alphas, written_out=written_out)
    np.testing.assert_allclose(alpha_hessian(loss, [torch.ones(2)], alphas), a, atol=1e-12)


@pytest.mark.parametrize("execution", ["fused", "plain"])
def test_the_hessian_of_a_supernet_is_symmetric_and_blind_to_shifts_of_a_row(
    execution: str,
) -> None:
    """And a column of it is the central difference of the gradient."""
    space = make("nasbench201")
    problem = tiny.problem(space, channels=4, execution=execution)
    net, batch = problem.supernet().double().eval(), problem.batch("valid")

    def loss(weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        gates = softmax_gates(space, alphas)
        return cross_entropy(net(batch.x.double(), gates), batch.y)

    alphas = [a.detach().double() for a in start_alphas(space, problem.search_rng, CPU, 1.0)]
    h = alpha_hessian(loss, [], alphas)
    exact = float(np.linalg.eigvalsh(h)[-1])
    assert dominant_eigenvalue(loss, [], alphas) == pytest.approx(exact)
    assert dominant_eigenvalue(loss, [], alphas, written_out=0) == pytest.approx(exact, rel=1e-2)
    assert np.abs(h.reshape(30, 6, 5).sum(axis=2)).max() < 1e-4 * np.abs(h).max()
    sides = []
    for sign in (1, -1):
        moved = alphas[0].clone()
        moved[1, 2] += sign * 1e-5
        moved.requires_grad_()
        sides.append(torch.autograd.grad(loss([], [moved]), moved)[0])
    column = ((sides[0] - sides[1]) / 2e-5).reshape(-1).numpy()
    np.testing.assert_allclose(h[7], column, atol=1e-4 * np.abs(h).max())


def stopped(values: Sequence[float], every: int = 2, start: int = 10) -> list[int | None]:
    """The answer after each record."""
    epochs = [every * i for i in range(len(values))]
    return [
        EigenvalueStop(every, 1.3, start, epochs[: n + 1], values[: n + 1]).best
        for n in range(len(values))
    ]


def test_a_growing_eigenvalue_ends_the_search_and_gives_the_epoch_of_the_mean_before() -> None:
    """Of the authors' tracker: growth from epoch 30 on ends at 32, with the epoch 20."""
    found = stopped([1.0] * 15 + [1.5, 1.5**2, 1.5**3])
    assert found[16] == 20
    assert found[:16] == [None] * 16


def test_neither_a_constant_nor_a_falling_nor_a_negative_eigenvalue_ends_it() -> None:
    for values in ([1.0] * 25, [2.0**-i for i in range(25)], [float(i - 30) for i in range(25)]):
        assert stopped(values) == [None] * 25


def test_early_growth_is_not_compared_and_the_first_epoch_is_known() -> None:
    found = stopped([1.5**i for i in range(20)])
    first = next(i for i, best in enumerate(found) if best is not None)
    assert 2 * first == EigenvalueStop(2, 1.3, 10).first == 22
    found = stopped([1.5**i for i in range(20)], every=1, start=0)
    assert next(i for i, best in enumerate(found) if best is not None) == 6
    assert EigenvalueStop(1, 1.3, 0).first == 6
