"""GDAS does what its card says (specs/gdas.md, section 7; arXiv 1910.04465)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny
from morphogen import OneOf
from morphogen.bilevel.gates import sampled_path
from morphogen.core import Choice
from morphogen.methods import gdas as module
from morphogen.methods.gdas import GDAS
from morphogen.spaces import SearchSpace, make
from morphogen.supernets import space_of
from morphogen.tasks.problem import Clock

QUICK = tiny.config("gdas")


def start(config=QUICK, given=None):
    problem = tiny.problem(space_of(given or tiny.own()))
    method = GDAS(config)
    return method, problem, method.init(problem)


def counted(state) -> list[tuple[str, str]]:
    """(choice, option) of every option that is executed from now on."""
    executed: list[tuple[str, str]] = []
    for mark in [m for m in state.net.modules() if isinstance(m, OneOf)]:
        for option in mark.options:
            key = (mark.name, option)
            mark.option(option).register_forward_hook(lambda *a, k=key: executed.append(k))
    return executed


def test_one_option_per_choice_is_executed_in_every_forward_pass():
    method, problem, state = start()
    executed = counted(state)
    passes = []
    state.net.register_forward_hook(lambda *args: passes.append(len(executed)))
    for _ in range(10):
        method.step(state, problem, tiny.CLOCK)
    assert passes == [3 * (i + 1) for i in range(20)]  # two passes a step, three choices each
    for i in range(20):
        assert [name for name, _ in executed[3 * i : 3 * i + 3]] == ["block1", "block2", "pool"]


def test_the_two_steps_draw_a_path_each():
    method, problem, state = start()
    executed = counted(state)
    for _ in range(40):
        method.step(state, problem, tiny.CLOCK)
    paths = [tuple(executed[3 * i : 3 * i + 3]) for i in range(80)]
    same = sum(paths[2 * i] == paths[2 * i + 1] for i in range(40))
    assert same < 12  # 1 in 18 on average; always, if a draw served both
    assert len(set(paths)) > 10


def test_drawn_options_follow_the_softmax_of_alpha_whatever_tau():
    space = SearchSpace("many", [Choice(f"c{i}", tuple("xyz"), "all") for i in range(1000)])
    alpha = torch.tensor([1.0, 0.0, -1.0])
    for tau in (10.0, 0.1):
        generator = torch.Generator().manual_seed(1)
        counts: Counter[int] = Counter()
        for _ in range(10):
            gates = sampled_path(space, [alpha.expand(1000, 3)], tau, generator)
            counts.update(option for (option,) in gates.live["all"])
            assert gates.weights["all"].sum() == 1000  # exactly one-hot
        for option, p in enumerate(torch.softmax(alpha, dim=0).tolist()):
            spread = (p * (1 - p) / 10_000) ** 0.5
            assert counts[option] / 10_000 == pytest.approx(p, abs=4 * spread)


def test_tau_falls_linearly_from_10_to_a_tenth():
    method, problem, state = start()
    taus = [
        method.step(state, problem, Clock(epoch, 5, step, 2))["tau"]
        for epoch in range(5)
        for step in range(2)
    ]
    assert taus[0] == taus[1] == 10.0
    assert taus[8] == taus[9] == pytest.approx(0.1, abs=1e-12)
    assert taus[::2] == pytest.approx([10, 7.525, 5.05, 2.575, 0.1])
    assert sum(taus) / 10 == pytest.approx(5.05)


def test_a_search_of_one_epoch_has_the_first_tau():
    method, problem, state = start()
    assert method.step(state, problem, Clock(0, 1, 0, 1))["tau"] == 10.0


def test_weights_that_were_not_drawn_are_bit_identical_after_a_weight_step(monkeypatch):
    """Neither decay nor momentum moves them (card 7.5), also once they have momentum."""
    monkeypatch.setattr(module, "alpha_step", lambda *args: None)
    method, problem, state = start()
    executed = counted(state)
    for step in range(12):
        executed.clear()
        before = {k: v.detach().clone() for k, v in state.net.named_parameters()}
        method.step(state, problem, replace(tiny.CLOCK, step=step))
        drawn = {f"{name}.option_{option}." for name, option in executed[:3]}
        changed = {k for k, v in state.net.named_parameters() if not torch.equal(v, before[k])}
        for name in before:
            choice = name.removeprefix("module.")
            optional = ".option_" in choice
            used = not optional or any(choice.startswith(d) for d in drawn)
            assert (name in changed) == used, (step, name)
    buffers = state.momentum_buffers
    assert any(b is not None and b.abs().max() > 0 for b in buffers)


def test_alphas_of_all_options_of_a_drawn_row_get_the_gradient_of_the_concrete_sample():
    """Card 3: dL/d alpha_k = r h_s (delta_sk - h_k) / tau, s drawn, r = dL/d gate_s."""
    tau = 0.7

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            options = {name: nn.Linear(64, tiny.CLASSES) for name in "abc"}
            self.only = OneOf(options, name="only")

        def forward(self, x):
            return self.only(x.flatten(1))

    problem = tiny.problem(space_of(Line()))
    net = problem.supernet()
    batch = problem.batch("valid")
    alpha = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
    noise = problem.search_rng.get_state()
    gates = sampled_path(problem.space, [alpha], tau, problem.search_rng)
    (gradient,) = torch.autograd.grad(problem.loss(net, gates, batch), alpha)
    (s,) = gates.live["only"][0]
    weight = gates.weights["only"].detach().clone().requires_grad_()
    gates.weights["only"] = weight
    r = torch.autograd.grad(problem.loss(net, gates, batch), weight)[0][0, s]
    problem.search_rng.set_state(noise)
    g = -torch.empty(1, 3).exponential_(generator=problem.search_rng).log()
    h = torch.softmax((torch.log_softmax(alpha, -1) + g) / tau, dim=-1).detach()[0]
    delta = torch.eye(3)[s]
    torch.testing.assert_close(gradient[0], r * h[s] * (delta - h) / tau, atol=1e-7, rtol=1e-5)
    assert weight[0, s].item() == 1.0
    assert gradient.abs().min() > 0


def test_derived_is_the_strongest_option_and_gates_are_the_mean_path():
    method, problem, state = start()
    with torch.no_grad():
        for alpha, keep in zip(state.alphas, (2, 0, 1), strict=True):
            alpha.zero_()
            alpha[0, keep] = 1
    text = problem.space.format(method.derive(state, problem.space))
    assert text == "block1=skip;block2=conv3;pool=max"
    gates = method.gates(state, problem.space)
    torch.testing.assert_close(gates.weights["pool"], torch.softmax(state.alphas[2], -1))
    assert gates.live["block1"] == ((0, 1, 2),)


# -- choices that keep several options -------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3])
def test_inputs_of_nodes_are_weighed_and_their_operations_drawn(number):
    """1Shot1 card 3.8: operations hard, inputs of nodes and of the output soft (all of them)."""
    space, tau = make(f"nasbench1shot1-s{number}"), 2.0
    problem = tiny.problem(space)
    alphas = GDAS(QUICK).init(problem).alphas
    noise = problem.search_rng.get_state()
    gates = sampled_path(space, alphas, tau, problem.search_rng)
    problem.search_rng.set_state(noise)
    for (group, choices), alpha in zip(space.groups.items(), alphas, strict=True):
        g = -torch.empty(alpha.shape).exponential_(generator=problem.search_rng).log()
        h = torch.softmax((torch.log_softmax(alpha, -1) + g) / tau, dim=-1)
        weights, live = gates.weights[group], gates.live[group]
        if group == "operations":
            assert live == tuple((int(i),) for i in h.argmax(-1))
            assert weights.detach().sort().values.tolist() == [[0.0, 0.0, 1.0]] * len(choices)
        else:
            torch.testing.assert_close(weights, h)
            assert live == (tuple(range(len(choices[0].options))),)
    assert any(c.least == 1 for c in space.choices if c.group != "operations") == (number > 1)


def test_a_pass_trains_every_input_of_a_node_and_one_operation():
    problem = tiny.problem(make("nasbench1shot1-s2"))
    method = GDAS(QUICK)
    state = method.init(problem)
    (first, *_), *_ = state.net.stacks
    executed: Counter[str] = Counter()
    nodes = [(f"node {i}", m) for i, node in enumerate(first.nodes) for m in node.values()]
    inputs = [(f"input {i}", m) for i, m in enumerate(first.projections)]
    for name, part in nodes + inputs:
        part.register_forward_hook(lambda *a, k=name: executed.update([k]))
    before = [alpha.detach().clone() for alpha in state.alphas]
    method.step(state, problem, tiny.CLOCK)
    names = [name for i in range(4) for name in (f"node {i}", f"input {i}")]
    assert executed == Counter(dict.fromkeys(names, 2))  # in each of two passes
    for old, new in zip(before, state.alphas, strict=True):
        assert ((old - new).abs() > 0).all()


def test_edges_that_may_keep_two_operations_or_none_draw_one():
    space = make("darts-gdas")
    problem = tiny.problem(space, depth=3)
    gates = sampled_path(space, GDAS(QUICK).init(problem).alphas, 1.0, problem.search_rng)
    assert all(len(live) == 1 for rows in gates.live.values() for live in rows)
