"""Few-shot NAS does what its card says (specs/few-shot-nas.md, section 7; arXiv 2006.06863).

Leaves as sets of architectures (7.1) are held against lists in tests/unit/spaces/test_mask.py;
parameters of leaves (7.2), the transfer (7.4) and that all of it learns (7.5) are in
tests/unit/bilevel/test_leaves.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chi2, spearmanr
from torch import nn

import tiny
from morphogen import OneOf, spaces
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.hypergradient import first_order
from morphogen.bilevel.optimisers import SGD, gradient_step
from morphogen.core import Choice, ConfigError
from morphogen.core.config import altered
from morphogen.core.ranking import kendall
from morphogen.engine.search.search import resume, search
from morphogen.evaluators.single_path import SinglePathState, path_step
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods.darts import DARTS, DARTSConfig
from morphogen.methods.few_shot import FewShot
from morphogen.methods.spos import SPOSConfig
from morphogen.spaces import SearchSpace, SubspaceMask
from morphogen.supernets import Gates, space_of
from morphogen.supernets.gates import all_live
from morphogen.tasks.problem import Clock, trainable

QUICK = tiny.config("few-shot")
SPACE = spaces.make("nasbench201")
EDGE = SPACE.choices[0]


def altered_quick(**values):
    return altered(QUICK, {name.replace("__", "."): value for name, value in values.items()})


def start(config=QUICK, space=SPACE, **spec):
    problem = tiny.problem(space, **spec)
    method = FewShot(config)
    return method, problem, method.init(problem)


def leaves_clock(epochs, epoch=0, step=0, steps=2):
    return Clock(epoch, epochs, step, steps, "leaves")


# -- 7.1: the parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(("splits", "count", "size"), [(1, 5, 3125), (2, 25, 625), (0, 1, 15625)])
def test_the_space_is_split_by_the_operations_of_its_first_edges(splits, count, size):
    config = replace(QUICK, splits=splits)
    method, problem, state = start(config)
    phases = {p.name: p.epochs for p in method.phases(problem, 3)}
    assert phases == {"supernet": 3, "leaves": count, "selection": count}
    method.step(state, problem, leaves_clock(count))
    masks = [leaf.mask for leaf in state.leaves.leaves]
    assert [mask.count() for mask in masks] == [size] * count
    assert len({tuple(m.allowed[c.name] for c in SPACE.choices[:splits]) for m in masks}) == count
    named = replace(QUICK, choices=f"{SPACE.choices[3].name}, {SPACE.choices[5].name}")
    assert FewShot(named).phases(problem, 1)[1].epochs == 25


def test_an_operation_that_no_architecture_has_alone_gets_no_part():
    """DARTS' first node keeps both of its edges, so none can be `none`: seven parts of eight."""
    method, problem, state = start(space=spaces.make("darts"), channels=2, depth=3)
    first = problem.space.choices[0]
    assert len(first.options) == 8
    assert method.phases(problem, 1)[1].epochs == 7
    method._split(state, problem)
    kept = [leaf.mask.allowed[first.name] for leaf in state.leaves.leaves]
    assert kept == [(option,) for option in first.options if option != "none"]


def test_a_split_that_cannot_be_is_refused():
    problem = tiny.problem(SPACE)
    for config, says in (
        (replace(QUICK, splits=5), "at most 1,000"),
        (replace(QUICK, splits=7), "at most 6"),
    ):
        with pytest.raises(ConfigError, match=says):
            FewShot(config).phases(problem, 1)


# -- 7.3: alphas of a leaf -------------------------------------------------------------------------


def test_alphas_of_a_leaf_have_the_gradient_of_the_supernet_with_the_edge_fixed():
    method, problem, state = start(altered_quick(leaf__searcher="darts"))
    state.net.double()
    state.leaves = type(state.leaves)(problem, state.net, SGD(), QUICK.leaf.alpha)
    leaves = state.leaves.split(state.leaves.root, EDGE.name, [[o] for o in EDGE.options])
    batch = problem.batch("valid")
    batch = batch._replace(x=batch.x.double())
    generator = torch.Generator().manual_seed(0)
    alphas = [torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)]
    for z, leaf in enumerate(leaves):
        state.leaves.attach(leaf)
        leaf.alphas = alphas

        def on_leaf(tensors, leaf=leaf):
            return softmax_gates(SPACE, tensors, leaf.option_masks)

        def by_hand(tensors, z=z):
            fixed = torch.eye(5, dtype=torch.float64)[z]
            weights = torch.cat([fixed[None], torch.softmax(tensors[0][1:], dim=1)])
            return Gates({"cell": weights}, all_live(SPACE))

        found, expected = (
            first_order(problem.bilevel_loss(state.net, gates, batch), leaf.weights, alphas).total[
                0
            ]
            for gates in (on_leaf, by_hand)
        )
        # The supernet's other four modules on the edge are this leaf's no more: weight 0 times any.
        torch.testing.assert_close(found[1:], expected[1:], atol=1e-6, rtol=0)
        assert (found[0] == 0).all()
        assert float(found.abs().max()) > 1e-3
        text = method.search._proposals(leaf, problem)[0]
        assert SPACE.parse(text).one(EDGE.name) == EDGE.options[z]


