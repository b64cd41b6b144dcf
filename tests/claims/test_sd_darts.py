"""SD-DARTS does what its card says (specs/sd-darts.md, section 7; arXiv 2302.05629).

A reconstruction: what is held here is the card's reading, not figures of the paper, of which none
are known. The cache of outputs (7.9) is not built.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import tiny
from morphogen.bilevel.curvature import sharpness
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.teachers import Teachers, distance, divergence, voted
from morphogen.core import ConfigError
from morphogen.methods.darts import DARTS, DARTSConfig
from morphogen.methods.sd_darts import SDDARTS, SDDARTSConfig
from morphogen.spaces import make
from morphogen.supernets import space_of
from morphogen.tasks.problem import trainable

QUICK = replace(tiny.config("sd-darts"), sharpness_radius=0.0, warm_up=0.0)
CPU = torch.device("cpu")


def start(config: SDDARTSConfig = QUICK, space=None, seed: int = 0):
    problem = tiny.problem(space or space_of(tiny.own()), seed=seed)
    method = SDDARTS(config)
    return method, problem, method.init(problem)


def play(method, state, problem, steps: int, epoch: int = 0):
    clock = replace(tiny.CLOCK, epoch=epoch, steps=steps)
    return [method.step(state, problem, replace(clock, step=i)) for i in range(steps)]


# -- 7.1: a teacher that is the student says nothing, one from before does -------------------------


def test_a_teacher_equal_to_the_student_pulls_nowhere():
    method, problem, state = start()
    state.teachers.keep(0, state.net, state.alphas)
    batch = problem.batch("train")
    (output,) = method.taught(state, problem, batch)
    gates = softmax_gates(problem.space, state.alphas)
    student = problem.forward(state.net, gates, batch.x)
    value = 25 * divergence(student, voted([output], 5.0), 5.0)
    slopes = torch.autograd.grad(value, state.weights, materialize_grads=True)
    assert abs(float(value.detach())) < 1e-5  # of 25 times 25
    assert max(float(s.abs().max()) for s in slopes) < 1e-5


def test_the_state_is_kept_before_it_moves_so_that_the_second_step_is_pulled():
    """Kept after the step, the newest teacher would be the student itself, but for alpha."""
    config = replace(QUICK, gap=1, teachers=1, alpha=replace(QUICK.alpha, lr=1e-9))
    told = play(*_order(start(config)), 3)
    assert "distillation" not in told[0]
    assert all(float(t["distillation"]) > 1e-6 for t in told[1:])


def _order(made):
    method, problem, state = made
    return method, state, problem


# -- 7.2: the vote ---------------------------------------------------------------------------------


def test_probabilities_are_averaged_and_not_scores():
    scores = [torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])]
    found = voted(scores, 1.0)
    assert float(found[0, 0]) == pytest.approx(0.74101, abs=1e-5)
    assert float(torch.softmax(torch.stack(scores).mean(0), 1)[0, 0]) == pytest.approx(
        0.88080, abs=1e-5
    )


@pytest.mark.parametrize("vote", ["mean", "majority", "weighted"])
def test_a_vote_is_a_distribution_whatever_the_order_and_identical_teachers_are_one(vote):
    g = torch.Generator().manual_seed(0)
    scores = [torch.randn(5, 4, generator=g) for _ in range(3)]
    losses = [torch.tensor(float(i)) for i in range(3)]
    found = voted(scores, 2.0, vote, losses)
    torch.testing.assert_close(found.sum(1), torch.ones(5))
    torch.testing.assert_close(found, voted(scores[::-1], 2.0, vote, losses[::-1]))
    again = [voted([scores[0]] * n, 2.0, vote, [losses[0]] * n) for n in (1, 3)]
    torch.testing.assert_close(*again)


def test_majority_and_weights_by_hand():
    scores = [torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])]
    torch.testing.assert_close(
        voted(scores, 1.0, "majority"), torch.tensor([[0.9 * 2 / 3 + 0.05, 0.9 / 3 + 0.05]])
    )
    p = [torch.softmax(s, 1) for s in scores[:2]]
    losses = [torch.tensor(0.0), torch.tensor(2.0).log()]  # weights 1 and a half
    torch.testing.assert_close(voted(scores[:2], 1.0, "weighted", losses), (2 * p[0] + p[1]) / 3)


# -- 7.3 and 7.4: the gradient, and where it does not go -------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 3)])
def test_the_gradient_of_the_divergence_is_tau_times_the_difference(shape):
    g = torch.Generator().manual_seed(1)
    z = torch.randn(shape, generator=g, dtype=torch.float64, requires_grad=True)
    target = voted([torch.randn(shape, generator=g, dtype=torch.float64)], 3.0)
    (slope,) = torch.autograd.grad(divergence(z, target, 3.0), z)
    count = z.numel() / 4
    p = torch.softmax(z.detach() / 3, 1)
    torch.testing.assert_close(slope, 3 * (p - target) / count, atol=1e-9, rtol=0)
    assert float(divergence(z.detach(), p, 3.0)) == pytest.approx(0, abs=1e-12)


def test_teachers_get_no_gradient_and_leave_the_student_alone():
    method, problem, state = start(space=make("nasbench201"))
    play(method, state, problem, 1)
    held = state.teachers.held[-1]
    before = {k: v.clone() for k, v in state.net.state_dict().items()}
    kept = {k: v.clone() for k, v in held.weights.items()}
    (output,) = method.taught(state, problem, problem.batch("train"))
    assert not output.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in state.net.state_dict().items())
    play(method, state, problem, 2, epoch=1)
    assert all(torch.equal(v, kept[k]) for k, v in held.weights.items())
    assert not any(v.requires_grad for v in [*held.weights.values(), *held.alphas])
    assert all(a.grad is None for a in state.alphas)


def test_a_teacher_runs_on_its_own_weights_and_alphas_and_the_batchs_statistics():
    method, problem, state = start(space=make("nasbench201"))
    play(method, state, problem, 1)
    twin, old = copy.deepcopy(state.net), [a.detach().clone() for a in state.alphas]
    state.teachers.held.clear()
    state.teachers.keep(9, state.net, state.alphas)
    play(method, state, problem, 3)
    batch = problem.batch("train")
    with torch.no_grad():
        wanted = twin.train()(batch.x, softmax_gates(problem.space, old))
        found = method.taught(state, problem, batch)[0]
    torch.testing.assert_close(found, wanted)
    with_present = SDDARTS(replace(QUICK, own_alpha=False)).taught(state, problem, batch)[0]
    assert not torch.equal(with_present, found)


# -- 7.5: nothing without a weight -----------------------------------------------------------------


def test_without_strength_it_is_darts_bit_for_bit():
    method, problem, state = start(replace(QUICK, strength=0.0))
    plain = tiny.problem(space_of(tiny.own()))
    darts = DARTS(DARTSConfig(order="alpha-first", weights=QUICK.weights, alpha=QUICK.alpha))
    other = darts.init(plain)
    play(method, state, problem, 4)
    play(darts, other, plain, 4)
    for mine, theirs in zip(
        [*state.weights, *state.alphas], [*other.weights, *other.alphas], strict=True
    ):
        assert torch.equal(mine, theirs)


def test_teachers_draw_nothing_that_the_student_would_draw():
    ends = []
    for strength in (0.0, 3.0):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            method, problem, state = start(
                replace(QUICK, strength=strength, gap=1), space_of(tiny.drawing())
            )
            told = play(method, state, problem, 3)
            assert ("distillation" in told[-1]) == (strength > 0)
            ends.append(torch.rand(3))
    assert torch.equal(*ends)


def test_distillation_begins_after_a_share_of_the_epochs_and_may_reach_alpha():
    config = replace(QUICK, warm_up=0.5, gap=1)
    method, problem, state = start(config)
    assert "distillation" not in play(method, state, problem, 2, epoch=1)[-1]  # of 3
    assert "distillation" in play(method, state, problem, 2, epoch=2)[-1]
    losses = []
    for distill_alpha in (False, True):
        method, problem, state = start(replace(QUICK, gap=1, distill_alpha=distill_alpha))
        losses.append([float(t["valid_loss"]) for t in play(method, state, problem, 3)])
    assert losses[0][0] == losses[1][0]
    assert losses[0][2] != losses[1][2]


# -- 7.6 and 3.6 of the card on the gap: sharpness -------------------------------------------------


def test_the_fall_of_a_quadratic_by_a_step_is_the_step_times_the_squared_gradient():
    g = torch.Generator().manual_seed(2)
    m = torch.randn(6, 6, generator=g, dtype=torch.float64)
    a, w, eta = m @ m.T / 6, torch.randn(6, generator=g, dtype=torch.float64), 1e-3
    slope = a @ w
    moved = w - eta * slope
    fall = (w @ a @ w - moved @ a @ moved) / 2
    square = slope @ slope
    wanted = 1 - eta * (slope @ a @ slope) / (2 * square)
    assert float(fall / (eta * square)) == pytest.approx(float(wanted), abs=1e-6)


def test_sharpness_is_the_rise_of_the_loss_along_its_gradient():
    """Against one pass over all of the examples, written out."""
    problem = tiny.problem(make("nasbench201"))
    net = problem.supernet()
    gates = softmax_gates(problem.space, [torch.zeros(6, 5)])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found, norm = sharpness(problem, net, gates, examples=0, radius=0.1)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    held = problem.task.examples("valid", device=CPU)
    batch = held.batch(torch.arange(problem.task.length("valid")))
    net.eval()
    weights = list(trainable(net).values())
    loss = problem.task.loss(net(batch.x, gates), batch.y)
    slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
    length = torch.cat([s.reshape(-1) for s in slopes]).norm()
    with torch.no_grad():
        for w, s in zip(weights, slopes, strict=True):
            w += 0.1 * s / length
        after = problem.task.loss(net(batch.x, gates), batch.y)
    assert norm == pytest.approx(float(length), rel=1e-4)
    assert found == pytest.approx(float(after - loss.detach()), rel=1e-3)
    assert found > 0


def test_a_search_measures_it_after_every_epoch_and_is_the_same_without():
    ends = []
    for radius in (0.05, 0.0):
        method, problem, state = start(replace(QUICK, sharpness_radius=radius))
        told = play(method, state, problem, 2)
        assert ("sharpness" in told[1]) == (radius > 0)
        assert "sharpness" not in told[0]
        ends.append([*state.weights, *state.alphas])
    for with_it, without in zip(*ends, strict=True):
        assert torch.equal(with_it, without)


# -- 7.7: it flattens a toy ------------------------------------------------------------------------


def flattened(strength: float, seed: int) -> tuple[float, float]:
    """SAM's sharpness and the loss after 500 steps on two noisy Gaussians."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (400,), generator=g)
    x = torch.randn(400, 2, generator=g) * 0.8
    x[:, 0] += 2.0 * y - 1
    flip = torch.rand(400, generator=g) < 0.1
    y = torch.where(flip, 1 - y, y)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    teachers = Teachers(3, CPU)
    for step in range(500):
        rows = torch.randint(400, (32,), generator=g)
        output = net(x[rows])
        loss = cross_entropy(output, y[rows])
        if strength and teachers.held:
            with torch.no_grad():
                said = [
                    torch.func.functional_call(net, t.weights, (x[rows],)) for t in teachers.held
                ]
            loss = loss + strength * divergence(output, voted(said, 1.0), 1.0)
        if step % 10 == 0:
            teachers.keep(step, net, [])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = list(net.parameters())
    loss = cross_entropy(net(x), y)
    slopes = torch.autograd.grad(loss, weights)
    norm = torch.cat([s.reshape(-1) for s in slopes]).norm()
    with torch.no_grad():
        for w, s in zip(weights, slopes, strict=True):
            w += 0.05 * s / norm
        return float(cross_entropy(net(x), y) - loss), float(loss.detach())


