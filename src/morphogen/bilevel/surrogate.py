"""A linear model of what has no gradient: ridge regression in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TRAINED = 0.8
"""Share of the rows that a model is fitted to; the others say how far it is off."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model."""

    weights: Tensor
    """[features + 1], float64; the constant is the last."""
    trained: float
    """Mean absolute error on the rows that it was fitted to."""
    held_out: float
    """Mean absolute error on the others."""


def ridge(features: Tensor, values: Tensor, penalty: float = 1.0) -> Fit:
    """W = (A'A + penalty I)^-1 A'y, A the features and a column of ones, which is penalised, too.

    One-hot features of several choices are linearly dependent: without a penalty there is no one
    solution.

    Args:
        features: [rows, features]; the first four fifths are fitted.
        values: [rows].
        penalty: on the squares of all weights.
    """
    a, y = _with_ones(features.double()), values.double()
    cut = max(1, int(TRAINED * len(a)))
    normal = a[:cut].T @ a[:cut] + penalty * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    weights = torch.linalg.solve(normal, a[:cut].T @ y[:cut])
    off = (a @ weights - y).abs()
    rest = off[cut:] if cut < len(a) else off
    return Fit(weights, float(off[:cut].mean()), float(rest.mean()))


def linear(weights: Tensor, features: Tensor) -> Tensor:
    """The model's value of features [..., features], in their type; differentiable in them."""
    held = weights.to(features.dtype).to(features.device)  # not every device has float64
    return features @ held[:-1] + held[-1]


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
