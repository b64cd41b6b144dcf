"""Hypergradients: d/d alpha of outer(w*(alpha), alpha), where w*(alpha) minimises inner(w, alpha).

Every function here is pure: it takes losses, weights and alphas and returns new tensors. Weights,
alphas and their `.grad` are the same, bit for bit, after a call as before it; a shifted weight is a
new tensor. With H = d2 inner / dw dw, M = d2 inner / dw d alpha and v = d outer / dw, they are

    first_order          d outer / d alpha                                           DARTS, xi = 0
    unrolled             d outer(w'(alpha), alpha) / d alpha,  w' one SGD step on    DARTS, Eq. 7-8
    neumann              d outer / d alpha - gamma M' sum_{k<=K} (I - gamma H)^k v   iDARTS
    conjugate_gradient   d outer / d alpha - M' x,  H x = v by iteration
    exact                d outer / d alpha - M' H^-1 v,  H written out: small problems only

A **loss** is called as `loss(weights, alphas)` and must be computed from the tensors it is given
(for a module: `torch.func.functional_call`), never from the module's own parameters. It holds its
batch, and is called several times, so it must be the same function each time: draw random gates and
dropout masks before, and leave the running statistics of batch norm alone.

**Data parallel.** Each process passes the losses of its own batch and a `reduce` that averages over
processes. Every vector in weight space (v, the gradient of an unrolled step, each Hessian product)
and every alpha gradient goes through it. Averaging H_r u over ranks r gives H u of the joint batch
because u is already the same on every rank, and <G_r, u> is linear in G_r: the gradient G that a
Hessian product is taken of needs no averaging of its own. The result equals that of one process
with the joint batch, provided that the loss is a mean over samples and no layer mixes samples
(batch norm does).

Papers: DARTS, Liu, Simonyan, Yang, ICLR 2019, arXiv 1806.09055. iDARTS, Zhang et al., ICML 2021,
arXiv 2106.10784.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from morphogen.core.errors import ConfigError, MorphogenError
from morphogen.tasks.problem import BilevelLoss

Reduce = Callable[[list[Tensor]], list[Tensor]]
"""Mean over processes of a list of tensors; each calls it equally often, with equal shapes.

It returns new tensors and does not write to those it is given: two gradients may be one tensor, and
a gradient may still belong to a graph."""

DARTS_RADIUS = 0.01
"""r, the length of the shift of a finite difference (DARTS, section 2.3: epsilon = 0.01/||v||).
In float32 the error of a smooth network is smallest about here: rounding grows below, curvature
above."""

NORM_FLOOR = 1e-12
"""A vector of zeros has no direction: its finite difference is then 0, not 0/0."""


def unchanged(tensors: list[Tensor]) -> list[Tensor]:
    """The `reduce` of a single process."""
    return tensors


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """A gradient of the outer loss with respect to the alphas. All tensors are detached."""

    total: list[Tensor]
    """The hypergradient: one tensor per alpha, of its shape."""
    direct: list[Tensor]
    """The part with the weights held fixed, d outer / d alpha: one tensor per alpha. At the shifted
    weights w' for `unrolled`, at w for the others."""
    loss: Tensor
    """The outer loss, a scalar, at the weights where `direct` was taken."""
    growth: Tensor = field(default_factory=lambda: torch.ones(()))
    """`neumann`, a scalar: ||u_K|| / ||v||; 1 for the others. Above 1 the series grows: gamma is
    too large for the curvature, or the curvature is negative."""
    shift: list[Tensor] | None = None
    """`neumann` with `shift_radius` only: one tensor per weight, to be added to the weights by who
    wants the shift that the authors' code of iDARTS leaves behind."""
    products: int = 0
    """Hessian-vector products spent."""

    @property
    def implicit(self) -> list[Tensor]:
        """The part through the weights, total - direct: one tensor per alpha."""
        return [t - d for t, d in zip(self.total, self.direct, strict=True)]

    @property
    def share(self) -> Tensor:
        """||implicit|| / ||direct||, a scalar: how much the path through the weights matters."""
        return _norm(self.implicit) / _norm(self.direct).clamp_min(NORM_FLOOR)


# --- the four gradients ---------------------------------------------------------------------------


