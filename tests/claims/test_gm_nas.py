"""GM-NAS does what its card says (specs/gm-nas.md, section 7; arXiv 2203.15207).

The distance, the planted problem, twin operations, excluded edges and probes without side effects
(7.1, 7.2, 7.5 to 7.7) are in tests/unit/bilevel/test_gradient_probe.py; the example of the figure
and the partition by brute force (7.3, 7.4) in tests/unit/core/test_partition.py; masks as sets and
connected cells (7.8, 7.11) in tests/unit/spaces/test_mask.py; what optimisers inherit (7.10) in
tests/unit/bilevel/test_leaves.py.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

import tiny
from morphogen import spaces
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.hypergradient import unrolled
from morphogen.core import ConfigError
from morphogen.core.config import altered
from morphogen.core.partition import balanced_groups
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.timetable import timetable
from morphogen.methods.gm_nas import GMNAS
from morphogen.spaces import SubspaceMask
from morphogen.supernets import Gates, build, space_of
from morphogen.supernets.gates import live_masks
from morphogen.tasks.problem import Clock

QUICK = replace(tiny.config("gm-nas"), splits=2)
SPACE = spaces.make("nasbench201")


def run(config=QUICK, space=SPACE, epochs=1, until=None, **spec):
    """All phases up to one, without the engine; and what each step told."""
    problem = tiny.problem(space, **spec)
    method = GMNAS(config)
    plan = timetable(method, problem, epochs, 1)
    state, told, place = method.init(problem), [], 0
    while place < len(plan) and plan[place].phase != until:
        clock = plan[place]
        for step in range(clock.steps):
            clock = replace(clock, step=step)
            told.append((clock, method.step(state, problem, clock)))
        place = plan.after(place, ended=method.ended(state, clock))
    return method, problem, state, told


@pytest.fixture(scope="module")
def searched():
    """A search with two levels of splits, up to the candidates."""
    return run(until="selection")


# -- 7.8: the tree of masks ------------------------------------------------------------------------


def test_the_leaves_are_disjoint_and_make_up_the_space(searched):
    _, problem, state, _ = searched
    masks = [leaf.mask for leaf in state.leaves.leaves]
    assert len(masks) == 4
    assert sum(mask.count() for mask in masks) == 15625
    assert not any((one & two).count() for one, two in combinations(masks, 2))
    assert [len(split["chosen"]["groups"]) for split in state.tree] == [2, 2, 2]
    first, *deep = state.tree
    sizes = sorted(len(group) for group in first["chosen"]["groups"])
    assert sizes == [2, 3]
    for split in deep:  # of another edge, and of a part of the first split
        assert split["chosen"]["choice"] != first["chosen"]["choice"]
        assert split["allowed"][first["chosen"]["choice"]] in first["chosen"]["groups"]
        assert len(split["scores"]) == 5
    for leaf in state.leaves.leaves:
        theta = softmax_gates(problem.space, leaf.alphas, leaf.option_masks).weights["cell"]
        inside = leaf.option_masks[0]
        assert (theta[~inside] == 0).all()
        torch.testing.assert_close(theta.sum(dim=1), torch.ones(6))
        for _ in range(20):
            arch = leaf.mask.sample(problem.numpy_rng, problem.space.connected)
            assert arch in leaf.mask
            assert problem.space.connected(arch)


def test_a_split_costs_repeats_times_edges_times_operations(searched):
    """7, real-data run (a): with 20 repeats 20 x 6 x 5 = 600 at the root; here 1, then 5 edges."""
    _, _, state, told = searched
    passes = [figures["passes"] for _, figures in told if "passes" in figures]
    assert passes == [6 * 5, (6 + 5) * 5, (6 + 5 + 5) * 5]
    assert state.passes == passes[-1]


@pytest.mark.parametrize(
    ("rule", "measure", "best"), [("max-cut", "cut", max), ("min-within", "within", min)]
)
def test_the_edge_is_chosen_by_its_rule(rule, measure, best):
    _, _, state, _ = run(replace(QUICK, splits=1, edge_rule=rule), until="leaves")
    (split,) = state.tree
    values = [score[measure] for score in split["scores"]]
    assert len(values) == 6
    assert split["chosen"][measure] == best(values)


def test_random_splits_are_balanced_and_probe_nothing():
    _, problem, state, _ = run(replace(QUICK, criterion="random"), until="leaves")
    assert state.passes == 0
    assert problem.seen["train"] == 16 * 3  # one epoch of a step for each of three parts
    options = SPACE.choices[0].options
    every = [{frozenset(options[i] for i in g) for g in groups} for groups in balanced_groups(5, 2)]
    for split in state.tree:
        assert {frozenset(group) for group in split["chosen"]["groups"]} in every
    assert len(state.leaves.leaves) == 4


# -- 7.9: masked alphas ----------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.01, None])
def test_the_unrolled_step_of_a_leaf_is_that_of_a_network_without_the_options(radius):
    problem = tiny.problem(SPACE, channels=2)
    net = problem.supernet().double()
    edges = {
        SPACE.choices[0].name: SPACE.choices[0].options[1:4],
        SPACE.choices[4].name: ["nor_conv_3x3", "none"],
    }
    mask = SubspaceMask.of(SPACE, edges)
    dense = build(mask.space, problem.spec).double()
    held = net.state_dict()
    dense.load_state_dict({name: held[name] for name in dense.state_dict()})
    generator = torch.Generator().manual_seed(1)
    wide = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    narrow = torch.zeros(6, 5, dtype=torch.float64)
    columns = [[c.index(o) for o in mask.allowed[c.name]] for c in SPACE.choices]
    for row, some in enumerate(columns):
        narrow[row, : len(some)] = wide[row, some]
    batches = [b._replace(x=b.x.double()) for b in (problem.batch("train"), problem.batch("valid"))]
    live = live_masks(SPACE, mask.allowed)
    found = []
    for space, which, alphas in ((SPACE, net, wide), (mask.space, dense, narrow)):
        problem.space = space

        def gates(tensors, space=space):
            return softmax_gates(space, tensors, live if space is SPACE else None)

        weights = [p for p in which.parameters() if p.requires_grad]
        losses = [problem.bilevel_loss(which, gates, batch) for batch in batches]
        gradient = unrolled(
            *losses,
            weights,
            [alphas.requires_grad_()],
            lr=0.025,
            momentum=0.9,
            weight_decay=3e-4,
            radius=radius,
        )
        found.append(gradient.total[0])
    for row, some in enumerate(columns):
        torch.testing.assert_close(
            found[0][row, some], found[1][row, : len(some)], atol=1e-6, rtol=0
        )
        assert (found[0][row, [i for i in range(5) if i not in some]] == 0).all()
    assert float(found[0].abs().max()) > 1e-3


# -- 7.10: what parts begin with -------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["none", "final", "all"])
def test_parts_inherit_or_begin_anew(restart):
    config = altered(replace(QUICK, splits=1, restart=restart), {"leaf.searcher": "darts"})
    _, problem, state, _ = run(config, space_of(tiny.own()), epochs=2, until="leaves")
    begun = dict(problem.supernet().named_parameters())
    root = state.leaves.root
    batch = problem.batch("valid")
    for leaf in state.leaves.leaves:
        arch = leaf.mask.sample(np.random.default_rng(0))
        gates = Gates.of(problem.space, arch)
        with torch.no_grad():
            losses = [
                problem.loss(state.leaves.attach(x).net.eval(), gates, batch) for x in (root, leaf)
            ]
        same = [torch.equal(t, begun[n]) for n, t in leaf.tensors.items() if n in begun]
        if restart == "none":
            assert torch.equal(*losses)
            assert leaf.weight_optimiser.state
            assert torch.equal(leaf.alphas[0], root.alphas[0])
        else:
            assert not torch.equal(*losses)
            assert all(same)
            assert not leaf.weight_optimiser.state
            assert not torch.equal(leaf.alphas[0], root.alphas[0])


def test_alphas_are_frozen_until_the_last_split_and_schedules_fit():
    config = altered(
        replace(QUICK, splits=2, leaf_epochs=2), {"leaf.searcher": "darts", "leaf.alpha.lr": 0.1}
    )
    _, _, state, told = run(config, space_of(tiny.own()), epochs=2, until="leaves")
    assert not state.leaves.root.alpha_optimiser.state
    assert all("valid_loss" not in figures for _, figures in told)
    rates = [g["lr"] for g in state.leaves.root.weight_optimiser.param_groups]
    along = Clock(1, 2 * 2 + 2, 0, 1)  # the last epoch before the first split, of all there are
    assert rates == [config.weights.at(along)]
    _, _, state, _ = run(config, space_of(tiny.own()), epochs=2, until="selection")
    for leaf in state.leaves.leaves:
        assert leaf.weight_optimiser.param_groups[0]["lr"] == config.weights.at(Clock(1, 2, 0, 1))
        assert any(float(a.detach().abs().max()) > 0.05 for a in leaf.alphas)


# -- the search as a whole -------------------------------------------------------------------------


def test_where_edges_run_out_there_are_fewer_parts():
    """Of edges of 3, 3 and 2 operations, two can be split in groups of three."""
    config = replace(QUICK, splits=3, groups=3, criterion="random")
    method, problem, state, told = run(config, space_of(tiny.own()))
    assert len(state.leaves.leaves) == 9
    planned = {p.name: p.epochs for p in method.phases(problem, 1)}
    assert planned["leaves"] == 27
    turns = [clock.epoch for clock, _ in told if clock.phase == "leaves"]
    assert sorted(set(turns)) == list(range(9))
    assert method.derive(state, problem.space) is not None


@pytest.mark.parametrize("searcher", ["single-path", "darts"])
def test_an_interruption_within_a_split_or_a_leaf_costs_no_bit(searcher, tmp_path):
    config = altered(QUICK, {"leaf.searcher": searcher})
    kinds = {"space": tiny.own(), "data": tiny.images()}
    settings = tiny.changed(tiny.SETTINGS, epochs=1)
    whole = search(config, settings=settings, run=tmp_path / "whole", **kinds)
    steps = {"supernet": 2, "level-1": 4, "split-1": 3, "split-2": 6, "leaves": 8}
    at = {"split": 2 + 3 + 4 + 4, "leaf": 2 + 3 + 4 + 6 + 3}  # in the second part's second edge
    assert sum(row["phase"] in steps for row in whole.history) == 1 + 1 + 2 + 2 + 4
    for where, after in at.items():
        with pytest.raises(KeyboardInterrupt):
            search(
                config,
                settings=settings,
                run=tmp_path / where,
                watcher=tiny.Stop(steps=after),
                **kinds,
            )
        again = resume(tmp_path / where, **kinds)
        tiny.assert_same_run(again.run, whole.run)


def test_what_cannot_be_split_is_refused():
    problem = tiny.problem(SPACE)
    for config, says in (
        (replace(QUICK, groups=6), "accepted in space 'nasbench201'"),
        (replace(QUICK, group="normal"), "accepted in space 'nasbench201': cell"),
    ):
        with pytest.raises(ConfigError, match=says):
            GMNAS(config).phases(problem, 1)