@pytest.mark.slow
def test_distillation_flattens_a_toy():
    means = {
        strength: torch.tensor([flattened(strength, seed) for seed in range(8)]).mean(0)
        for strength in (0.0, 1.0, 3.0)
    }
    sharp = {k: float(v[0]) for k, v in means.items()}
    assert sharp[3.0] < 0.75 * sharp[0.0]
    assert sharp[3.0] < sharp[1.0] < sharp[0.0]
    assert all(float(v[1]) <= 1.1 * float(means[0.0][1]) for v in means.values())


# -- 7.8: the store --------------------------------------------------------------------------------


def test_the_store_holds_the_last_states_and_comes_back_from_a_checkpoint():
    net, store = nn.Linear(2, 1), Teachers(3, CPU)
    for step in range(7):
        nn.init.constant_(net.weight, step)
        store.keep(step, net, [torch.full((1,), float(step), requires_grad=True)])
        assert len(store.held) == min(step + 1, 3)
    assert [s.step for s in store.held] == [4, 5, 6]
    assert [float(s.weights["weight"][0, 0]) for s in store.held] == [4, 5, 6]
    assert not any(s.weights["weight"].requires_grad or s.alphas[0].requires_grad
                   for s in store.held)  # fmt: skip
    again = Teachers(3, CPU)
    again.load_state_dict(store.state_dict())
    assert tiny.same(again.state_dict(), store.state_dict())


def test_states_are_kept_every_gap_steps_or_once_an_epoch():
    for gap, wanted in ((0, [0, 4]), (2, [2, 4, 6]), (3, [0, 3, 6])):
        method, problem, state = start(replace(QUICK, gap=gap, strength=0.0))
        for epoch in range(2):
            play(method, state, problem, 4, epoch)
        assert [s.step for s in state.teachers.held] == wanted


# -- outputs that are no classes -------------------------------------------------------------------


def test_targets_are_held_near_the_mean_of_the_teachers():
    a, b, c = (torch.tensor([v]) for v in (1.0, 3.0, 7.0))
    assert float(distance(c, [a, b])) == (7 - 2) ** 2 / 2
    both = {"x": c, "y": a}
    assert float(distance(both, [{"x": a, "y": a}, {"x": b, "y": a}])) == (7 - 2) ** 2 / 2


def test_other_votes_need_classes():
    problem = tiny.problem(space_of(tiny.own()))
    problem.task = _without_classes(problem.task)
    with pytest.raises(ConfigError, match=r"vote is 'majority', .* accepted: mean"):
        SDDARTS(replace(QUICK, vote="majority")).init(problem)


def _without_classes(task):
    held = copy.copy(task)
    held.describe = lambda: {}
    return held
