"""Claims on hypergradients: card idarts.md, section 7, items 1-5, 7, 9; darts.md, items 1-5."""

import itertools

import pytest
import torch
from torch import nn
from torch.func import jacrev

from morphogen.bilevel import hypergradient as hg
from morphogen.bilevel.problems import MixedLogistic, Quadratic, ScalarToy, largest_curvature


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def relative_error(found, reference):
    return float((found - reference).norm() / reference.norm())


def backpropagated(
    inner, steps, outer, weights, alphas, *, lr, momentum=0.0, buffers=None, decay=0.0
):
    """Reference: d outer(w_T(alpha), alpha) / d alpha by autograd through T SGD steps."""
    a = [x.clone().requires_grad_() for x in alphas]
    w = [x.clone().requires_grad_() for x in weights]
    b = [torch.zeros_like(x) for x in w] if buffers is None else buffers
    for _ in range(steps):
        g = torch.autograd.grad(inner(w, a), w, create_graph=True)
        b = [momentum * bi + gi + decay * wi.detach() for bi, gi, wi in zip(b, g, w, strict=True)]
        w = [wi - lr * bi for wi, bi in zip(w, b, strict=True)]
    return list(torch.autograd.grad(outer(w, a), a))


def smooth_net(dtype=torch.float64, hidden=6):
    """Two mixed edges with Softplus in place of ReLU: 2 * 6 * 6 + 6 * 3 weights, 6 alphas."""
    g = generator(1)

    def batch():
        return torch.randn(16, hidden, generator=g).to(dtype), torch.randint(3, (16,), generator=g)

    def loss_on(x, y):
        def loss(weights, alphas):
            *matrices, head = weights
            node = x
            for matrix, row in zip(matrices, torch.softmax(alphas[0], -1), strict=True):
                z = node @ matrix
                node = row[0] * node + row[1] * nn.functional.softplus(z) + row[2] * torch.tanh(z)
            return nn.functional.cross_entropy(node @ head, y)

        return loss

    shapes = ((hidden, hidden), (hidden, hidden), (hidden, 3))
    weights = [(torch.randn(*s, generator=g) / 2).to(dtype) for s in shapes]
    alphas = [(torch.randn(2, 3, generator=g) / 2).to(dtype)]
    buffers = [(0.3 * torch.randn(*s, generator=g)).to(dtype) for s in shapes]
    return loss_on(*batch()), loss_on(*batch()), weights, alphas, buffers


# --- the scalar toy: where alternating descent comes to rest (DARTS 1, iDARTS 1) ------------------


def rest(step_weights, hypergradient, alpha_lr=0.02, steps=1000):
    """Alternate; 1,000 steps (the cards allow 4,000) contract by about 0.96 each."""
    toy = ScalarToy()
    w, a = ([torch.tensor(x, dtype=torch.float64)] for x in toy.start)
    for _ in range(steps):
        w = step_weights(w, a)
        a = [a[0] - alpha_lr * hypergradient(toy, w, a).total[0]]
    return float(w[0]), float(a[0])


def descend(steps, lr=0.1):
    def step_weights(w, a):
        for _ in range(steps):
            w = [w[0] - lr * 2 * (w[0] - a[0])]
        return w

    return step_weights


@pytest.mark.parametrize("xi", [0.0, 0.1, 0.25, 0.5])
def test_unrolled_descent_rests_where_the_darts_figure_says(xi):
    w, a = rest(descend(1), lambda t, w, a: hg.unrolled(t.inner, t.outer, w, a, lr=xi))
    expected = {0.0: 2.0, 0.1: 1.6666667, 0.25: 1.3333333, 0.5: 1.0}[xi]
    assert ScalarToy.unrolled_fixed_point(xi) == pytest.approx(expected, abs=1e-6)
    assert (w, a) == pytest.approx((expected, expected), abs=1e-6)


def test_first_order_descent_rests_at_two():
    assert rest(descend(1), lambda t, w, a: hg.first_order(t.outer, w, a)) == pytest.approx(
        (2, 2), abs=1e-6
    )


@pytest.mark.parametrize(
    ("terms", "expected"),
    [(0, 1.666667), (1, 1.470588), (2, 1.344086), (5, 1.150843), (20, 1.004633)],
)
def test_neumann_descent_rests_where_its_truncation_says(terms, expected):
    at_rest = rest(
        descend(5), lambda t, w, a: hg.neumann([t.inner], t.outer, w, a, terms=terms, step=0.1)
    )
    exact = ScalarToy.neumann_fixed_point(terms, 0.1)
    assert exact == pytest.approx(expected, abs=1e-6)
    assert at_rest == pytest.approx((exact, exact), abs=1e-6)


