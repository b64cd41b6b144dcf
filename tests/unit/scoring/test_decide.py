"""Decisions one after the other: against closed forms and the published score rows."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.core import Choice, NumericalError
from morphogen.scoring import (
    Decision,
    Discretised,
    Magnitude,
    Order,
    Perturbed,
    Projection,
    RankedTogether,
    ScoringContext,
    best,
    decide_next,
    mean_margin,
    only,
    without,
    without_choice,
)
from morphogen.spaces import Differentiable, SearchSpace, make

ORDERS = get_args(Order)
NB201 = make("nasbench201")
EDGES = [c.name for c in NB201.choices]


def zeros(space):
    return [torch.zeros(m.shape) for m in space.masks.values()]


def flat(space):
    return softmax_gates(space, zeros(space))


def run_all(space, score, order="fixed", alphas=None, seed=0):
    """Decide everything; the projection and all decisions."""
    alphas = zeros(space) if alphas is None else alphas
    projection, rng, decisions = Projection(space), np.random.default_rng(seed), []
    for _ in range(projection.steps()):
        decisions += decide_next(projection, lambda: projection.gates(alphas), score, order, rng)
    assert projection.done
    return projection, decisions


def linear(space, seed=0):
    """S(theta) = sum of c * theta, and the best option of each choice under it."""
    g = np.random.default_rng(seed)
    c = {name: torch.from_numpy(g.normal(size=m.shape)).float() for name, m in space.masks.items()}

    def measure(gates):
        return float(sum((c[n] * w).sum() for n, w in gates.weights.items()))

    wanted = {
        choice.name: choice.options[int(row.argmax())]
        for choice, row in space.rows({n: m.numpy() for n, m in c.items()})
    }
    return measure, wanted


class Counted:
    def __init__(self, measure):
        self.measure, self.calls = measure, 0

    def __call__(self, gates):
        self.calls += 1
        return self.measure(gates)


# -- what if ---------------------------------------------------------------------------------------


def test_without_an_option_the_others_keep_their_weights():
    gates = softmax_gates(NB201, start_alphas(NB201, torch.Generator().manual_seed(1), "cpu", 1.0))
    before = gates.weights["cell"].clone()
    for run in (False, True):
        less = without(NB201, gates, EDGES[2], 3, run=run)
        assert less.weights["cell"][2, 3] == 0
        assert less.weights["cell"][2].sum() == pytest.approx(1 - before[2, 3].item(), abs=1e-6)
        changed = less.weights["cell"] != before
        assert changed.sum() == 1
        assert less.live["cell"][2] == ((0, 1, 2, 3, 4) if run else (0, 1, 2, 4))
    assert torch.equal(gates.weights["cell"], before)
    alone = only(NB201, gates, EDGES[2], 3)
    assert alone.weights["cell"][2].tolist() == [0, 0, 0, 1, 0]
    assert alone.live["cell"][2] == (3,)
    gone = without_choice(NB201, gates, EDGES[2])
    assert gone.weights["cell"][2].abs().sum() == 0
    assert gone.live["cell"][2] == ()


# -- orders ----------------------------------------------------------------------------------------


def test_the_margin_of_a_linear_measure_is_what_the_winner_weighs_more():
    g = np.random.default_rng(3)
    c = g.normal(size=NB201.masks["cell"].shape)

    def measure(gates):
        return float((torch.from_numpy(c) * gates.weights["cell"]).sum())

    _, decisions = run_all(NB201, Perturbed(measure))
    first, second = np.sort(c, axis=1)[:, ::-1][:, :2].T
    assert [d.margin for d in decisions] == pytest.approx((first - second) / 5, abs=1e-6)
    assert mean_margin(decisions)["margin"] == pytest.approx(np.mean(first - second) / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "kept", "margin"),
    [
        ((0.5, 3.0, 1.0), 1, 2.0),
        ((0.5, 3.0, 1.0, 0.25), 2, 0.5),
        ((0.5, float("nan"), 1.0), 1, 0.5),
        ((2.0, 2.0), 1, 0.0),
    ],
)
def test_margins(scores, kept, margin):
    assert Decision("e", ("o",) * kept, scores).margin == margin


def test_where_all_win_there_is_no_margin():
    alone = Decision("e", ("a", "b"), (1.0, 2.0))
    assert np.isnan(alone.margin)
    assert mean_margin([alone]) == mean_margin([]) == {}
    one = Decision("e", ("a",), (1.0, 2.0))
    assert mean_margin([alone, one]) == {"margin": 1.0}


@pytest.mark.parametrize(
    ("order", "evaluations"),
    [
        ("fixed", 30),
        ("reverse", 30),
        ("random", 30),
        ("global-op-iter", 105),
        ("global-op-once", 60),
        ("global-edge-iter", 135),
        ("global-edge-once", 60),
    ],
)
def test_orders_ask_as_often_as_the_paper_counts(order, evaluations):
    measure = Counted(linear(NB201)[0])
    run_all(NB201, Perturbed(measure), order)
    assert measure.calls == evaluations


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [Perturbed, Discretised])
@pytest.mark.parametrize("name", ["nasbench201", "nasbench-macro"])
def test_a_linear_measure_is_maximised_in_every_order(name, kind, order):
    space = make(name)
    measure, wanted = linear(space)
    projection, decisions = run_all(space, kind(measure), order)
    arch = projection.derive(flat(space))
    assert {n: arch.one(n) for n in arch} == wanted
    assert sorted(d.about for d in decisions) == sorted(wanted)


def visited(order, score, seed=0):
    return [d.about for d in run_all(NB201, score, order, seed=seed)[1]]


def test_orders_visit_edges_as_they_say():
    weight = dict(zip(EDGES, (3, 6, 1, 5, 2, 4), strict=True))

    def measure(gates):
        """An edge of large weight loses much with its best option, the third."""
        return sum(weight[n] * float(gates.weights["cell"][i, 2]) for i, n in enumerate(EDGES))

    score = Perturbed(measure)
    by_weight = sorted(EDGES, key=lambda n: -weight[n])
    assert visited("fixed", score) == EDGES
    assert visited("reverse", score) == EDGES[::-1]
    for order in ("global-op-iter", "global-op-once"):
        assert visited(order, score) == by_weight
    # The mean over the options is the weight too, since the other options lose nothing.
    for order in ("global-edge-iter", "global-edge-once"):
        assert visited(order, score) == by_weight
    orders = {tuple(visited("random", score, seed)) for seed in range(8)}
    assert len(orders) > 4
    assert all(sorted(o) == sorted(EDGES) for o in orders)


def test_a_pairwise_term_makes_the_order_matter():
    def measure(gates):
        w = gates.weights["cell"]
        return float(4 * w[0, 1] * w[5, 2] + w[0, 3] + 0.5 * w[5, 4])

    score = Perturbed(measure)
    found = [run_all(NB201, score, o)[0].decided for o in ("fixed", "reverse")]
    assert found[0] != found[1]


# -- cells of nodes --------------------------------------------------------------------------------


def test_darts_decides_both_cells_by_turns_and_then_its_nodes():
    space = make("darts-s2")
    measure = Counted(linear(space)[0])
    projection, decisions = run_all(space, Perturbed(measure), "random")
    assert projection.steps() == 17
    assert len(decisions) == 34
    assert all(d.about.startswith(("normal", "reduce")[i % 2]) for i, d in enumerate(decisions))
    assert [d.about.count("+") for d in decisions[:28]] == [0] * 28
    assert sorted(d.about.count("+") for d in decisions[28:]) == [2, 2, 3, 3, 4, 4]
    assert measure.calls == 28 * 2 + 2 * (3 + 4 + 5)


def test_edge_selections_are_those_of_the_card():
    selections = make("darts").edge_selections()
    rows = [c.name for c in make("darts").groups["normal"]]
    owned = [[rows.index(n) for n in c.choices] for c in selections if c.choices[0] in rows]
    assert owned == [[2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12, 13]]
    assert {c.keep for c in selections} == {2}


def test_the_two_edges_with_most_to_lose_stay_at_each_node():
    space = make("darts-s2")
    g = np.random.default_rng(3)
    value = {c.name: float(g.uniform()) for c in space.choices}

    def measure(gates):
        total = 0.0
        for group, choices in space.groups.items():
            norms = gates.weights[group].abs().sum(1)
            total += sum(value[c.name] * float(n) for c, n in zip(choices, norms, strict=True))
        return total

    projection, _ = run_all(space, Perturbed(measure), "random")
    arch = projection.derive(flat(space))
    for cell in ("normal", "reduce"):
        for target in (3, 4, 5):
            edges = [c.name for c in space.node(cell, target)]
            strongest = sorted(sorted(edges, key=lambda n: -value[n])[:2])
            assert sorted(n for n in edges if arch[n]) == strongest


def test_an_edge_that_chose_none_leaves_if_others_are_left_and_else_takes_the_first_operation():
    """S3's `none`; the code of DARTS-PT replaces it by the first other operation."""
    space = make("darts-s3")
    node = [c.name for c in space.node("normal", 4)]
    projection = Projection(space)
    for choice in space.choices:
        projection.decide(choice.name, [2])
    projection.decide(node[1], [0])
    one_none = Perturbed(lambda gates: -1e3 * float(gates.weights["normal"][6].sum() == 0))
    while not projection.done:
        decide_next(projection, lambda: projection.gates(zeros(space)), one_none, "fixed", None)
    assert [bool(projection.derive(flat(space))[n]) for n in node] == [True, False, True, False]
    for name in node[:3]:
        projection.decide(name, [0])
    projection.decide(node[3], [2])
    projection.selected = [i for i in projection.selected if i != 1]
    decide_next(projection, lambda: projection.gates(zeros(space)), one_none, "fixed", None)
    assert [projection.derive(flat(space))[n] for n in node] == [
        (),
        ("skip_connect",),
        (),
        ("sep_conv_3x3",),
    ]


