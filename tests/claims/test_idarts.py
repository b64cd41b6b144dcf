"""iDARTS does what its card says (specs/idarts.md, section 7; arXiv 2106.10784)."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import tiny
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.state import alpha_step
from morphogen.methods import idarts as module
from morphogen.methods.idarts import IDARTS, IDARTSConfig
from morphogen.spaces import make
from morphogen.supernets import space_of
from morphogen.tasks.problem import Clock

QUICK = tiny.config("idarts")


def start(config: IDARTSConfig = QUICK, space=None):
    """A method, its problem and its first state; by default on a module with batch norms."""
    problem = tiny.problem(space or space_of(tiny.own()))
    method = IDARTS(config)
    return method, problem, method.init(problem)


def weights(state) -> list[Tensor]:
    return [w.detach().clone() for w in state.net.parameters()]


def everything(state) -> dict[str, Tensor]:
    """Weights and running statistics."""
    return {k: v.clone() for k, v in state.net.state_dict().items()}


def watched(monkeypatch):
    """The weights at each call of step 2 (`neumann`) and step 3 (`alpha_step`), in order."""
    seen = []
    neumann, step = module.neumann, module.alpha_step

    def note_2(inners, outer, w, a, **options):
        before = [x.detach().clone() for x in w]
        result = neumann(inners, outer, w, a, **options)
        seen.append({"weights": before, "inners": inners, "outer": outer, "options": options})
        seen[-1] |= {"alphas": [x.detach().clone() for x in a], "result": result}
        return result

    def note_3(state, *more):
        seen[-1]["state"] = everything(state)
        seen[-1]["optimiser"] = copy.deepcopy(state.weight_optimiser.state_dict())
        step(state, *more)

    monkeypatch.setattr(module, "neumann", note_2)
    monkeypatch.setattr(module, "alpha_step", note_3)
    return seen


@pytest.mark.parametrize("inner", [1, 4])
def test_exactly_t_optimiser_steps_on_live_weights_per_alpha_step(inner, monkeypatch):
    method, problem, state = start(replace(QUICK, inner_steps=inner))
    calls: list[str] = []
    losses = []
    batch = problem.batch("valid")

    def count(name: str, step):
        def counted(*args, **kwargs):
            result = step(*args, **kwargs)
            calls.append(name)
            if name == "w":
                with torch.no_grad():
                    fixed = softmax_gates(problem.space, state.alphas)
                    losses.append(float(problem.loss(state.net, fixed, batch)))
            return result

        return counted

    for name, optimiser in (("w", state.weight_optimiser), ("a", state.alpha_optimiser)):
        monkeypatch.setattr(optimiser, "step", count(name, optimiser.step))
    for _ in range(2):
        method.step(state, problem, tiny.CLOCK)
    assert calls == (["w"] * inner + ["a"]) * 2
    assert len(set(losses)) == len(losses)  # each step moved the network itself
    held = {id(p) for g in state.weight_optimiser.param_groups for p in g["params"]}
    assert held == {id(p) for p in state.net.parameters()}


def test_the_t_weight_steps_are_plain_sgd_on_fresh_batches_with_alpha_fixed():
    config = replace(QUICK, inner_steps=3)
    method, problem, state = start(config)
    twin, shadow = start(config)[1:]
    optimiser = torch.optim.SGD(
        shadow.net.parameters(), lr=QUICK.weights.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    gates = softmax_gates(twin.space, shadow.alphas).detach()
    for _ in range(3):
        loss = twin.loss(shadow.net, gates, twin.batch("train"))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(shadow.net.parameters(), 5.0)
        optimiser.step()
    method.step(state, problem, Clock(0, 3, 0, 2))
    for name, value in shadow.net.state_dict().items():
        torch.testing.assert_close(state.net.state_dict()[name], value, atol=1e-7, rtol=1e-5)


def test_weights_statistics_and_optimiser_are_bit_identical_after_an_alpha_step(monkeypatch):
    method, problem, state = start()
    seen = watched(monkeypatch)
    for _ in range(2):
        method.step(state, problem, tiny.CLOCK)
        (at,) = seen
        for name, value in at["state"].items():  # after step 2, before step 3 ends
            assert torch.equal(state.net.state_dict()[name], value), name
        for before, after in zip(at["weights"], weights(state), strict=True):
            assert torch.equal(before, after)
        assert tiny.same(at["optimiser"], state.weight_optimiser.state_dict())
        assert at["result"].shift is None
        seen.clear()


def test_running_statistics_move_in_weight_steps_only():
    steps = 3
    method, problem, state = start(replace(QUICK, inner_steps=steps))
    method.step(state, problem, tiny.CLOCK)
    tracked = {int(v) for k, v in state.net.state_dict().items() if "num_batches" in k}
    assert tracked == {steps}


def test_official_noise_shifts_the_weights_by_minus_r_times_the_sum_of_the_series(monkeypatch):
    """The u_k are worked out here once more, with a Hessian written out row by row."""
    config = replace(QUICK, official_noise=True, neumann_terms=2, neumann_step=0.05)
    method, problem, state = start(config, space_of(tiny.smooth()))
    seen = watched(monkeypatch)
    method.step(state, problem, tiny.CLOCK)
    (at,) = seen
    w = [x.clone().requires_grad_() for x in at["weights"]]
    a = at["alphas"]
    v = torch.autograd.grad(at["outer"](w, a), w, materialize_grads=True)
    v = torch.cat([g.flatten() for g in v])
    gradient = torch.autograd.grad(at["inners"][0](w, a), w, create_graph=True)
    flat = torch.cat([g.flatten() for g in gradient])
    rows = torch.autograd.grad(
        flat, w, torch.eye(len(flat)), is_grads_batched=True, materialize_grads=True
    )
    hessian = torch.cat([h.reshape(len(flat), -1) for h in rows], dim=1)
    u, total = v, torch.zeros_like(v)
    for _ in range(2):
        u = u - 0.05 * hessian @ u
        total = total + u
    radius = module.SHIFT_RADIUS / v.norm()
    moved = torch.cat(
        [(x - y).flatten() for x, y in zip(weights(state), at["weights"], strict=True)]
    )
    torch.testing.assert_close(moved, -radius * total, atol=1e-6, rtol=0)
    assert moved.norm() > 1e-3


def test_without_terms_the_official_shift_is_zero(monkeypatch):
    method, problem, state = start(replace(QUICK, official_noise=True, neumann_terms=0))
    seen = watched(monkeypatch)
    method.step(state, problem, tiny.CLOCK)
    for before, after in zip(seen[0]["weights"], weights(state), strict=True):
        assert torch.equal(before, after)


def test_t_1_and_k_0_is_d_minus_gamma_m_v_at_the_same_weights(monkeypatch):
    gamma = 0.3
    config = replace(QUICK, inner_steps=1, neumann_terms=0, neumann_step=gamma)
    method, problem, state = start(config, space_of(tiny.smooth()))
    seen = watched(monkeypatch)
    method.step(state, problem, tiny.CLOCK)
    (at,) = seen
    assert len(at["inners"]) == 1
    w = [x.clone().requires_grad_() for x in at["weights"]]
    a = [x.clone().requires_grad_() for x in at["alphas"]]
    d = torch.autograd.grad(at["outer"](w, a), a, materialize_grads=True)
    v = torch.autograd.grad(at["outer"](w, a), w, materialize_grads=True)
    gradient = torch.autograd.grad(at["inners"][0](w, a), w, create_graph=True)
    mixed = torch.autograd.grad(gradient, a, v)
    for got, di, mi in zip(at["result"].total, d, mixed, strict=True):
        torch.testing.assert_close(got, di - gamma * mi, atol=1e-6, rtol=1e-5)
        assert (gamma * mi).abs().max() > 1e-5  # the second term is there


def test_gamma_is_the_weights_learning_rate_unless_it_is_given(monkeypatch):
    seen = watched(monkeypatch)
    clock = Clock(epoch=1, epochs=2, step=0, steps=1)
    for config in (QUICK, replace(QUICK, neumann_step=0.123)):
        method, problem, state = start(config)
        method.step(state, problem, clock)
    assert [s["options"]["step"] for s in seen] == [QUICK.weights.at(clock), 0.123]
    assert QUICK.weights.at(clock) == pytest.approx((0.025 + 0.001) / 2)


def test_independent_factors_each_have_a_training_batch_of_their_own(monkeypatch):
    seen = watched(monkeypatch)
    drawn = []
    for config in (QUICK, replace(QUICK, independent_batches=True)):
        method, problem, state = start(config)
        method.step(state, problem, tiny.CLOCK)
        drawn.append(problem.seen["train"] // 16)
    # T = 4 weight steps, then one batch j; or K + 1 = 3 of them
    assert drawn == [5, 7]
    assert [len(s["inners"]) for s in seen] == [1, 3]


def test_the_alpha_step_is_adam_along_the_gradient(monkeypatch):
    method, problem, state = start()
    seen = watched(monkeypatch)
    before = [a.detach().clone() for a in state.alphas]
    method.step(state, problem, tiny.CLOCK)
    for old, new, gradient in zip(before, state.alphas, seen[0]["result"].total, strict=True):
        step = gradient + QUICK.alpha.weight_decay * old
        torch.testing.assert_close(new, old - QUICK.alpha.lr * step.sign(), atol=1e-4, rtol=0)


def test_metrics_tell_growth_and_share_of_the_implicit_part():
    method, problem, state = start(replace(QUICK, neumann_terms=0))
    metrics = method.step(state, problem, tiny.CLOCK)
    assert float(metrics["neumann_growth"]) == 1.0
    assert 0 < float(metrics["implicit_share"]) < 10
    method, problem, state = start(replace(QUICK, neumann_terms=3))
    assert float(method.step(state, problem, tiny.CLOCK)["neumann_growth"]) != 1.0


def test_memory_does_not_depend_on_t():
    """Bytes that autograd saves in one step, largest at any moment: the same for T = 1 and 8."""

    def saved(inner: int) -> int:
        method, problem, state = start(replace(QUICK, inner_steps=inner), make("nasbench201"))
        live, most = 0, 0

        class Held:
            def __init__(self, tensor: Tensor) -> None:
                nonlocal live, most
                self.tensor, self.size = tensor, tensor.nbytes
                live += self.size
                most = max(most, live)

            def __del__(self) -> None:
                nonlocal live
                live -= self.size

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            method.step(state, problem, tiny.CLOCK)
        return most

    one, eight = saved(1), saved(8)
    assert one > 10_000
    assert eight == pytest.approx(one, rel=0.01)


def test_first_order_gradient_differs_from_idarts():
    """The implicit part is really there: with it alpha takes other steps than without."""
    method, problem, state = start(space=space_of(tiny.smooth()))
    twin, shadow = start(space=space_of(tiny.smooth()))[1:]
    method.step(state, problem, tiny.CLOCK)
    gates = softmax_gates(twin.space, shadow.alphas).detach()
    for _ in range(4):
        module.weight_step(shadow, twin, twin.batch("train"), gates, QUICK.weights, tiny.CLOCK)
    twin.batch("train")
    loss = twin.bilevel_loss(
        shadow.net, lambda alphas: softmax_gates(twin.space, alphas), twin.batch("valid")
    )
    direct = first_order(loss, shadow.weights, shadow.alphas).total
    alpha_step(shadow, twin, direct, QUICK.alpha, tiny.CLOCK)
    for mine, theirs in zip(weights(state), weights(shadow), strict=True):
        assert torch.equal(mine, theirs)
    theirs = [s["exp_avg"] for s in shadow.alpha_optimiser.state.values()]
    mine = [s["exp_avg"] for s in state.alpha_optimiser.state.values()]
    assert any((m - t).abs().max() > 1e-5 for m, t in zip(mine, theirs, strict=True))