def test_exact_descent_rests_at_the_bilevel_optimum():
    at_rest = rest(descend(5), lambda t, w, a: hg.exact(t.inner, t.outer, w, a))
    assert at_rest == pytest.approx((1, 1), abs=1e-6)


# --- the quadratic (iDARTS 2) ---------------------------------------------------------------------


@pytest.fixture(params=[0, 1, 2])
def quadratic(request):
    g = generator(request.param)
    problem = Quadratic.random(g)
    alphas = [torch.randn(5, generator=g, dtype=torch.float64)]
    return problem, problem.solve(alphas), alphas


def test_exact_equals_the_closed_form_on_the_quadratic(quadratic):
    problem, w, a = quadratic
    result = hg.exact(problem.inner, problem.outer, w, a)
    torch.testing.assert_close(result.total, problem.hypergradient(a), rtol=1e-10, atol=1e-12)


def test_neumann_error_is_below_the_lemmas_bound_and_falls_geometrically(quadratic):
    problem, w, a = quadratic
    (truth,) = problem.hypergradient(a)
    errors = []
    for terms in (0, 1, 2, 5, 10, 20, 40):
        result = hg.neumann([problem.inner], problem.outer, w, a, terms=terms, step=0.4)
        errors.append(float((result.total[0] - truth).norm()))
        assert errors[-1] <= problem.neumann_bound(a, terms=terms, step=0.4)
    assert errors == sorted(errors, reverse=True)
    # Ten terms more cost at most (1 - gamma mu)^10 of the error once the slowest direction is left.
    assert errors[5] / errors[4] < 0.8**10 * 1.5


@pytest.mark.parametrize("terms", [0, 1, 2, 5, 10])
def test_neumann_equals_backpropagation_through_its_last_steps(quadratic, terms):
    problem, w, a = quadratic
    result = hg.neumann([problem.inner], problem.outer, w, a, terms=terms, step=0.4)
    (reference,) = backpropagated(problem.inner, terms + 1, problem.outer, w, a, lr=0.4)
    assert float((result.total[0] - reference).abs().max()) < 1e-10


def test_finite_differences_are_exact_on_the_quadratic(quadratic):
    problem, w, a = quadratic
    exactly, by_differences = (
        hg.neumann([problem.inner], problem.outer, w, a, terms=2, step=0.4, radius=radius)
        for radius in (None, 0.01)
    )
    assert float((exactly.total[0] - by_differences.total[0]).abs().max()) < 1e-8


def test_conjugate_gradient_is_exact_after_as_many_steps_as_weights(quadratic):
    problem, w, a = quadratic
    result = hg.conjugate_gradient(problem.inner, problem.outer, w, a, iterations=12)
    assert relative_error(result.total[0], problem.hypergradient(a)[0]) < 1e-10


# --- convex, not quadratic (iDARTS 3) -------------------------------------------------------------


@pytest.fixture(scope="module")
def logistic():
    g = generator(0)
    problem = MixedLogistic.random(g)
    alphas = [0.5 * torch.randn(4, generator=g, dtype=torch.float64)]
    return problem, problem.solve(alphas), alphas


def test_implicit_gradient_equals_brute_force_where_the_direct_term_does_not(logistic):
    problem, w, a = logistic
    (truth,) = problem.brute_force(a)
    result = hg.exact(problem.inner, problem.outer, w, a)
    assert relative_error(result.total[0], truth) < 1e-6
    assert relative_error(result.direct[0], truth) > 0.1