class Inputs(SearchSpace, Differentiable):
    """Two nodes with an operation each, the second with two of three inputs."""

    def __init__(self):
        super().__init__(
            "inputs",
            [
                Choice("inputs", ("0", "1", "2"), least=2, most=2),
                Choice("first", ("a", "b"), "operations"),
                Choice("second", ("a", "b"), "operations"),
            ],
        )


def test_inputs_come_after_operations_and_are_asked_for_with_all_others_present():
    space = Inputs()
    seen = []

    def measure(gates):
        seen.append(gates.weights["inputs"][0].tolist())
        return float(gates.weights["inputs"][0] @ torch.tensor([1.0, 3.0, 2.0]))

    projection, decisions = run_all(space, Perturbed(measure), "random")
    assert [d.about for d in decisions][2] == "inputs"
    assert all(row == pytest.approx([1 / 3] * 3) for row in seen[:4])
    assert seen[4:] == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert projection.derive(flat(space))["inputs"] == ("1", "2")


# -- state -----------------------------------------------------------------------------------------


def test_decided_rows_are_one_hot_and_without_gradient():
    alphas = start_alphas(NB201, torch.Generator().manual_seed(1), "cpu")
    projection = Projection(NB201)
    projection.decide(EDGES[1], [3])
    gates = projection.gates(alphas)
    assert gates.weights["cell"][1].tolist() == [0, 0, 0, 1, 0]
    assert gates.live["cell"][1] == (3,)
    (gates.weights["cell"] * torch.arange(30.0).view(6, 5)).sum().backward()
    assert (alphas[0].grad[1] == 0).all()
    assert (alphas[0].grad[[0, 2, 3, 4, 5]] != 0).all()


