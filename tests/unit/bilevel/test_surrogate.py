"""The linear model of what has no gradient."""

from __future__ import annotations

import pytest
import torch

from morphogen.bilevel.surrogate import linear, ridge


def test_dependent_columns_and_few_rows_have_a_solution() -> None:
    ones = torch.ones(1, 3)
    fit = ridge(ones, torch.tensor([8.0]))
    assert linear(fit.weights, ones).item() == pytest.approx(8 * 4 / 5)  # by hand: 4 w + w = 8
    assert (fit.trained, fit.held_out) == (pytest.approx(1.6), pytest.approx(1.6))


def test_errors_are_of_the_rows_that_were_fitted_and_of_the_others() -> None:
    x = torch.eye(10)
    y = torch.zeros(10)
    y[9] = 5.0
    fit = ridge(x, y, penalty=1e-9)
    assert fit.trained == pytest.approx(0, abs=1e-6)
    assert fit.held_out == pytest.approx(2.5, abs=1e-6)


def test_its_value_is_differentiable_in_the_features() -> None:
    fit = ridge(torch.randn(50, 4), torch.randn(50))
    x = torch.randn(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(linear(fit.weights, x).sum(), x)
    torch.testing.assert_close(gradient, fit.weights[:-1].float().expand(3, 4))
