"""Shares of nodes against sums by hand, and what pruning leaves of a space."""

from __future__ import annotations

import torch

from morphogen import spaces
from morphogen.bilevel.gates import carrying, derive_live, least_live
from morphogen.bilevel.nodes import Nodes, flat

SPACE = spaces.make("nasbench201")
TARGETS = {int(c.name[-1]) for c in SPACE.choices}


def test_shares_are_of_all_edges_into_a_node():
    weights = torch.rand(6, 5)
    p = Nodes(SPACE).shares([weights]).reshape(6, 5)
    for target in TARGETS:
        rows = [i for i, c in enumerate(SPACE.choices) if int(c.name[-1]) == target]
        assert torch.allclose(p[rows], weights[rows] / weights[rows].sum())


def test_a_node_without_gates_has_no_shares():
    assert Nodes(SPACE).shares([torch.zeros(6, 5)]).tolist() == [0.0] * 30


def test_rows_and_matrices_are_the_same_numbers():
    space = spaces.make("nasbench1shot1-s1")
    matrices = [torch.rand(mask.shape) for mask in space.masks.values()]
    nodes = Nodes(space)
    again = nodes.matrices(flat(matrices))
    assert all(torch.equal(a, b) for a, b in zip(matrices, again, strict=True))
    for (group, row, column), number in zip(nodes.places, flat(matrices).tolist(), strict=True):
        assert matrices[group][row, column] == number


def test_an_edge_of_which_all_is_pruned_is_none_and_the_best_of_several_stays():
    (live,) = carrying(SPACE)
    none = SPACE.choices[0].index("none")
    assert not live[:, none].any()
    assert live.sum() == 24
    assert [least_live(c) for c in SPACE.choices] == [0] * 6
    scores = torch.full((6, 5), 0.2)
    scores[1, 2] = 0.3
    scores[2, 4], live[2, 4] = 0.9, False  # pruned, whatever its score
    scores[2, 3] = 0.4
    live[0] = False
    arch = derive_live(SPACE, [live], [scores])
    kept = [arch.one(c.name) for c in SPACE.choices]
    options = SPACE.choices[0].options
    assert kept[:3] == ["none", options[2], options[3]]
    live[:] = False
    live[:, 3] = True
    arch = derive_live(SPACE, [live], [scores])
    assert {arch.one(c.name) for c in SPACE.choices} == {options[3]}