def test_a_projection_survives_its_state_dict():
    measure, _ = linear(NB201)
    alphas, rngs = zeros(NB201), [np.random.default_rng(0) for _ in range(2)]
    one, two = Projection(NB201), Projection(NB201)
    for projection, rng in zip((one, two), rngs, strict=True):
        for _ in range(3):
            current = projection
            decide_next(
                current,
                lambda current=current: current.gates(alphas),
                Perturbed(measure),
                "global-op-once",
                rng,
            )
    again = Projection(NB201)
    again.load_state_dict(two.state_dict())
    for projection, rng in ((one, rngs[0]), (again, rngs[1])):
        while not projection.done:
            current = projection
            decide_next(
                current,
                lambda current=current: current.gates(alphas),
                Perturbed(measure),
                "global-op-once",
                rng,
            )
    assert one.state_dict() == again.state_dict()


def test_a_choice_with_nothing_to_decide_is_decided_from_the_start():
    space = NB201.restrict({EDGES[0]: ["skip_connect"]})
    projection = Projection(space)
    assert projection.decided == {EDGES[0]: [0]}
    assert projection.steps() == 5


def test_magnitude_finds_what_the_space_derives():
    for name in ("nasbench201", "nasbench-macro", "darts", "darts-s3"):
        space = make(name)
        alphas = start_alphas(space, torch.Generator().manual_seed(2), "cpu", 1.0)
        soft = softmax_gates(space, alphas)
        if name.startswith("darts"):  # none takes part in the softmax, and is never kept
            alphas = [a.index_fill(1, torch.tensor([0]), -9.0) for a in alphas]
            soft = softmax_gates(space, alphas)
        projection, _ = run_all(space, Magnitude(soft), "random", alphas)
        scores = {g: w.detach().numpy() for g, w in soft.weights.items()}
        assert projection.derive(soft) == space.derive(scores)