# -- 7.6: no split, and nothing but splits ---------------------------------------------------------


def test_without_a_split_it_is_the_one_shot_trainer_bit_for_bit():
    config = replace(QUICK, splits=0, transfer=False, leaf_epochs=2)
    method, problem, state = start(config)
    for epoch, step in product(range(2), range(2)):
        method.step(state, problem, leaves_clock(2, epoch, step))
    other = tiny.problem(SPACE)
    single = SinglePathState.start(other, SPOSConfig(), again=False)
    single.weight_optimiser = config.weights.make(trainable(single.net).values())
    for epoch, step in product(range(2), range(2)):
        path_step(single, other, config.weights, Clock(epoch, 2, step, 2))
    assert tiny.same(dict(state.net.state_dict()), dict(single.net.state_dict()))


@pytest.mark.parametrize("second_order", [False, True])
def test_without_a_split_its_gradient_search_is_darts_bit_for_bit(second_order):
    config = altered_quick(
        splits=0, transfer=False, leaf__searcher="darts", leaf__second_order=second_order
    )
    method, problem, state = start(config)
    alone = DARTS(
        DARTSConfig(
            second_order=second_order,
            order="alpha-first",
            weights=config.weights,
            alpha=config.leaf.alpha,
        )
    )
    other = tiny.problem(SPACE)
    theirs = alone.init(other)
    for step in range(2):
        method.step(state, problem, leaves_clock(1, 0, step))
        alone.step(theirs, other, Clock(0, 1, step, 2))
    assert torch.equal(state.leaves.root.alphas[0], theirs.alphas[0])
    assert tiny.same(dict(state.net.state_dict()), dict(theirs.net.state_dict()))