def first_order(
    outer: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    reduce: Reduce = unchanged,
) -> Hypergradient:
    """The gradient of outer(w, alpha) with w held fixed (DARTS with xi = 0).

    No gradient with respect to a weight is computed. An alpha that the loss does not depend on, as
    on a sampled path, gets zeros.
    """
    a = _leaves(alphas)
    value = outer(_fixed(weights), a)
    loss, *direct = reduce([value.detach(), *_gradients(value, a)])
    return Hypergradient(total=direct, direct=direct, loss=loss)


def unrolled(
    inner: BilevelLoss,
    outer: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    lr: float,
    momentum: float = 0.0,
    buffers: Sequence[Tensor | None] | None = None,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    radius: float | None = DARTS_RADIUS,
    reduce: Reduce = unchanged,
) -> Hypergradient:
    """The gradient of outer(w'(alpha), alpha), w' being one SGD step on `inner` (DARTS, Eq. 7-8).

    Cost with a radius: four forward and backward passes, two of which ask for alpha gradients only.

    Args:
        inner: training loss on one batch.
        outer: validation loss on one batch.
        weights: w, one tensor each.
        alphas: architecture parameters, one tensor each.
        lr: xi, the learning rate of the step; 0 gives `first_order`.
        momentum: mu of the step.
        buffers: momentum buffer of each weight as in `torch.optim.SGD`, None for one that has not
            stepped; read, never written.
        weight_decay: lambda of the step; not a part of `inner`.
        nesterov: step as Nesterov's momentum does; the authors' code does not, whatever the
            optimiser.
        radius: r, length of the shift ||w+ - w|| in weight units (Eq. 8); None takes the mixed
            second derivative exactly, by differentiating twice.
        reduce: mean over processes.

    Returns:
        The hypergradient; `direct` and `loss` are taken at w'.

    Raises:
        ConfigError: lr, momentum or weight_decay is negative, or radius is not above 0.
        MorphogenError: a loss depends on none of the weights passed to it.
    """
    for name, number in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
        _require(name, number, number >= 0, "0 or above")
    _require_radius(radius)
    w = _leaves(weights)

    # w' = w - lr (mu b + grad inner + lambda w), and the gradient's graph if M' v is to be exact.
    a = _fixed(alphas) if radius is not None else _leaves(alphas)
    gradient = _inner_gradient(inner, w, a, graph=radius is None)
    w_next = sgd_step(
        weights,
        reduce(_fixed(gradient)),
        lr=lr,
        momentum=momentum,
        buffers=buffers,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )

    # d = d outer / d alpha and v = d outer / dw, both at w'.
    loss, direct, v = _outer_gradients(outer, w_next, alphas, reduce)

    # d w' / d alpha = -lr M at the old w; Nesterov adds mu times the gradient a second time.
    if radius is None:
        mixed = mixed_product(gradient, a, v)
    else:
        mixed = mixed_product_by_differences(inner, weights, alphas, v, radius=radius)
    scale = lr * (1 + momentum) if nesterov else lr
    total = [d - scale * m for d, m in zip(direct, reduce(mixed), strict=True)]
    return Hypergradient(total=total, direct=direct, loss=loss)


