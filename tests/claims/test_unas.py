"""UNAS does what its card says (specs/unas.md, section 7; arXiv 1912.07651).

The coupling of sample and relaxation (7.1), that each term of the estimator is needed (7.2) and the
bounds of softening (7.7) are in tests/unit/bilevel/test_categorical.py, parameters of the published
cells in tests/unit/spaces/test_darts_unas.py, those of the mobile network in
tests/unit/supernets/test_proxylessnas_networks.py. What needs real data (7.12), and the claims with
as many samples as the card has, are in benchmarks/unas.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from morphogen import spaces
from morphogen.bilevel.joint import Joint, draw, features, repetitions
from morphogen.bilevel.optimisers import loss_and_gradients
from morphogen.bilevel.surrogate import linear, ridge
from morphogen.core import Choice, ConfigError
from morphogen.methods.unas import UNAS, UNASConfig, controlled, score_function
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, build, space_of
from morphogen.tasks.problem import Clock, Start
from morphogen.testing import MethodChecks

QUICK = tiny.config("unas")
CLOCK = Clock(epoch=0, epochs=3, step=0, steps=2)
DRAWS = 30_000


def toy_space(variables: int, options: int) -> SearchSpace:
    names = tuple(str(k) for k in range(options))
    return SearchSpace("toy", [Choice(f"v{m}", names, "all") for m in range(variables)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def weights_of(gates: Gates) -> Tensor:
    return gates.weights["all"]


def exact(loss: Callable[[Tensor], Tensor], alpha: Tensor) -> Tensor:
    """The gradient of E[loss], by enumeration; alpha [variables, options]."""
    m, k = alpha.shape
    leaf = alpha.clone().requires_grad_()
    p, eye = torch.softmax(leaf, -1), torch.eye(k, dtype=torch.float64)
    places = torch.cartesian_prod(*[torch.arange(k)] * m)
    chance = torch.stack([p[i, places[:, i]] for i in range(m)]).prod(0)
    (found,) = torch.autograd.grad((chance * loss(eye[places])).sum(), leaf)
    return found


Estimator = Callable[[Joint], Tensor]


def estimates(space: SearchSpace, alpha: Tensor, of: Estimator, tau: float = 0.4) -> Tensor:
    """One gradient for each of many draws: [draws, variables, options]."""
    wide = alpha.expand(DRAWS, *alpha.shape).clone().requires_grad_()
    (found,) = torch.autograd.grad(of(draw(space, [wide], tau, generator(9))).sum(), wide)
    return found


def off(found: Tensor, wanted: Tensor) -> float:
    """The largest distance of the mean in standard errors."""
    z = (found.mean(0) - wanted) / (found.std(0) / len(found) ** 0.5)
    return float(z.abs().max())


def variance(found: Tensor) -> float:
    return float(found.var(0).sum())


# -- 7.2 and 7.3: bias and variance ----------------------------------------------------------------


def interaction(w: Tensor) -> Tensor:  # [..., 2, 4] -> [...]
    linear_part, pair = normal(2, 4, seed=3), normal(4, 4, seed=4)
    both = torch.einsum("...i,ij,...j->...", w[..., 0, :], pair, w[..., 1, :])
    s = (w * linear_part).sum((-1, -2)) + both
    return torch.tanh(s) + 0.5 * (s - 0.3) ** 2 + 2


def test_the_estimator_has_no_bias_and_less_variance_than_the_score_function():
    space, alpha = toy_space(2, 4), 0.5 * normal(2, 4, seed=7)
    wanted = exact(interaction, alpha)

    def rebar(drawn: Joint) -> Tensor:
        hard, soft = (interaction(weights_of(g)) for g in (drawn.discrete(), drawn.control()))
        return controlled(hard, soft, drawn.log_p)

    found = {tau: estimates(space, alpha, rebar, tau) for tau in (0.4, 1.0)}
    score = estimates(
        space,
        alpha,
        lambda drawn: score_function(interaction(weights_of(drawn.discrete())), 0.0, drawn.log_p),
    )
    plain = estimates(space, alpha, lambda drawn: interaction(weights_of(drawn.relaxed())))
    assert all(off(each, wanted) < 4 for each in (*found.values(), score))
    assert off(plain, wanted) > 20  # the relaxation's own gradient, at any number of samples
    assert all(variance(each) < 0.5 * variance(score) for each in found.values())


# -- 7.4: a latency without gradient ---------------------------------------------------------------

TABLE = 1.0 + normal(5, 4, seed=11).abs()
PAIR = 0.3 * normal(4, 4, seed=12)


def latency(w: Tensor) -> Tensor:  # [..., 5, 4] -> [...]
    both = torch.einsum("...i,ij,...j->...", w[..., 0, :], PAIR, w[..., 1, :])
    return (w * TABLE).sum((-1, -2)) + both


@pytest.fixture(scope="module")
def timed():
    """Space, alpha, a target, and a linear model of the latency of sampled networks."""
    space, alpha = toy_space(5, 4), 0.3 * normal(5, 4, seed=13)
    drawn = draw(space, [alpha.expand(10_000, 5, 4)], 0.4, generator(14)).discrete()
    taken = latency(weights_of(drawn))
    return space, alpha, float(taken.quantile(0.32)), ridge(features(space, drawn), taken)


def test_latency_has_no_bias_whatever_models_it_and_a_good_model_takes_variance_out(timed):
    space, alpha, target, fit = timed

    def above(milliseconds: Tensor) -> Tensor:
        return 0.1 * torch.relu(milliseconds - target)

    wanted = exact(lambda w: above(latency(w)), alpha)

    def with_model(weights: Tensor) -> Estimator:
        def of(drawn: Joint) -> Tensor:
            hard = above(latency(weights_of(drawn.discrete())))
            soft = above(linear(weights, features(space, drawn.control())))
            return controlled(hard, soft, drawn.log_p)

        return of

    good = estimates(space, alpha, with_model(fit.weights))
    nonsense = normal(21, seed=15)
    nonsense[-1] = target  # so that it is above the target as often as below
    wrong = estimates(space, alpha, with_model(nonsense))
    drawn_mean = 0.1 * float(torch.relu(latency(torch.eye(4, dtype=torch.float64)[
        torch.multinomial(torch.softmax(alpha, -1), 20_000, True, generator=generator(16)).T
    ]) - target).mean())  # fmt: skip
    score = estimates(
        space,
        alpha,
        lambda d: score_function(above(latency(weights_of(d.discrete()))), drawn_mean, d.log_p),
    )
    model_alone = estimates(
        space,
        alpha,
        lambda d: above(linear(fit.weights, features(space, d.relaxed()))),
    )
    print(
        [off(x, wanted) for x in (good, wrong, score, model_alone)],
        variance(good) / variance(score),
    )
    assert off(good, wanted) < 4
    assert off(wrong, wanted) < 4
    assert off(score, wanted) < 4
    assert off(model_alone, wanted) > 10
    assert variance(good) < 0.6 * variance(score)


# -- 7.5: the linear model -------------------------------------------------------------------------


def test_the_linear_model_is_the_direct_solution_and_predicts_additive_latencies():
    space = spaces.make("proxylessnas-gpu")
    zeros = [torch.zeros(space.masks["layers"].shape).expand(10_000, -1, -1)]
    rows = features(space, draw(space, zeros, 0.4, generator(1)).discrete()).double()
    assert rows.shape == (10_000, 141)
    table = normal(141, seed=2).abs()
    fit = ridge(rows, rows @ table + 3.0)
    mean = float((rows @ table + 3.0).mean())
    assert fit.held_out < 0.001 * mean
    noisy = ridge(rows, rows @ table + 3.0 + 0.1 * normal(10_000, seed=3))
    assert noisy.held_out == pytest.approx(0.08, abs=0.01)
    ones = np.hstack([rows.numpy(), np.ones((10_000, 1))])
    assert np.linalg.matrix_rank(ones) == 121  # of 142: a penalty is needed
    fitted = np.vstack([ones[:8000], np.eye(142)])
    values = np.concatenate([(rows @ table + 3.0).numpy()[:8000], np.zeros(142)])
    direct = np.linalg.lstsq(fitted, values, rcond=None)[0]
    np.testing.assert_allclose(fit.weights.numpy(), direct, atol=1e-8)
    torch.testing.assert_close(linear(fit.weights, rows[:5]), torch.from_numpy(ones[:5] @ direct))


# -- 7.6: pairs ------------------------------------------------------------------------------------


def one_node() -> SearchSpace:
    """The DARTS cells of UNAS with one node left to decide, of two sources and three operations."""
    whole = spaces.make("darts-unas")
    kept = {c.name: [c.options[0]] for c in whole.choices}
    for pair in (1, 2):
        kept[f"normal_2_source{pair}"] = ["0", "1"]
        kept[f"normal_2_operation{pair}"] = ["skip_connect", "sep_conv_3x3", "max_pool_3x3"]
        kept[f"normal_3_source{pair}"] = [str(pair)]  # so that the others differ
    others = [(cell, n) for cell in ("normal", "reduce") for n in (2, 3, 4, 5)]
    for cell, node in others[1:]:
        kept[f"{cell}_{node}_source2"] = ["1"]
        kept[f"{cell}_{node}_source1"] = ["0"]
    return whole.restrict(kept)


def test_probabilities_of_a_node_are_a_products_and_repetitions_are_counted_exactly():
    space = one_node()
    alphas = [
        normal(*mask.shape, seed=i).masked_fill(~torch.from_numpy(mask), 0.0)
        for i, mask in enumerate(space.masks.values())
    ]
    uniform, total, expected = 0.0, 0.0, 0.0
    drawn = draw(space, alphas, 0.4, generator(), examples=3000)
    gates = drawn.discrete()
    keys = map(tuple, features(space, gates).tolist())
    values = zip(drawn.log_p.tolist(), repetitions(space, gates).tolist(), strict=True)
    seen = dict(zip(keys, values, strict=True))
    assert len(seen) == 36
    for log_p, repeated in seen.values():
        total += np.exp(log_p)
        uniform += repeated / 36
        expected += np.exp(log_p) * repeated
        assert repeated in (0.0, 1.0)
    assert total == pytest.approx(1.0, abs=1e-12)
    assert uniform == pytest.approx(1 / (2 * 3))
    p = [torch.softmax(a.masked_fill(~torch.from_numpy(m), -torch.inf), -1)
         for a, m in zip(alphas, space.masks.values(), strict=True)]  # fmt: skip
    product = (p[0][0] * p[0][1]).sum() * (p[1][0] * p[1][1]).sum()
    assert expected == pytest.approx(float(product), abs=1e-12)
    soft = Gates.dense(space, dict(zip(space.groups, p, strict=True)))
    assert float(repetitions(space, soft)) == pytest.approx(float(product), abs=1e-12)


# -- 7.8: the loss ---------------------------------------------------------------------------------


def start(config=QUICK, module=None):
    problem = tiny.problem(space_of(module or tiny.smooth()))
    method = UNAS(config)
    return method, problem, method.init(problem)


def test_the_gap_of_equal_batches_is_none_and_that_of_examples_is_at_least_that_of_means():
    method, problem, state = start()
    batch, other = problem.batch("train"), problem.batch("valid")
    drawn = method.draw(state, problem)
    gates = drawn.control()
    same, _ = method.loss(state, problem, gates, batch, batch)
    alone = problem.task.loss(problem.forward(state.net, gates, batch.x), batch.y)
    torch.testing.assert_close(same, alone)
    for mine, theirs in zip(
        torch.autograd.grad(same, state.alphas, retain_graph=True),
        torch.autograd.grad(alone, state.alphas),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)
    by_means = UNAS(replace(QUICK, gap="batch"))
    state.net.requires_grad_(False)
    for _ in range(5):
        gates = method.draw(state, problem).discrete()
        each, _ = method.loss(state, problem, gates, batch, other)
        means, _ = by_means.loss(state, problem, gates, batch, other)
        assert float(each) >= float(means) - 1e-6
        losses = [float(problem.task.loss(problem.forward(state.net, gates, b.x), b.y))
                  for b in (batch, other)]  # fmt: skip
        wanted = losses[0] + 0.5 * abs(losses[1] - losses[0])
        assert float(means) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ConfigError, match="gap is 'batch' with samples 'example'"):
        UNASConfig(gap="batch")


# -- 7.9 and the whole estimator -------------------------------------------------------------------


def test_the_gradient_of_a_step_is_that_of_the_expected_loss_of_all_networks():
    """On a supernet, the gap included: a network for every example, and all six networks."""
    method, problem, state = start(replace(QUICK, samples="example", softening=0.1))
    space, count = problem.space, 6000
    batch, other = problem.batch("train"), problem.batch("valid")
    images = [replace_batch(b, count) for b in (batch, other)]
    for seed, alpha in enumerate(state.alphas):
        alpha.data.copy_(0.5 * normal(*alpha.shape, seed=seed))
    leaves = [a.detach().clone().requires_grad_() for a in state.alphas]
    soft = [(torch.softmax(a, -1) + 0.1) / (1 + 0.1 * a.shape[-1]) for a in leaves]
    expected = torch.zeros(())
    for arch in space.enumerate():
        chance = torch.stack([soft[g][0, c.index(arch.one(c.name))]
                              for g, c in enumerate(space.choices)]).prod()  # fmt: skip
        with torch.no_grad():
            loss, _ = method.loss(state, problem, Gates.of(space, arch), *images)
        expected = expected + chance * loss[0]
    wanted = torch.autograd.grad(expected, leaves)
    wide = [a.detach().expand(count, *a.shape).clone().requires_grad_() for a in state.alphas]
    drawn = draw(space, wide, 0.4, problem.search_rng, softening=0.1)
    objective, told = method.objective(state, problem, drawn, *images)
    found = torch.autograd.grad(objective, wide)
    for mine, theirs in zip(found, wanted, strict=True):
        assert off(count * mine, theirs) < 4
    assert set(told) == {"sampled_loss", "control_loss", "valid_loss"}


def replace_batch(batch, count):
    """The first example, again and again."""
    return batch._replace(x=batch.x[:1].expand(count, -1, -1, -1), y=batch.y[:1].expand(count))


def test_the_discrete_pass_builds_no_graph_and_w_learns_on_the_relaxed_sample():
    method, problem, state = start()
    passes: list[tuple[bool, int, bool]] = []

    def seen(_, args, output):
        gates = args[1]
        live = max(len(row) for rows in gates.live.values() for row in rows)
        by_alpha = any(w.requires_grad for w in gates.weights.values())
        passes.append((output.requires_grad, live, by_alpha))

    state.net.register_forward_hook(seen)
    before = [a.detach().clone() for a in state.alphas]
    method.step(state, problem, CLOCK)
    graph, live, by_alpha = zip(*passes, strict=True)
    assert graph == (False, False, True, True, True)
    assert live[:2] == (1, 1)
    assert max(live[2:]) > 1
    assert by_alpha == (False, False, True, True, False)
    assert all((a != b).all() for a, b in zip(state.alphas, before, strict=True))
    assert all(t.grad is None for t in (*state.alphas, *state.net.parameters()))


@pytest.mark.parametrize(("estimator", "passes"), [("rebar", 4), ("gumbel", 2), ("reinforce", 2)])
def test_the_other_estimators_take_half_of_the_passes(estimator, passes):
    method, problem, state = start(replace(QUICK, estimator=estimator))
    calls: list[int] = []
    state.net.register_forward_hook(lambda *_: calls.append(1))
    drawn = method.draw(state, problem)
    objective, _ = method.objective(
        state, problem, drawn, problem.batch("train"), problem.batch("valid")
    )
    assert len(calls) == passes
    _, gradients = loss_and_gradients(objective, state.alphas)
    assert all(g.abs().sum() > 0 for g in gradients)
    assert (state.baseline > 0) == (estimator == "reinforce")


# -- 7.10: what is run -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nasbench201", "proxylessnas-small"])
def test_a_sample_runs_one_option_of_each_choice(name):
    space = spaces.make(name)
    spec = NetworkSpec(channels=4, depth=1, classes=3, in_channels=1, execution="plain")
    net, calls = build(space, spec).eval(), dict.fromkeys((c.name for c in space.choices), 0)
    for choice in space.choices:
        for option in choice.options:
            for module in net.options(choice.name, option):
                module.register_forward_hook(
                    lambda *_, name=choice.name: calls.update({name: calls[name] + 1})
                )
    alphas = [torch.zeros(mask.shape) for mask in space.masks.values()]
    drawn, x = draw(space, alphas, 0.4, generator(3)), torch.randn(4, 1, 16, 16)
    net(x, drawn.discrete())
    places = len(net.options(space.choices[0].name, space.choices[0].options[-1]))
    sampled = space.derive({g: w.numpy() for g, w in drawn.discrete().weights.items()})
    assert calls == {c.name: places * (sampled[c.name] != ("none",)) for c in space.choices}
    few = sum(map(len, (row for rows in drawn.relaxed(0.05).live.values() for row in rows)))
    assert few < 0.7 * sum(len(c.options) for c in space.choices)


def test_what_is_left_out_of_a_mixture_is_at_most_the_threshold_of_it():
    space = spaces.make("proxylessnas-small")
    torch.manual_seed(0)
    net = build(space, NetworkSpec(channels=4, classes=3, in_channels=1)).eval()
    alphas = [torch.zeros(mask.shape) for mask in space.masks.values()]
    drawn, smaller = draw(space, alphas, 0.4, generator(4)), 0
    with torch.no_grad():
        x = net.begin(torch.randn(4, 1, 16, 16))
        for i, choice in enumerate(space.choices):
            whole, few = (net.layer(i, x, drawn.relaxed(t)) for t in (0.0, 0.05))
            norms = sum(net.options(choice.name, option)[0](x).norm() for option in choice.options)
            change = (whole - few).norm()
            assert change <= 0.05 * norms
            smaller += bool(change > 0)
            x = whole
    assert smaller > 5


# -- 7.11: a search on a table ---------------------------------------------------------------------

SEEDS = 10


def searched(estimator: str, *, target: float = 0.0) -> list[tuple[int, ...]]:
    """What ten searches of 2,000 steps find, side by side: three layers of four options.

    The loss is concave in the weights: a mixture of the options 1 and 2 looks better than any
    vertex, and the mixture's better half is the wrong one.
    """
    space = toy_space(3, 4)
    alpha = torch.zeros(SEEDS, 3, 4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], lr=1e-2)
    draws = generator(21)
    for _ in range(2000):
        drawn = draw(space, [alpha], 0.4, draws)
        hard = trap(weights_of(drawn.discrete()))
        if estimator == "gumbel":
            objective = trap(weights_of(drawn.relaxed()))
        else:
            objective = controlled(hard, trap(weights_of(drawn.control())), drawn.log_p)
        if target:
            other = draw(space, [alpha], 0.4, draws)
            times = [(weights_of(g) * TIMES).sum((-1, -2)) for g in
                     (other.discrete(), other.control())]  # fmt: skip
            slow = [torch.relu(t - target) for t in times]
            objective = objective + controlled(slow[0], slow[1], other.log_p)
        optimiser.zero_grad()
        objective.sum().backward()
        optimiser.step()
    return [tuple(row) for row in alpha.argmax(-1).tolist()]


LOSSES = torch.tensor([0.0, 0.5, 0.6, 1.0], dtype=torch.float64).repeat(3, 1)
"""Option 0 is the best of every layer."""
TIMES = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64).repeat(3, 1)


def trap(w: Tensor) -> Tensor:
    """The table on vertices; between 1 and 2, and 2 and 3, much less than on either."""
    mixed = w[..., 1] * w[..., 2] + w[..., 2] * w[..., 3]
    return (w * LOSSES).sum((-1, -2)) - 8.0 * mixed.sum(-1)


@pytest.fixture(scope="module")
def best() -> tuple[int, ...]:
    eye = torch.eye(4, dtype=torch.float64)
    places = torch.cartesian_prod(*[torch.arange(4)] * 3)
    return tuple(places[trap(eye[places]).argmin()].tolist())


@pytest.mark.slow
def test_the_best_network_is_found_where_the_relaxation_leads_astray(best):
    assert best == (0, 0, 0)
    ours, relaxed = (searched(e).count(best) for e in ("rebar", "gumbel"))
    assert ours >= 9
    assert relaxed < ours


@pytest.mark.slow
def test_a_latency_target_is_met_where_the_search_without_misses_it(best):
    target = 5.0  # of the best network 9, of the fastest 1.5
    assert sum(float(TIMES[i, k]) for i, k in enumerate(best)) > 1.1 * target
    for found in searched("rebar", target=target):
        assert sum(float(TIMES[i, k]) for i, k in enumerate(found)) <= 1.1 * target


# -- the search ------------------------------------------------------------------------------------


def test_alphas_rest_while_weights_warm_up_and_the_search_has_a_new_optimiser():
    method, problem, state = start(replace(QUICK, warm_up=2))
    phases = method.phases(problem, 5)
    assert [(p.name, p.epochs, p.part) for p in phases] == [
        ("warm-up", 2, "train"),
        ("search", 5, "train"),
    ]
    problem.start = Start({})
    assert [p.epochs for p in method.phases(problem, 5)] == [0, 5]  # of a supernet that is trained
    first = state.weight_optimiser
    for step in range(3):
        method.step(state, problem, replace(CLOCK, epoch=1, step=step, phase="warm-up"))
    assert all(not a.any() for a in state.alphas)
    assert first.param_groups[0]["lr"] == QUICK.weights.lr  # constant, in the second epoch, too
    method.step(state, problem, CLOCK)
    assert state.weight_optimiser is not first
    steps = {float(s["step"]) for s in state.weight_optimiser.state.values()}
    assert steps == {1.0}
    assert any(a.any() for a in state.alphas)


@pytest.mark.parametrize("promise", ["resume_after_an_epoch", "resume_in_mid_epoch"])
def test_a_search_with_all_options_is_resumed_to_the_bit(promise, tmp_path):
    config = replace(
        QUICK, warm_up=1, samples="example", target=1e-3, latency="nominal", fitted=20, entropy=0.01
    )
    MethodChecks(config, tmp_path).check(promise)


@pytest.mark.parametrize("kind", ["measured", "nominal"])
def test_latency_is_that_of_the_path_and_modelled_before_the_first_step(kind):
    config = replace(QUICK, target=1e-9, latency=kind, fitted=30, latency_ramp=0)
    method, problem, state = start(config, tiny.own())
    told = method.step(state, problem, CLOCK)
    assert state.surrogate.abs().sum() > 0
    assert float(told["latency"]) > 0
    if kind == "nominal":  # what is measured depends on what else this machine does
        assert float(told["fit_error"]) < float(told["fit_latency"])
    if kind == "nominal":
        archs = problem.space.enumerate()
        times = [method.latency(state, problem, Gates.of(problem.space, a)) for a in archs]
        assert min(times) > 0
        assert len(set(times)) > 1
        again = [method.latency(state, problem, Gates.of(problem.space, a)) for a in archs]
        assert again == times


def test_a_pair_space_is_searched_and_repetitions_cost():
    space = spaces.make("darts-unas")
    problem = tiny.problem(space, depth=3)
    method = UNAS(QUICK)
    state = method.init(problem)
    told = method.step(state, problem, CLOCK)
    assert float(told["train_loss"]) > 0
    text = "normal: " + " | ".join(["skip_connect~0 skip_connect~0"] * 4)
    arch = space.parse(f"{text} ; reduce:{text.removeprefix('normal:')}")
    batches = problem.batch("train"), problem.batch("valid")
    costly, _ = method.loss(state, problem, Gates.of(space, arch), *batches)
    free = UNAS(replace(QUICK, repetition=0.0))
    without, _ = free.loss(state, problem, Gates.of(space, arch), *batches)
    assert float((costly - without).detach()) == pytest.approx(8 * 0.2, rel=1e-5)
