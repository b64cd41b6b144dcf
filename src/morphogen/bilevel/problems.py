"""Small bilevel problems whose hypergradient is known: the yardsticks of tests and of results.

Each has the two losses as methods `inner` and `outer`, each a `BilevelLoss`. Random
problems are float64, so that an error seen is the method's and not rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from morphogen.bilevel.hypergradient import hessian
from morphogen.core.errors import ConfigError, NumericalError
from morphogen.tasks.problem import BilevelLoss


class ScalarToy:
    """One weight, one alpha: inner (w - alpha)^2, outer alpha w - 2 alpha + 1 (DARTS, Fig. 2).

    H = 2, M = -2, w*(alpha) = alpha; the bilevel optimum is alpha = w = 1. The fixed points of
    alternating descent below are where the outer gradient with w = alpha vanishes.
    """

    start = (-2.0, 2.0)
    """w and alpha where the paper's figure starts."""

    def inner(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The training loss w^2 - 2 alpha w + alpha^2."""
        return (weights[0] - alphas[0]).square()

    def outer(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The validation loss alpha w - 2 alpha + 1."""
        return alphas[0] * weights[0] - 2 * alphas[0] + 1

    @staticmethod
    def unrolled_fixed_point(lr: float) -> float:
        """Alpha where descent with `unrolled` of rate xi comes to rest: 2 / (1 + 2 xi)."""
        return 2 / (1 + 2 * lr)

    @staticmethod
    def neumann_fixed_point(terms: int, step: float) -> float:
        """Alpha where descent with `neumann` comes to rest: 2 / (2 - (1 - 2 gamma)^(K+1))."""
        return 2 / (2 - (1 - 2 * step) ** (terms + 1))


@dataclass(frozen=True, eq=False)
class Quadratic:
    """inner w'Aw/2 - w'B alpha, outer |w - c|^2/2 + rho |alpha|^2/2: everything in closed form.

    H = A, M = -B, w*(alpha) = A^-1 B alpha.
    """

    a: Tensor
    """A: [n, n], symmetric, positive definite."""
    b: Tensor
    """B: [n, m], n weights and m alphas."""
    c: Tensor
    """Where the outer loss wants the weights: [n]."""
    rho: float
    """Strength of the outer loss's direct dependence on alpha."""

    @classmethod
    def random(
        cls,
        generator: Generator,
        *,
        weights: int = 12,
        alphas: int = 5,
        lowest: float = 0.5,
        highest: float = 2.0,
        rho: float = 0.1,
    ) -> Quadratic:
        """A problem whose Hessian has eigenvalues evenly spaced from `lowest` to `highest`."""
        basis, _ = torch.linalg.qr(_normal(generator, weights, weights))
        spectrum = torch.linspace(lowest, highest, weights, dtype=torch.float64)
        return cls(
            a=basis @ torch.diag(spectrum) @ basis.T,
            b=_normal(generator, weights, alphas),
            c=_normal(generator, weights),
            rho=rho,
        )

    def inner(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The training loss w'Aw/2 - w'B alpha."""
        (w,), (alpha,) = weights, alphas
        return w @ self.a @ w / 2 - w @ self.b @ alpha

    def outer(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The validation loss |w - c|^2/2 + rho |alpha|^2/2."""
        (w,), (alpha,) = weights, alphas
        return (w - self.c).square().sum() / 2 + self.rho * alpha.square().sum() / 2

    def solve(self, alphas: Sequence[Tensor]) -> list[Tensor]:
        """w*(alpha) = A^-1 B alpha: one tensor [n]."""
        return [torch.linalg.solve(self.a, self.b @ alphas[0])]

    def hypergradient(self, alphas: Sequence[Tensor]) -> list[Tensor]:
        """The true one, rho alpha + B'A^-1 (w*(alpha) - c): one tensor [m]."""
        (w,) = self.solve(alphas)
        return [self.rho * alphas[0] + self.b.T @ torch.linalg.solve(self.a, w - self.c)]

    def neumann_bound(self, alphas: Sequence[Tensor], *, terms: int, step: float) -> float:
        """Upper bound of the error of `neumann` at w*: ||M|| ||v|| (1 - gamma mu)^(K+1) / mu.

        mu is the smallest eigenvalue of A; holds for gamma <= 1 / largest eigenvalue
        (iDARTS, the lemma on the truncated series).
        """
        lowest = float(torch.linalg.eigvalsh(self.a)[0])
        v = torch.linalg.vector_norm(self.solve(alphas)[0] - self.c)
        m = torch.linalg.matrix_norm(self.b, ord=2)
        return float(m * v) * (1 - step * lowest) ** (terms + 1) / lowest


@dataclass(frozen=True, eq=False)
class MixedLogistic:
    """Logistic regression on a softmax mixture of feature maps: convex inside, not quadratic.

    The smallest problem with the shape of DARTS: sample i enters as sum_k softmax(alpha)_k x_ik.
    The inner loss is the mean cross entropy on the training samples plus decay |w|^2; the outer one
    is the mean cross entropy on the validation samples.
    """

    train_x: Tensor
    """[samples, maps, features]."""
    train_y: Tensor
    """Class of each sample: [samples], int64."""
    valid_x: Tensor
    valid_y: Tensor
    classes: int
    decay: float
    """Strength of the L2 term; makes the inner loss strongly convex."""

    @classmethod
    def random(
        cls,
        generator: Generator,
        *,
        samples: int = 200,
        maps: int = 4,
        features: int = 6,
        classes: int = 3,
        decay: float = 0.05,
        noise: float = 1.0,
    ) -> MixedLogistic:
        """As many training as validation samples; the labels follow the first map, with noise.

        Map k is tanh of a random linear map of the same 6-dimensional normal input, so the maps
        compete for the same weights as operations on an edge do.
        """
        inputs = _normal(generator, 2 * samples, features)
        mixers = _normal(generator, maps, features, features) / features**0.5
        x = torch.tanh(torch.einsum("nf,kfg->nkg", inputs, mixers))
        scores = 3 * x[:, 0] @ _normal(generator, features, classes)
        y = (scores + noise * _normal(generator, 2 * samples, classes)).argmax(dim=1)
        return cls(x[:samples], y[:samples], x[samples:], y[samples:], classes, decay)

    def inner(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The training loss over all training samples."""
        return self._train(self.train_x, self.train_y, weights, alphas)

    def outer(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """The validation loss over all validation samples."""
        return self._cross_entropy(self.valid_x, self.valid_y, weights, alphas)

    def inner_on(self, samples: Tensor) -> BilevelLoss:
        """The training loss on some samples; its mean over equal batches is `inner`."""
        x, y = self.train_x[samples], self.train_y[samples]
        return lambda weights, alphas: self._train(x, y, weights, alphas)

    def outer_on(self, samples: Tensor) -> BilevelLoss:
        """The validation loss on some samples."""
        x, y = self.valid_x[samples], self.valid_y[samples]
        return lambda weights, alphas: self._cross_entropy(x, y, weights, alphas)

    def solve(self, alphas: Sequence[Tensor], *, tolerance: float = 1e-13) -> list[Tensor]:
        """w*(alpha) by Newton's method: one tensor [features, classes].

        Raises:
            NumericalError: the gradient's norm is still above `tolerance` after 50 steps.
        """
        w = torch.zeros(self.train_x.shape[2], self.classes, dtype=self.train_x.dtype)
        for _ in range(50):
            leaf = w.requires_grad_()
            (slope,) = torch.autograd.grad(self.inner([leaf], alphas), leaf)
            w = w.detach()
            if float(slope.norm()) <= tolerance:
                return [w]
            h = hessian(self.inner, [w], alphas)
            w = w - torch.linalg.solve(h, slope.reshape(-1)).reshape(w.shape)
        raise NumericalError(
            f"Newton's method left a gradient of norm {float(slope.norm()):.1e} after 50 steps; "
            f"accepted: at most {tolerance:.1e}"
        )

    def brute_force(self, alphas: Sequence[Tensor], *, width: float = 1e-5) -> list[Tensor]:
        """The hypergradient by central differences of outer(w*(alpha), alpha): one tensor [maps].

        Solves the inner problem anew at alpha +- width for every entry of alpha.
        """
        if not width > 0:
            raise ConfigError(f"width is {width}; accepted: above 0")
        (alpha,) = alphas
        slopes = []
        for unit in torch.eye(len(alpha), dtype=alpha.dtype):
            ends = [[alpha.detach() + sign * width * unit] for sign in (1, -1)]
            up, down = (self.outer(self.solve(end), end) for end in ends)
            slopes.append((up - down) / (2 * width))
        return [torch.stack(slopes)]

    def _train(
        self, x: Tensor, y: Tensor, weights: Sequence[Tensor], alphas: Sequence[Tensor]
    ) -> Tensor:
        penalty = self.decay * weights[0].square().sum()
        return self._cross_entropy(x, y, weights, alphas) + penalty

    @staticmethod
    def _cross_entropy(
        x: Tensor, y: Tensor, weights: Sequence[Tensor], alphas: Sequence[Tensor]
    ) -> Tensor:
        mixed = torch.einsum("k,nkf->nf", torch.softmax(alphas[0], dim=0), x)
        return cross_entropy(mixed @ weights[0], y)


def largest_curvature(
    inner: BilevelLoss, weights: Sequence[Tensor], alphas: Sequence[Tensor]
) -> float:
    """L, the largest eigenvalue of the inner Hessian; `neumann` converges for step < 2 / L."""
    return float(torch.linalg.eigvalsh(hessian(inner, weights, alphas))[-1])


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
