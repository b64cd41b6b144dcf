"""Architectures as vectors of reals between 0 and 1, and the operators of evolution on them.

Deb and Agrawal: Simulated binary crossover for continuous search space. Complex Systems 1995.
Deb and Goyal: A combined genetic adaptive search (GeneAS) for engineering design. 1996 (polynomial
mutation). Both in the form for variables with bounds. A larger distribution index `eta` keeps
children nearer to their parents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture
from morphogen.spaces import SearchSpace

Reals = NDArray[np.float64]
"""[n], each between 0 and 1."""

EQUAL = 1e-14
"""Difference of two parents in a variable below which they count as equal in it."""


def simulated_binary(
    first: Reals, second: Reals, eta: float, rng: np.random.Generator, *, share: float = 0.5
) -> tuple[Reals, Reals]:
    """Two children, each variable of which lies about its two parents' as far apart as they do.

    In an unbounded variable the spread of the children over that of the parents, beta, has the
    density (eta + 1) / 2 beta^eta up to 1 and (eta + 1) / 2 beta^-(eta + 2) beyond.

    Args:
        first: a parent [n].
        second: the other.
        eta: distribution index.
        rng: source of chance.
        share: probability that a variable is crossed; else it passes as it is.
    """
    crossed = rng.random(len(first)) < share
    u, swapped = rng.random(len(first)), rng.random(len(first)) < 0.5
    low, high = np.minimum(first, second), np.maximum(first, second)
    apart = high - low
    crossed &= apart > EQUAL
    gap = np.where(crossed, apart, 1.0)

    def spread(room: Reals) -> Reals:
        """Beta of a side with this much room between the parent and the bound."""
        alpha = 2 - (1 + 2 * room / gap) ** -(eta + 1)
        inner = (u * alpha) ** (1 / (eta + 1))
        outer = (1 / np.maximum(2 - u * alpha, EQUAL)) ** (1 / (eta + 1))
        return np.where(u <= 1 / alpha, inner, outer)

    below = (low + high - spread(low) * apart) / 2
    above = (low + high + spread(1 - high) * apart) / 2
    one, other = np.where(swapped, above, below), np.where(swapped, below, above)
    return (
        np.clip(np.where(crossed, one, first), 0.0, 1.0),
        np.clip(np.where(crossed, other, second), 0.0, 1.0),
    )


def polynomial_mutation(x: Reals, eta: float, rate: float, rng: np.random.Generator) -> Reals:
    """Each variable moved with probability `rate`, and by at most its distance to the bound.

    Args:
        x: [n].
        eta: distribution index.
        rate: for each variable by itself; in pymoo up to 0.5 `prob`, since 0.6 `prob_var`.
        rng: source of chance.
    """
    moved, u = rng.random(len(x)) < rate, rng.random(len(x))
    down = (2 * u + (1 - 2 * u) * (1 - x) ** (eta + 1)).clip(0.0) ** (1 / (eta + 1)) - 1
    up = 1 - (2 * (1 - u) + (2 * u - 1) * x ** (eta + 1)).clip(0.0) ** (1 / (eta + 1))
    return np.where(moved, np.clip(x + np.where(u <= 0.5, down, up), 0.0, 1.0), x)


class RealCode:
    """A code in which an architecture of `space` has a real for each option, as alphas are.

    Many vectors stand for one architecture: that which the space's own rule derives from the
    softmax of each choice's row.

    Args:
        space: of the architectures.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._masks = space.masks
        options = [len(c.options) for choices in space.groups.values() for c in choices]
        ends = np.cumsum(options)
        self.rows: tuple[slice, ...] = tuple(
            slice(int(end) - n, int(end)) for n, end in zip(options, ends, strict=True)
        )
        """The entries of each choice, group after group."""
        self.length = int(ends[-1])

    def random(self, rng: np.random.Generator) -> Reals:
        """A uniformly drawn vector [length]."""
        return rng.random(self.length)

    def matrices(self, x: Reals) -> dict[str, Reals]:
        """A vector as one matrix [choices, widest] per group, 0 where a choice has no option."""
        found, start = {}, 0
        for group, mask in self._masks.items():
            matrix, count = np.zeros(mask.shape), int(mask.sum())
            matrix[mask] = x[start : start + count]
            found[group], start = matrix, start + count
        return found

    def decode(self, x: Reals) -> Architecture:
        """The architecture of a vector [length]."""
        scores = {}
        for group, matrix in self.matrices(x).items():
            weights = np.where(self._masks[group], np.exp(matrix), 0.0)
            scores[group] = weights / weights.sum(axis=1, keepdims=True)
        return self.space.derive(scores)

    def cross_rows(self, first: Reals, second: Reals, rng: np.random.Generator) -> Reals:
        """A child that takes the whole row of each choice from either parent with equal chance."""
        child = first.copy()
        for row, coin in zip(self.rows, rng.integers(2, size=len(self.rows)), strict=True):
            if coin:
                child[row] = second[row]
        return child

    def reset_rows(self, x: Reals, rate: float, rng: np.random.Generator) -> Reals:
        """The vector with the row of each choice drawn anew with probability `rate`."""
        child = x.copy()
        for row, reset in zip(self.rows, rng.random(len(self.rows)) < rate, strict=True):
            if reset:
                child[row] = rng.random(row.stop - row.start)
        return child