def neumann(
    inners: Sequence[BilevelLoss],
    outer: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    terms: int,
    step: float,
    radius: float | None = None,
    shift_radius: float | None = None,
    reduce: Reduce = unchanged,
) -> Hypergradient:
    """The gradient d - gamma M' sum_{k=0..K} (I - gamma H)^k v, all taken at the same w (iDARTS).

    d and v are the gradients of `outer` with respect to alpha and w.

    The inverse Hessian of the implicit function theorem is replaced by the first K+1 terms of its
    Neumann series. It converges if all eigenvalues of H are in (0, 2/gamma); gamma stands twice in
    the formula and must be the same number. Memory depends on neither K nor on how w was reached.

    Args:
        inners: one training loss, used for H and for M, as in the paper (a biased estimate if K > 0
            and it is a mini-batch, since E[H M] is not E[H] E[M]); or terms+1 losses on independent
            batches, one for each factor H and the last for M, which is unbiased.
        outer: validation loss on one batch.
        weights: w, one tensor each.
        alphas: architecture parameters, one tensor each.
        terms: K, terms after the identity: the number of Hessian-vector products.
        step: gamma.
        radius: None for an exact mixed product; else the length r of the shift of w along p, the
            sum of the series, for a finite difference.
        shift_radius: if given, `shift` is -shift_radius / ||v|| * sum_{k=1..K} u_k, by which the
            authors' code moves the weights on restoring them with v in place of p.
        reduce: mean over processes.

    Returns:
        The hypergradient, with `growth`, `products` and, on request, `shift`.

    Raises:
        ConfigError: a number is out of range, or there are neither 1 nor terms+1 inner losses.
        MorphogenError: a loss depends on none of the weights passed to it.
    """
    _require("terms", terms, terms >= 0, "0 or above")
    _require("step", step, step > 0, "above 0")
    _require_radius(radius)
    if len(inners) not in (1, terms + 1):
        raise ConfigError(
            f"neumann got {len(inners)} inner losses; accepted: 1, or terms + 1 = {terms + 1}"
        )
    shared = len(inners) == 1
    loss, direct, v = _outer_gradients(outer, weights, alphas, reduce)

    # u_0 = v, u_k = u_{k-1} - gamma H u_{k-1}, p = sum of all u_k.
    w = _leaves(weights)
    a = _leaves(alphas) if radius is None else _fixed(alphas)
    gradient: list[Tensor] | None = None
    u, p = v, v
    for k in range(terms):
        if not shared:
            gradient = None  # frees one batch's graph before the next is built
        if gradient is None:
            gradient = _inner_gradient(inners[k], w, a, graph=True)
        product = reduce(hessian_vector(gradient, w, u))
        u = [ui - step * hi for ui, hi in zip(u, product, strict=True)]
        p = [pi + ui for pi, ui in zip(p, u, strict=True)]

    # g = d - gamma M' p
    if not shared or radius is not None:
        gradient = None
    if radius is None:
        if gradient is None:
            gradient = _inner_gradient(inners[-1], w, a, graph=True)
        mixed = mixed_product(gradient, a, p)
    else:
        mixed = mixed_product_by_differences(inners[-1], weights, alphas, p, radius=radius)
    total = [d - step * m for d, m in zip(direct, reduce(mixed), strict=True)]

    shift = None
    if shift_radius is not None:
        scale = shift_radius / _norm(v).clamp_min(NORM_FLOOR)
        shift = [scale * (vi - pi) for vi, pi in zip(v, p, strict=True)]
    growth = _norm(u) / _norm(v).clamp_min(NORM_FLOOR)
    return Hypergradient(total, direct, loss, growth=growth, shift=shift, products=terms)


def conjugate_gradient(
    inner: BilevelLoss,
    outer: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    iterations: int,
    tolerance: float = 0.0,
    damping: float = 0.0,
    reduce: Reduce = unchanged,
) -> Hypergradient:
    """The gradient d - M' x, (H + damping I) x = v being solved by conjugate gradients.

    Stops early when ||residual|| <= tolerance ||v||, and at a direction of curvature zero or below,
    where the system has no minimum to walk to. Each iteration reads one number from the device.

    Args:
        inner: training loss, used for H and M.
        outer: validation loss.
        weights: w, one tensor each.
        alphas: architecture parameters, one tensor each.
        iterations: largest number of Hessian-vector products; 0 leaves x = 0.
        tolerance: relative residual at which to stop.
        damping: added to the diagonal of H.
        reduce: mean over processes; must return the same bits on each, or they stop apart.

    Raises:
        ConfigError: iterations, tolerance or damping is negative.
        MorphogenError: a loss depends on none of the weights passed to it.
    """
    for name, number in (
        ("iterations", iterations),
        ("tolerance", tolerance),
        ("damping", damping),
    ):
        _require(name, number, number >= 0, "0 or above")
    loss, direct, v = _outer_gradients(outer, weights, alphas, reduce)
    w, a = _leaves(weights), _leaves(alphas)
    gradient = _inner_gradient(inner, w, a, graph=True)

    x = [torch.zeros_like(vi) for vi in v]
    residual, direction = v, v
    square = _dot(residual, residual)
    target = tolerance**2 * float(square)
    products = 0
    while products < iterations and float(square) > target:
        product = reduce(hessian_vector(gradient, w, direction))
        product = [hi + damping * di for hi, di in zip(product, direction, strict=True)]
        products += 1
        curvature = _dot(direction, product)
        if not float(curvature) > 0:
            break
        length = square / curvature
        x = [xi + length * di for xi, di in zip(x, direction, strict=True)]
        residual = [ri - length * hi for ri, hi in zip(residual, product, strict=True)]
        before, square = square, _dot(residual, residual)
        ratio = square / before
        direction = [ri + ratio * di for ri, di in zip(residual, direction, strict=True)]

    mixed = reduce(mixed_product(gradient, a, x))
    total = [d - m for d, m in zip(direct, mixed, strict=True)]
    return Hypergradient(total, direct, loss, products=products)


