"""Zero-Cost-PT does what its card says (arXiv 2106.06799)."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
from morphogen.bilevel.gates import softmax_gates
from morphogen.engine.search.timetable import timetable
from morphogen.methods import zerocost_pt as module
from morphogen.methods.zerocost_pt import ZeroCostPT, ZeroCostPTConfig
from morphogen.proxies.activations import Agreement
from morphogen.scoring import Perturbed, ScoringContext, zero_cost
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec, build, space_of

QUICK = tiny.config("zero-cost-pt")
NB201 = make("nasbench201")


def started(config=QUICK, space=None, **spec):
    problem = tiny.problem(space or space_of(tiny.own()), **spec)
    method = ZeroCostPT(config)
    return method, problem, method.init(problem)


def play(method, problem, state, searches, stop_before=""):
    for clock in timetable(method, problem, searches, 1):
        if clock.phase == stop_before:
            return
        for step in range(clock.steps):
            method.step(state, problem, replace(clock, step=step))


def test_a_search_changes_neither_weights_nor_statistics():
    method, problem, state = started()
    before = copy.deepcopy(state.net.state_dict())
    play(method, problem, state, 2)
    assert tiny.same(dict(state.net.state_dict()), dict(before))
    assert len(state.found) == 2
    assert all(p.grad is None for p in state.net.parameters())


def test_epochs_are_searches_and_steps_are_decisions():
    method, problem, _ = started(ZeroCostPTConfig(), NB201, depth=1)
    phases = [(p.name, p.epochs, p.steps) for p in method.phases(problem, 10)]
    assert phases == [("search", 10, 6), ("validate", 1, 100)]
    alone = method.phases(problem, 1)
    assert [p.epochs for p in alone] == [1, 0]  # one search needs no validation


def fake(monkeypatch, score):
    """A proxy that is a function of the gates, for searches, or of the network's architecture."""
    asked = []

    def measure(problem, net, proxy, batch):
        def under(gates):
            asked.append(gates)
            return score(gates)

        return under

    monkeypatch.setattr(module, "zero_cost", measure)
    return asked


def test_the_operation_without_which_the_score_is_lowest_is_kept(monkeypatch):
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5))).float()
    asked = fake(monkeypatch, lambda gates: float((weight * gates.weights["cell"]).sum()))
    method, problem, state = started(QUICK, NB201, depth=1)
    play(method, problem, state, 1)
    arch = method.derive(state, NB201)
    kept = [NB201.choice(n).index(arch.one(n)) for n in arch]
    assert kept == weight.argmax(dim=1).tolist()
    assert len(asked) == 30


def test_alphas_are_near_zero_and_new_for_each_search(monkeypatch):
    rows = fake(monkeypatch, lambda gates: 0.0)
    method, problem, state = started(QUICK, NB201, depth=1)
    play(method, problem, state, 2, stop_before="validate")
    starts = [rows[i].weights["cell"] for i in (0, 30)]
    for weights in starts:
        undecided = weights[weights > 0]
        assert (undecided - 0.2).abs().max() < 2e-3
    assert not torch.equal(*starts)


def test_one_minibatch_serves_all_operations_of_a_decision_and_the_next_has_another(monkeypatch):
    batches = []

    def measure(problem, net, proxy, batch):
        batches.append(batch[0])
        return lambda gates: 0.0

    monkeypatch.setattr(module, "zero_cost", measure)
    method, problem, state = started()
    play(method, problem, state, 1)
    assert len(batches) == 3
    assert not torch.equal(batches[0], batches[1])


def test_not_a_number_is_never_kept(monkeypatch):
    def score(gates):
        row = gates.weights["cell"][2]
        return math.nan if (row > 0).tolist() == [True, True, True, False, True] else 0.0

    fake(monkeypatch, score)
    method, problem, state = started(QUICK, NB201, depth=1)
    play(method, problem, state, 1)
    assert method.derive(state, NB201).one("edge_1_2") != "nor_conv_3x3"