# -- choosing --------------------------------------------------------------------------------------


def test_nan_is_never_best_and_ties_keep_the_first():
    assert best(np.array([np.nan, 1.0, 3.0, 3.0]), 1) == [2]
    assert best(np.array([np.nan, 1.0, 3.0, 3.0]), 3) == [1, 2, 3]
    assert best(np.array([-np.inf, np.nan]), 1) == [0]
    with pytest.raises(NumericalError, match="only 0 of 2"):
        best(np.array([np.nan, np.nan]), 1)


def test_ranked_together_counts_ranks_over_all_undecided_options():
    """Against the card's formula: the smallest sum of n - rank over what is left without it."""
    space = make("nasbench-macro")
    g = np.random.default_rng(1)
    kappa, regions = g.permutation(24).astype(float), g.permutation(24).astype(float)

    def table(values):
        def measure(gates):
            (row, option), *_ = np.argwhere(gates.weights["layers"].numpy() == 0)
            return values[3 * row + option]

        return measure

    names = tuple(c.name for c in space.choices)
    now = ScoringContext(space, softmax_gates(space, zeros(space)), names)
    scores = RankedTogether(table(-kappa), table(regions)).options(now, names[2])
    card = (24 - kappa) + (regions + 1)  # a removal that raises kappa and lowers R counts least
    assert int(np.argmax(scores)) == int(np.argmin(card[6:9]))
    assert scores.tolist() == (-card[6:9]).tolist()


PERTURBED = """
3455.2336 3449.8988 3449.5384 3441.8156 3461.1795
3452.1459 3448.6963 3441.8092 3440.6526 3453.7399
3446.5210 3447.6124 3435.4552 3436.3967 3449.2755
3453.8052 3435.9854 3444.0440 3445.5953 3447.0679
3451.0557 3449.7969 3442.6254 3441.1318 3453.3113
3450.9676 3448.2115 3440.7993 3443.2402 3452.9899
"""
DISCRETISED = """
3331.0073 3445.4895 3366.8771 3437.5511 3423.1803
3429.0747 3435.7503 3407.8728 3434.5845 3421.4424
3428.7955 3423.3613 3440.9256 3437.2869 3416.8915
3408.9905 3464.0507 3359.8885 3382.1755 3431.8056
3433.9877 3435.5735 3424.4700 3431.1432 3423.1532
3434.4217 3437.6612 3418.5726 3397.5171 3424.1662
"""
BEST = """
94.15 94.18 94.44 94.68 93.86
94.24 94.16 94.49 94.68 94.09
94.25 94.43 94.49 94.68 94.19
94.16 94.68 94.03 94.04 93.85
94.29 94.18 94.56 94.68 94.23
94.05 94.16 94.68 94.56 94.10
"""


def rows(text):
    return np.array([[float(v) for v in line.split()] for line in text.strip().splitlines()])


def published(table, kind):
    """The score of a measure that is read from a published table, edge by edge."""

    def measure(gates):
        w = gates.weights["cell"].numpy()
        hot = kind is Discretised
        row, option = np.argwhere(w == (1.0 if hot else 0.0))[0]
        return table[row, option]

    now = ScoringContext(NB201, softmax_gates(NB201, zeros(NB201)), tuple(EDGES))
    return np.array([kind(measure).options(now, name) for name in EDGES])


def test_published_scores_give_the_published_operations():
    """Zero-Cost-PT, released rows of scores on NAS-Bench-201 (CIFAR-10)."""
    perturbed = published(rows(PERTURBED), Perturbed)
    discretised = published(rows(DISCRETISED), Discretised)
    assert [best(r, 1)[0] for r in perturbed] == [3, 3, 2, 1, 3, 2]
    assert [best(r, 1)[0] for r in discretised] == [1, 1, 2, 1, 1, 1]
    rho = [
        np.mean([spearmanr(a, b).statistic for a, b in zip(scores, rows(BEST), strict=True)])
        for scores in (perturbed, discretised)
    ]
    assert rho == pytest.approx([0.7667, 0.1000], abs=1e-3)


def test_equal_scores_of_a_contest_keep_the_first_edges():
    space = make("darts-s2")
    projection, _ = run_all(space, Perturbed(lambda gates: 0.0), "fixed")
    arch = projection.derive(flat(space))
    for _, target in pairwise((2, 3, 4, 5)):
        kept = [bool(arch[c.name]) for c in space.node("normal", target)]
        assert kept == [True, True] + [False] * (target - 2)
