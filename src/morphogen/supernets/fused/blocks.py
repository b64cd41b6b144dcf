"""Operations on some of the rows of matrices, walked in blocks that stay in a core's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NARROW = 32
"""Widest matrix [rows, channels] whose column products are taken as the diagonal of a product."""

TERMS = 256
"""Rows that a product adds up one after the other."""

Work = Callable[[slice], object]
"""Does its part for the rows in the slice."""

BLOCK_BYTES = 256 * 1024
"""Of one matrix, per thread: small enough that the handful of matrices that meet in a node stay in
a core's own cache between one operation and the next, large enough that calls cost little."""


def in_blocks(like: Tensor | None, work: Sequence[Work]) -> None:
    """All of `work` for the first rows, then for the next ones, over the rows of matrix `like`."""
    if like is None or not work:
        return
    rows = like.shape[0]
    size = rows
    if like.device.type == "cpu":
        block = BLOCK_BYTES * torch.get_num_threads()
        size = max(block // (like.shape[1] * like.element_size()), 1)
    for start in range(0, rows, size):
        some = slice(start, start + size)
        for step in work:
            step(some)


def covariance(matrix: Tensor, centre: Tensor) -> Tensor:
    """Population covariance of the columns, given their mean."""
    total = matrix.new_zeros(matrix.shape[1], matrix.shape[1])

    def add(some: slice) -> None:
        centred = matrix[some] - centre
        total.add_(products(centred, centred))

    in_blocks(matrix, [add])
    return total / matrix.shape[0]


def shift(out: Tensor, constant: Tensor, some: slice) -> None:
    """Out += constant, per column."""
    out[some].add_(constant)


def put_scaled(out: Tensor, constant: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    """Out = constant + x * factor, per column."""
    torch.addcmul(constant, x[some], factor, out=out[some])


def add_scaled(out: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    """Out += x * factor, per column."""
    out[some].addcmul_(x[some], factor)


def put_product(out: Tensor, constant: Tensor, x: Tensor, weight: Tensor, some: slice) -> None:
    """Out = constant + x @ weight."""
    torch.addmm(constant, x[some], weight, out=out[some])


def add_product(out: Tensor, x: Tensor, weight: Tensor, some: slice) -> None:
    """Out += x @ weight."""
    out[some].addmm_(x[some], weight)


def put_multiple(out: Tensor, x: Tensor, factor: Tensor, some: slice) -> None:
    """Out = x * factor."""
    torch.mul(x[some], factor, out=out[some])


def sum_columns(total: Tensor, x: Tensor, some: slice) -> None:
    """Total += the column sums of x."""
    total.add_(x[some].sum(0))


def multiply_columns(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    """Total += the inner products of the columns of x and y."""
    total.add_(column_products(x[some], y[some]))


def cross(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    """Total += x' y."""
    total.add_(products(x[some], y[some]))


def multiply(total: Tensor, x: Tensor, y: Tensor, some: slice) -> None:
    """Total += the inner product of x and y."""
    total.add_(torch.dot(x[some].reshape(-1), y[some].reshape(-1)))


def column_products(x: Tensor, y: Tensor) -> Tensor:
    """Inner products of the columns of `x` with those of `y`, [channels]."""
    if x.shape[1] <= NARROW:
        # A few columns: one matrix product reads both once, its other entries cost little.
        return products(x, y).diagonal()
    return (x * y).sum(0)


def products(x: Tensor, y: Tensor) -> Tensor:
    """The inner products of every column of `x` with every one of `y`: x' y.

    A sum of sums of `TERMS` rows: some processors' libraries add up all rows of a product one
    after the other, and of 16,384 rows the result is then off by some 1e-4.
    """
    whole = x.shape[0] // TERMS * TERMS
    left, right = (t[:whole].view(-1, TERMS, t.shape[1]) for t in (x, y))
    total = torch.bmm(left.transpose(1, 2), right).sum(0)
    return total if whole == x.shape[0] else total.addmm_(x[whole:].t(), y[whole:])