def test_validation_adds_up_and_sees_each_different_architecture_once(monkeypatch):
    method, problem, state = started(replace(QUICK, validation=3))
    space = problem.space
    texts = [space.format(a) for a in space.enumerate()[:2]]
    state.found = [texts[0], texts[1], texts[0], texts[0]]
    values = iter([1.0, 2.0, 10.0, 3.0, 0.0, 5.0])
    calls = []

    def proxy_of(problem, net, proxy, batch):
        calls.append((net, batch[0]))
        return next(values)

    monkeypatch.setattr(module, "proxy_of", proxy_of)
    clock = timetable(method, problem, 4, 1)[-1]
    assert clock.phase == "validate"
    for step in range(3):
        method.step(state, problem, replace(clock, step=step))
    assert state.sums == [1 + 10 + 0, 2 + 3 + 5]
    assert space.format(method.derive(state, space)) == texts[0]
    assert len(calls) == 6
    assert torch.equal(calls[0][1], calls[1][1])  # the same minibatch for all
    assert not torch.equal(calls[0][1], calls[2][1])
    state.sums = [math.nan, 1.0]
    assert space.format(method.derive(state, space)) == texts[1]


def test_networks_of_the_validation_are_new_and_start_equal(monkeypatch):
    method, problem, state = started(QUICK, NB201, depth=1)
    state.found = ["|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"] * 2
    stems = []

    def proxy_of(problem, net, proxy, batch):
        stems.append(net.stem[0].weight.clone())
        return 0.0

    monkeypatch.setattr(module, "proxy_of", proxy_of)
    torch.rand(3)
    clock = timetable(method, problem, 2, 1)[-1]
    method.step(state, problem, clock)
    method.step(state, problem, clock)
    assert torch.equal(stems[0], stems[1])
    assert not torch.equal(stems[0], state.net.stem[0].weight)


# -- the score of a supernet -----------------------------------------------------------------------


def supernet(depth=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(NB201, NetworkSpec(channels=4, depth=depth, in_channels=1, classes=4)).eval()


def situation():
    gates = softmax_gates(NB201, [torch.zeros(6, 5)])
    return ScoringContext(NB201, gates, tuple(c.name for c in NB201.choices))


def test_without_none_the_score_is_that_of_the_supernet_exactly():
    """Visible in the released logs: the first entry of every edge is the same."""
    net, problem = supernet(), tiny.problem(NB201)
    now = situation()
    measure = zero_cost(problem, net, "nwot_eval", problem.batch("train"))
    whole = measure(now.gates)
    rows = [Perturbed(measure).options(now, name) for name in now.undecided]
    assert {row[0] for row in rows} == {-whole}
    assert all(len(set(row)) > 2 for row in rows)


def test_zero_cost_runs_plain_and_puts_execution_back():
    net, problem = supernet(), tiny.problem(NB201)
    now = situation()
    batch = problem.batch("train")
    assert net.execution == "fused"
    fused = zero_cost(problem, net, "nwot_eval", batch)(now.gates)
    assert net.execution == "fused"
    net.execution = "plain"
    assert zero_cost(problem, net, "nwot_eval", batch)(now.gates) == fused


def test_an_operation_on_zeros_would_change_the_determinant_by_a_rank_one_term():
    """What `zero_op` leaves out: K + d 1 1^T (the card's example; three samples, four units)."""
    codes = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    agreement = Agreement()
    agreement.add(codes)
    kernel = agreement.kernel()
    assert kernel.tolist() == [[4, 2, 2], [2, 4, 2], [2, 2, 4]]
    assert agreement.score() == pytest.approx(3.465736, abs=1e-6)
    agreement.add(torch.zeros(3, 4))
    assert agreement.score() == pytest.approx(4.382027, abs=1e-6)
    ones = torch.ones(3, dtype=torch.float64)
    gain = math.log(1 + 4 * float(ones @ torch.linalg.solve(kernel, ones)))
    assert agreement.score() == pytest.approx(3.465736 + gain, abs=1e-6)


@pytest.mark.parametrize("zero_op", ["skip", "run"])
def test_zero_op_decides_whether_an_option_of_weight_0_is_executed(zero_op, monkeypatch):
    asked = fake(monkeypatch, lambda gates: 0.0)
    method, problem, state = started(replace(QUICK, zero_op=zero_op), NB201, depth=1)
    play(method, problem, state, 1)
    live = [sum(map(len, g.live["cell"])) for g in asked]
    assert live == ([30] * 30 if zero_op == "run" else [29 - 4 * (i // 5) for i in range(30)])
