"""How sharp a supernet's loss is: in alpha, by its Hessian, and in the weights.

In alpha (Understanding and Robustifying Differentiable Architecture Search, Zela, Elsken, Saikia,
Marrakchi, Brox, Hutter, ICLR 2020, arXiv 1909.09656) the Hessian is that of the loss with the
weights held fixed, without the unrolled step; the dominant eigenvalue is the largest one, and a
search stops by it. In the weights, `sharpness` is the rise of the loss along its own gradient
(Foret et al., ICLR 2021, arXiv 2010.01412).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.bilevel.hypergradient import hessian, hessian_vector
from morphogen.supernets import Gates, Supernet, evaluating
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks.problem import BilevelLoss, Problem, trainable

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
    from scipy.sparse.linalg import LinearOperator, eigsh  # late: it takes half a second to import

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


def sharpness(
    problem: Problem,
    net: Supernet,
    gates: Gates,
    *,
    examples: int,
    radius: float,
    part: str = "valid",
) -> tuple[float, float]:
    """L(w + rho g / |g|) - L(w), g the gradient of L in w, and |g|.

    On fixed examples, the supernet in evaluation mode; the same on every process. What the search
    draws is not touched.

    Args:
        problem: of the supernet.
        net: whose weights w.
        gates: under which it runs.
        examples: of the part, at most; 0: all.
        radius: rho.
        part: of the data.
    """
    rows = torch.split(problem.chosen(part, examples, f"sharpness/{part}"), CHUNK)
    held = problem.task.examples(part, device=problem.devices.device)
    gates = gates.detach()
    weights = [w.detach().requires_grad_() for w in trainable(net).values()]
    total = [torch.zeros_like(w) for w in weights]

    def losses(at: Sequence[Tensor]) -> Iterator[tuple[Tensor, float]]:
        count = sum(len(some) for some in rows)
        with forked_rng(problem.devices.device, seed=problem.seed):
            for some in rows:
                batch = held.batch(some)
                output = problem.forward(net, gates, batch.x, at)
                yield problem.task.loss(output, batch.y), len(some) / count

    with evaluating(net):
        before = 0.0
        for value, share in losses(weights):
            slopes = torch.autograd.grad(value, weights, materialize_grads=True)
            total = [t + share * g for t, g in zip(total, slopes, strict=True)]
            before += share * float(value.detach())
        norm = float(torch.stack([t.square().sum() for t in total]).sum().sqrt())
        if not norm:
            return 0.0, 0.0
        with torch.no_grad():
            moved = [w + radius / norm * g for w, g in zip(weights, total, strict=True)]
            after = sum(share * float(value) for value, share in losses(moved))
    return after - before, norm


CHUNK = 256
"""Examples of a pass."""

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