def exact(
    inner: BilevelLoss,
    outer: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    *,
    damping: float = 0.0,
    reduce: Reduce = unchanged,
) -> Hypergradient:
    """The gradient d - M' (H + damping I)^-1 v with H written out: for a few hundred weights.

    The true hypergradient if w minimises `inner` (implicit function theorem); the yardstick of the
    others. `torch.linalg.LinAlgError` if the matrix is singular.
    """
    _require("damping", damping, damping >= 0, "0 or above")
    loss, direct, v = _outer_gradients(outer, weights, alphas, reduce)
    w, a = _leaves(weights), _leaves(alphas)
    gradient = _inner_gradient(inner, w, a, graph=True)
    (h,) = reduce([_hessian(gradient, w)])
    x = torch.linalg.solve(
        h + damping * torch.eye(len(h), dtype=h.dtype, device=h.device), _flat(v)
    )
    mixed = reduce(mixed_product(gradient, a, _unflat(x, v)))
    total = [d - m for d, m in zip(direct, mixed, strict=True)]
    return Hypergradient(total, direct, loss, products=len(x))


# --- the second derivatives -----------------------------------------------------------------------


def hessian_vector(
    gradient: Sequence[Tensor], weights: Sequence[Tensor], vector: Sequence[Tensor]
) -> list[Tensor]:
    """H u = grad_w <G, u>, with G = grad_w inner differentiable and u fixed; keeps the graph of G.

    Needs a second derivative of every operation of the network; some attention kernels have none.

    Args:
        gradient: G, one tensor per weight; one without a graph is constant and adds nothing.
        weights: w, the leaves that G was taken of.
        vector: u, one tensor per weight.
    """
    return _pull_back(gradient, weights, vector, keep_graph=True)


def mixed_product(
    gradient: Sequence[Tensor], alphas: Sequence[Tensor], vector: Sequence[Tensor]
) -> list[Tensor]:
    """M' p = grad_alpha <G, p>, with G as in `hessian_vector`; frees the graph of G.

    An alpha that G does not depend on gets zeros.
    """
    return _pull_back(gradient, alphas, vector, keep_graph=False)


def mixed_product_by_differences(
    inner: BilevelLoss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    vector: Sequence[Tensor],
    *,
    radius: float,
) -> list[Tensor]:
    """M' p = [grad_alpha inner(w + R p) - grad_alpha inner(w - R p)] / 2R, R = radius / ||p||.

    DARTS, Eq. 8. The error falls with radius^2 if the network is smooth. With kinks (ReLU, max
    pooling) it can exceed the value itself: each change of sign adds a jump divided by 2R.
    A `ConfigError` if radius, in weight units, is not above 0.
    """
    _require_radius(radius)
    scale = radius / _norm(vector).clamp_min(NORM_FLOOR)
    a = _leaves(alphas)
    ends = []
    for sign in (1, -1):
        shifted = [
            w + sign * scale * p for w, p in zip(_fixed(weights), _fixed(vector), strict=True)
        ]
        ends.append(_gradients(inner(shifted, a), a))
    return [(up - down) / (2 * scale) for up, down in zip(*ends, strict=True)]