class Two(nn.Module):
    """Two edges of two operations."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        for name in ("first", "second"):
            options = {"a": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 4, 1)}
            setattr(self, name, OneOf(options, name=name))
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, tiny.CLASSES)

    def forward(self, x):
        return self.head(
            self.norm(self.second(self.first(self.stem(x).relu()).relu())).mean((2, 3))
        )


def test_split_to_the_end_it_trains_every_network_alone():
    config = replace(QUICK, splits=2, transfer=False, leaf_epochs=2)
    space = space_of(Two())
    method, problem, state = start(config, space)
    for epoch, step in product(range(8), range(2)):
        method.step(state, problem, leaves_clock(8, epoch, step))
    other = tiny.problem(space)
    assert len(state.leaves.leaves) == 4
    for leaf in state.leaves.leaves:
        (arch,) = leaf.mask.space.enumerate()
        net = other.supernet()
        optimiser = config.weights.make(net.parameters())
        for epoch in range(2):
            for _ in range(2):
                loss = other.loss(net, Gates.of(space, arch), other.batch("train"))
                clock = Clock(epoch, 2, 0, 2)
                gradient_step(optimiser, list(net.parameters()), loss, config.weights, clock)
        alone = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        for name, tensor in leaf.tensors.items():
            assert torch.equal(tensor, alone[name]), name


# -- 7.7: the sampler ------------------------------------------------------------------------------


def test_paths_of_a_leaf_are_uniform():
    mask = SubspaceMask.of(SPACE).split(EDGE.name, [[o] for o in EDGE.options])[2]
    rng = np.random.default_rng(0)
    drawn = Counter(mask.sample(rng) for _ in range(31_250))
    assert all(arch in mask for arch in drawn)
    square = sum((n - 10) ** 2 / 10 for n in drawn.values()) + 10 * (3125 - len(drawn))
    assert chi2.sf(square, 3124) > 0.001


# -- 7: the analytic toy ---------------------------------------------------------------------------

TOY = SearchSpace("toy", [Choice(f"e{i}", tuple("abcd")) for i in range(4)])
ARCHS = TOY.enumerate()
FEATURES = np.array([TOY.encode(arch) for arch in ARCHS], np.float64)
POSITIONS = np.array([[c.index(arch.one(c.name)) for c in TOY.choices] for arch in ARCHS])


def scores(true: np.ndarray, leaves: list[SubspaceMask]) -> np.ndarray:
    """A least-squares additive fit over each leaf: what weight sharing can tell at best."""
    out = np.full(len(ARCHS), np.nan)
    for mask in leaves:
        inside = [i for i, arch in enumerate(ARCHS) if arch in mask]
        x = FEATURES[inside]
        out[inside] = x @ np.linalg.lstsq(x, true[inside], rcond=None)[0]
    return out


def test_a_split_of_an_interacting_edge_puts_the_order_right():
    """Card: one-shot tau 0.758 on average, 0.656 to 0.873; 1 after the split of edge 1."""
    root = SubspaceMask.of(TOY)
    single = [[o] for o in "abcd"]
    one, few, elsewhere = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        u, v = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
        true = u[np.arange(4), POSITIONS].sum(axis=1) + v[POSITIONS[:, 0], POSITIONS[:, 1]]
        one.append(kendall(scores(true, [root]), true))
        few.append(kendall(scores(true, root.split("e0", single)), true))
        elsewhere.append(kendall(scores(true, root.split("e3", single)), true))
    assert np.mean(one) == pytest.approx(0.758, abs=0.0005)
    assert (min(one), max(one)) == pytest.approx((0.656, 0.873), abs=0.0005)
    assert np.allclose(few, 1, atol=1e-9)
    assert np.allclose(elsewhere, one, atol=1e-12)


# -- the search as a whole -------------------------------------------------------------------------


def found(folder, config=QUICK, **changed):
    settings = tiny.changed(tiny.SETTINGS, **{"epochs": 1, **changed})
    return search(config, space=tiny.own(), data=tiny.images(), settings=settings, run=folder)


@pytest.mark.parametrize(
    "searcher",
    [
        "single-path",
        "darts",
        pytest.param("gdas", marks=pytest.mark.slow),
        pytest.param("snas", marks=pytest.mark.slow),
    ],
)
def test_an_interruption_within_a_leaf_costs_no_bit(searcher, tmp_path):
    config = altered_quick(leaf__searcher=searcher, leaf_epochs=2)
    whole = found(tmp_path / "whole", config)
    # 1 epoch of the supernet, 2 of the first leaf, and in the midst of the second leaf's second.
    with pytest.raises(KeyboardInterrupt):
        search(
            config,
            space=tiny.own(),
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, epochs=1),
            run=tmp_path / "cut",
            watcher=tiny.Stop(steps=2 * 4 + 1),
        )
    again = resume(tmp_path / "cut", space=tiny.own(), data=tiny.images())
    assert again.text == whole.text
    tiny.assert_same_run(again.run, whole.run)
    phases = [row["phase"] for row in whole.history]
    assert phases == ["supernet"] + ["leaves"] * 6 + ["selection"] * 3


def test_all_leaves_are_in_one_ranking_and_the_supernet_is_left_whole(tmp_path):
    result = found(tmp_path / "run", replace(QUICK, candidates=4))
    ranked = [c["leaf"] for c in result.candidates]
    assert len(result.candidates) == 10
    assert set(ranked) <= {1.0, 2.0, 3.0}
    values = [c["accuracy"] for c in result.candidates]
    assert values == sorted(values, reverse=True)
    assert result.candidates[0]["architecture"] == result.text
    state = tiny.state(result.run)["state"]
    root = state["leaves"]["root"]["tensors"]
    assert all(torch.equal(tensor, root[name]) for name, tensor in state["net"].items())


def test_whether_the_scores_order_anything_is_told_with_the_last_leaf():
    space = space_of(tiny.own())
    method, problem, state = start(replace(QUICK, candidates=6), space)
    state.evaluator = SupernetEvaluator(problem, norms="batch", examples=100, batch_size=25)
    method.step(state, problem, leaves_clock(3))
    told = [
        method.step(state, problem, Clock(epoch, 3, step, 6, "selection"))
        for epoch, step in product(range(3), range(6))
    ]
    assert [i for i, figures in enumerate(told) if "agreement" in figures] == [17]
    assert told[17]["evaluated"] == 18
    halves = np.array(list(state.ranking.halves.values()))
    assert told[17]["agreement"] == pytest.approx(spearmanr(*halves.T)[0])


def test_of_gradient_searches_the_leaf_of_the_least_validation_loss_decides(tmp_path):
    result = found(tmp_path / "run", altered_quick(leaf__searcher="darts", transfer=False))
    losses = [row["leaf_loss"] for row in result.history if row["phase"] == "selection"]
    assert len(losses) == 3
    best = result.candidates[0]
    assert best["leaf_loss"] == pytest.approx(min(losses))
    assert best["leaf"] == 1 + np.argmin(losses)
    chosen = space_of(tiny.own()).parse(result.text).one("block1")
    assert chosen == space_of(tiny.own()).choice("block1").options[int(best["leaf"]) - 1]


def test_limits_are_kept_by_paths_and_refused_to_gradients(tmp_path):
    limit = {"limit": "params<=0.0009M"}
    result = found(tmp_path / "run", **limit)
    assert result.candidates
    with pytest.raises(ConfigError, match="accepted under params"):
        found(tmp_path / "no", altered_quick(leaf__searcher="gdas"), **limit)
