"""The Hessian of the validation loss in alpha, and when a search stops by its largest eigenvalue.

Paper: Understanding and Robustifying Differentiable Architecture Search. Zela, Elsken, Saikia,
Marrakchi, Brox, Hutter. ICLR 2020. arXiv 1909.09656. The Hessian is that of the loss with the
weights held fixed, without the unrolled step; the dominant eigenvalue is the largest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from morphogen.bilevel.hypergradient import hessian, hessian_vector
from morphogen.tasks.problem import BilevelLoss

WRITTEN_OUT = 64
"""Alphas up to which the Hessian is written out, a backward pass for each."""


def alpha_hessian(
    loss: BilevelLoss, weights: Sequence[Tensor], alphas: Sequence[Tensor]
) -> NDArray[np.float64]:
    """d2 loss / d alpha d alpha: symmetric [n, n], n the number of alphas."""
    fixed = [w.detach() for w in weights]
    found = hessian(lambda inner, _: loss(fixed, inner), alphas, []).double().cpu().numpy()
    return (found + found.T) / 2  # type: ignore[no-any-return]


def dominant_eigenvalue(
    loss: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    written_out: int = WRITTEN_OUT,
    tolerance: float = 1e-3,
) -> float:
    """The largest eigenvalue of the Hessian of `loss` in alpha.

    Args:
        loss: on a batch; the same function each time.
        weights: held fixed.
        alphas: where it is taken.
        written_out: numbers of alphas up to which the Hessian is written out; for more of them it
            is found by Lanczos' method, from Hessian-vector products.
        tolerance: of Lanczos' method, relative.
    """
    n = sum(alpha.numel() for alpha in alphas)
    if n <= written_out:
        return float(np.linalg.eigvalsh(alpha_hessian(loss, weights, alphas))[-1])
    leaves = [alpha.detach().requires_grad_() for alpha in alphas]
    value = loss([w.detach() for w in weights], leaves)
    gradient = torch.autograd.grad(value, leaves, create_graph=True, materialize_grads=True)
    sizes = [alpha.numel() for alpha in alphas]

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = torch.split(torch.from_numpy(vector.reshape(-1).copy()), sizes)
        pairs = zip(parts, leaves, strict=True)
        shaped = [part.to(leaf.device, leaf.dtype).reshape(leaf.shape) for part, leaf in pairs]
        found = hessian_vector(gradient, leaves, shaped)
        flat: NDArray[np.float64] = torch.cat([f.reshape(-1) for f in found]).double().cpu().numpy()
        return flat

    start = np.random.default_rng(0).standard_normal(n)  # fixed, so that a search repeats
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    found = eigsh(operator, 1, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)
    return float(found[0])


WINDOW, DELTA = 5, 4
"""Records that a local mean is over, and between the two means that are compared."""


@dataclass(frozen=True)
class EigenvalueStop:
    """Eigenvalues so far, and whether they say that the search is to end (DARTS-ES).

    Of the records the mean over a window of five is taken, centred; the search ends when the newest
    mean is more than `factor` times that of four records before. Then the epoch of that earlier
    mean is where it should have ended: 12 epochs ago with a record every other epoch.
    """

    every: int
    """Epochs between two records."""
    factor: float
    start: int
    """Epochs before which no mean is compared with a later one."""
    epochs: Sequence[int] = ()
    """Of the records, from 0."""
    values: Sequence[float] = ()

    @property
    def first(self) -> int:
        """The first epoch in which it can end a search, from 0."""
        return self.every * (-(-self.start // self.every) + DELTA + WINDOW // 2)

    @property
    def best(self) -> int | None:
        """The epoch at which the search should have ended, once it is to end; None before."""
        now = len(self.values) - 1 - WINDOW // 2
        then = now - DELTA
        if then < 0 or self.epochs[then] < self.start:
            return None
        earlier = self._mean(then)
        grown = earlier > 0 and self._mean(now) > self.factor * earlier
        return self.epochs[then] if grown else None

    def _mean(self, place: int) -> float:
        """Over the records around one, fewer at the beginning."""
        around = self.values[max(0, place - WINDOW // 2) : place + WINDOW // 2 + 1]
        return sum(around) / len(around)