def test_neumann_error_falls_monotonically_on_the_logistic_problem(logistic):
    problem, w, a = logistic
    (truth,) = hg.exact(problem.inner, problem.outer, w, a).total
    step = 0.9 / largest_curvature(problem.inner, w, a)
    errors = [
        relative_error(
            hg.neumann([problem.inner], problem.outer, w, a, terms=k, step=step).total[0], truth
        )
        for k in range(21)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[12] < 1e-3


# --- mini-batches (iDARTS 4) ----------------------------------------------------------------------


@pytest.mark.parametrize(("terms", "biased"), [(0, False), (1, True), (2, True)])
def test_expectation_over_all_batches_of_one_sample(terms, biased):
    # Every batch is enumerated, so the bias found is the estimator's and not noise.
    g = generator(0)
    problem = MixedLogistic.random(g, samples=8)
    alphas = [0.5 * torch.randn(4, generator=g, dtype=torch.float64)]
    w = problem.solve(alphas)
    step = 0.9 / largest_curvature(problem.inner, w, alphas)
    at = {"terms": terms, "step": step}
    (full,) = hg.neumann([problem.inner], problem.outer, w, alphas, **at).total
    single = [problem.inner_on(torch.tensor([i])) for i in range(8)]

    def mean(choices):
        found = [hg.neumann(c, problem.outer, w, alphas, **at).total[0] for c in choices]
        return torch.stack(found).mean(0)

    independent = mean(itertools.product(single, repeat=terms + 1))
    assert relative_error(independent, full) < 1e-12
    same = relative_error(mean([[loss] for loss in single]), full)
    assert (same > 1e-3) if biased else (same < 1e-12)


@pytest.mark.slow
def test_monte_carlo_mean_without_terms_is_unbiased(logistic):
    problem, w, a = logistic
    g = generator(2)
    step = 0.9 / largest_curvature(problem.inner, w, a)
    (full,) = hg.neumann([problem.inner], problem.outer, w, a, terms=0, step=step).total
    draws = torch.stack(
        [
            hg.neumann(
                [problem.inner_on(torch.randint(200, (8,), generator=g))],
                problem.outer_on(torch.randint(200, (8,), generator=g)),
                w,
                a,
                terms=0,
                step=step,
            ).total[0]
            for _ in range(4000)
        ]
    )
    z = (draws.mean(0) - full) / (draws.std(0) / 4000**0.5)
    assert z.abs().max() < 4


# --- second derivatives (iDARTS 5) ----------------------------------------------------------------


def test_hessian_vector_product_equals_the_explicit_hessian_and_is_symmetric():
    # 2 * 81 + 9 * 3 = 189 weights. The explicit Hessian comes from torch.func, not from our code.
    inner, _, weights, alphas, _ = smooth_net(hidden=9)
    sizes = [w.numel() for w in weights]

    def flat_loss(flat):
        parts = zip(flat.split(sizes), weights, strict=True)
        return inner([p.reshape(w.shape) for p, w in parts], alphas)

    explicit = jacrev(jacrev(flat_loss))(torch.cat([w.reshape(-1) for w in weights]))
    torch.testing.assert_close(hg.hessian(inner, weights, alphas), explicit, rtol=1e-6, atol=1e-12)

    leaves = [w.clone().requires_grad_() for w in weights]
    gradient = torch.autograd.grad(inner(leaves, alphas), leaves, create_graph=True)
    g = generator(4)
    a, b = ([torch.randn(w.shape, generator=g, dtype=w.dtype) for w in weights] for _ in range(2))

    def dot(x, y):
        return float(sum((xi * yi).sum() for xi, yi in zip(x, y, strict=True)))

    ha, hb = hg.hessian_vector(gradient, leaves, a), hg.hessian_vector(gradient, leaves, b)
    flat = torch.cat([x.reshape(-1) for x in a])
    assert relative_error(torch.cat([x.reshape(-1) for x in ha]), explicit @ flat) < 1e-6
    assert dot(ha, b) == pytest.approx(dot(a, hb), abs=1e-10)


# --- DARTS second order on a smooth network (DARTS 2-5) -------------------------------------------


SGD = {"lr": 0.1, "momentum": 0.9}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stepped_before", [False, True])
def test_unrolled_equals_autograd_through_the_step(dtype, stepped_before):
    inner, outer, weights, alphas, buffers = smooth_net(dtype)
    buffers = buffers if stepped_before else None
    (truth,) = backpropagated(inner, 1, outer, weights, alphas, **SGD, buffers=buffers, decay=3e-4)
    errors = {
        radius: relative_error(
            hg.unrolled(
                inner,
                outer,
                weights,
                alphas,
                **SGD,
                buffers=buffers,
                weight_decay=3e-4,
                radius=radius,
            ).total[0],
            truth,
        )
        for radius in (None, 1e-1, 1e-2, 1e-3)
    }
    assert errors[1e-2] < 1e-3
    if dtype == torch.float64:
        assert errors[None] < 1e-12
        assert errors[1e-1] / errors[1e-2] == pytest.approx(100, rel=0.1)  # O(r^2)
        assert errors[1e-2] / errors[1e-3] == pytest.approx(100, rel=0.1)


def test_unrolled_nesterov_equals_autograd_through_torchs_step():
    inner, outer, weights, alphas, buffers = smooth_net()
    a = [x.clone().requires_grad_() for x in alphas]
    w = [x.clone().requires_grad_() for x in weights]
    g = torch.autograd.grad(inner(w, a), w, create_graph=True)
    stepped = [
        wi - 0.1 * (gi + 0.9 * (0.9 * bi + gi)) for wi, gi, bi in zip(w, g, buffers, strict=True)
    ]
    (truth,) = torch.autograd.grad(outer(stepped, a), a)
    result = hg.unrolled(
        inner, outer, weights, alphas, **SGD, buffers=buffers, nesterov=True, radius=None
    )
    assert relative_error(result.total[0], truth) < 1e-12


def test_a_real_step_leads_to_the_weights_where_the_outer_gradient_is_taken():
    inner, outer, weights, alphas, buffers = smooth_net()
    live = [nn.Parameter(w.clone()) for w in weights]
    sgd = torch.optim.SGD(live, **SGD, weight_decay=3e-4)
    for p, b in zip(live, buffers, strict=True):
        sgd.state[p]["momentum_buffer"] = b.clone()
    inner(live, alphas).backward()
    sgd.step()
    there = hg.first_order(outer, live, alphas)
    virtual = hg.unrolled(inner, outer, weights, alphas, **SGD, buffers=buffers, weight_decay=3e-4)
    torch.testing.assert_close(virtual.loss, there.loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(virtual.direct, there.total, rtol=0, atol=1e-6)


def test_unrolled_without_a_step_is_first_order():
    inner, outer, weights, alphas, _ = smooth_net()
    unrolled = hg.unrolled(inner, outer, weights, alphas, lr=0.0)
    first = hg.first_order(outer, weights, alphas)
    torch.testing.assert_close(unrolled.total, first.total, rtol=0, atol=1e-7)


# --- iDARTS with T = 1, K = 0 is nearly DARTS (iDARTS 7) ------------------------------------------


def test_neumann_without_terms_is_darts_with_the_mixed_product_moved_to_the_new_weights():
    inner, outer, weights, alphas, _ = smooth_net()
    leaves = [w.clone().requires_grad_() for w in weights]
    w1 = hg.sgd_step(weights, torch.autograd.grad(inner(leaves, alphas), leaves), lr=0.1)
    result = hg.neumann([inner], outer, w1, alphas, terms=0, step=0.1)

    # d - gamma M'v with everything at w1, by autograd alone.
    w = [x.clone().requires_grad_() for x in w1]
    a = [x.clone().requires_grad_() for x in alphas]
    d, *v = torch.autograd.grad(outer(w, a), [*a, *w])
    g = torch.autograd.grad(inner(w, a), w, create_graph=True)
    (m,) = torch.autograd.grad(g, a, v)
    torch.testing.assert_close(result.total[0], d - 0.1 * m, rtol=0, atol=1e-6)

    # DARTS takes d and v at w1 too, but the mixed product at the old weights.
    darts = hg.unrolled(inner, outer, weights, alphas, lr=0.1, radius=None)
    torch.testing.assert_close(result.direct, darts.direct, rtol=0, atol=1e-12)
    moved = hg.mixed_product_by_differences(inner, w1, alphas, v, radius=1e-3)
    torch.testing.assert_close(darts.direct[0] - 0.1 * moved[0], result.total[0], rtol=0, atol=1e-6)
    assert relative_error(darts.total[0], result.total[0]) > 1e-6


# --- memory (iDARTS 9) ----------------------------------------------------------------------------


def saved_bytes(call):
    """Bytes that autograd keeps for backward passes while `call` runs."""
    total = 0

    def pack(t):
        nonlocal total
        total += t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        call()
    return total


def test_memory_of_neumann_is_flat_in_inner_steps_and_terms_while_backpropagation_grows():
    inner, outer, weights, alphas, _ = smooth_net()

    def implicit(steps, terms):
        live = [nn.Parameter(w.clone()) for w in weights]
        sgd = torch.optim.SGD(live, lr=0.1)
        for _ in range(steps):
            sgd.zero_grad()
            inner(live, alphas).backward()
            sgd.step()
        return saved_bytes(lambda: hg.neumann([inner], outer, live, alphas, terms=terms, step=0.1))

    def through_the_path(steps):
        return saved_bytes(lambda: backpropagated(inner, steps, outer, weights, alphas, lr=0.1))

    assert implicit(8, 2) == pytest.approx(implicit(1, 2), rel=0.01)
    assert implicit(1, 8) == pytest.approx(implicit(1, 0), rel=0.01)
    one, two, eight = (through_the_path(t) for t in (1, 2, 8))
    assert (eight - one) / (two - one) == pytest.approx(7, rel=0.05)
    assert eight > 4 * implicit(8, 2)