def hessian(inner: BilevelLoss, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
    """d2 inner / dw dw written out: [n, n], n the number of weights. For a few hundred weights."""
    w = _leaves(weights)
    return _hessian(_inner_gradient(inner, w, _fixed(alphas), graph=True), w)


def sgd_step(
    weights: Sequence[Tensor],
    gradient: Sequence[Tensor],
    *,
    lr: float,
    momentum: float = 0.0,
    buffers: Sequence[Tensor | None] | None = None,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> list[Tensor]:
    """The weights that a step of `torch.optim.SGD` would give, as new tensors; nothing is written.

    w' = w - lr (mu b + g), g = gradient + lambda w; Nesterov: w' = w - lr (g + mu (mu b + g)).
    """
    if buffers is None:
        buffers = [None] * len(weights)
    stepped = []
    for w, gw, b in zip(_fixed(weights), _fixed(gradient), buffers, strict=True):
        g = gw + weight_decay * w
        velocity = g if b is None else momentum * b.detach() + g
        stepped.append(w - lr * (g + momentum * velocity if nesterov else velocity))
    return stepped


# --- helpers --------------------------------------------------------------------------------------


def _fixed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same values without a graph; memory is shared, not copied."""
    return [t.detach() for t in tensors]


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same values as new leaves: gradients with respect to them cannot reach a `.grad`."""
    return [t.detach().requires_grad_() for t in tensors]


def _gradients(value: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a scalar, zeros for an input it does not depend on (a path not sampled)."""
    if not value.requires_grad:
        return [torch.zeros_like(t) for t in inputs]
    return list(torch.autograd.grad(value, inputs, materialize_grads=True))


def _inner_gradient(
    inner: BilevelLoss, weights: Sequence[Tensor], alphas: Sequence[Tensor], *, graph: bool
) -> list[Tensor]:
    """G = grad_w inner(w, alpha): one tensor per weight."""
    _, gradient = _split_gradients("inner", inner(weights, alphas), [], weights, graph=graph)
    return gradient


def _outer_gradients(
    outer: BilevelLoss, weights: Sequence[Tensor], alphas: Sequence[Tensor], reduce: Reduce
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The outer loss, d outer / d alpha and v = d outer / dw: one backward pass, one `reduce`."""
    w, a = _leaves(weights), _leaves(alphas)
    value = outer(w, a)
    direct, v = _split_gradients("outer", value, a, w, graph=False)
    loss, *gradients = reduce([value.detach(), *direct, *v])
    return loss, gradients[: len(a)], gradients[len(a) :]


def _split_gradients(
    name: str, value: Tensor, alphas: Sequence[Tensor], weights: Sequence[Tensor], *, graph: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of the loss `name` with respect to alphas and weights, zeros where unused."""
    inputs = [*alphas, *weights]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if value.requires_grad:
        found = torch.autograd.grad(value, inputs, create_graph=graph, allow_unused=True)
    # Some weights are off a sampled path; all of them means a loss of the module's own parameters.
    if all(g is None for g in found[len(alphas) :]):
        raise MorphogenError(
            f"the {name} loss depends on none of the {len(weights)} weights passed to it; compute "
            "it from its arguments, for a module with torch.func.functional_call"
        )
    filled = [torch.zeros_like(t) if g is None else g for g, t in zip(found, inputs, strict=True)]
    return filled[: len(alphas)], filled[len(alphas) :]


def _pull_back(
    gradient: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vector: Sequence[Tensor],
    *,
    keep_graph: bool,
) -> list[Tensor]:
    """grad_inputs <gradient, vector>, vector fixed."""
    # A weight off the sampled path, or one in which the loss is linear, has a constant gradient.
    live = [(g, u) for g, u in zip(gradient, vector, strict=True) if g.requires_grad]
    if not live:
        return [torch.zeros_like(t) for t in inputs]
    outputs, cotangents = zip(*live, strict=True)
    return list(
        torch.autograd.grad(
            outputs, inputs, cotangents, retain_graph=keep_graph, materialize_grads=True
        )
    )


def _hessian(gradient: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Row i is H e_i: [n, n]."""
    unit = torch.eye(sum(w.numel() for w in weights), dtype=weights[0].dtype).to(weights[0].device)
    return torch.stack(
        [_flat(hessian_vector(gradient, weights, _unflat(row, weights))) for row in unit]
    )


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def _unflat(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(vector, [t.numel() for t in like])
    return [p.reshape(t.shape) for p, t in zip(parts, like, strict=True)]


def _dot(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return torch.stack([(xi * yi).sum() for xi, yi in zip(x, y, strict=True)]).sum()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all tensors together, a scalar; stays on the device."""
    norms = torch.stack([torch.linalg.vector_norm(t.detach()) for t in tensors])
    return norms.square().sum().sqrt()


def _require(name: str, value: float, ok: bool, accepted: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {value}; accepted: {accepted}")


def _require_radius(radius: float | None) -> None:
    if radius is not None:
        _require("radius", radius, radius > 0, "above 0, or None for the exact product")
