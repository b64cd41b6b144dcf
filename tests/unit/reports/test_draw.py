"""Drawings of known cells, sign for sign."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen import spaces
from morphogen.reports.cells import picture
from morphogen.reports.draw import ASCII, draw

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"

DRAWN = """\
  (0)─── nor_conv_3x3 ──▶(1)─── nor_conv_1x1 ──▶(2)╌╌╌╌╌╌╌ none ╌╌╌╌╌╌╌(3)
   │                      │                      ▲                      ▲
   │                      └─── avg_pool_3x3 ─────┼──────────────────────┤
   ├─── nor_conv_3x3 ────────────────────────────┘                      │
   └─── skip_connect ───────────────────────────────────────────────────┘
  (0) input, (3) output; a node adds its edges up"""

DARTS_V2 = """\
  normal cell                             reduction cell
  0 1                                     0 1
  ├─┼─────── sep_conv_3x3 ─┐              ├─┼─────── max_pool_3x3 ─┐
  │ ├─────── sep_conv_3x3 ─┴─▶ 2          │ ├─────── max_pool_3x3 ─┴─▶ 2
  │ │ 2                                   │ │ 2
  ├─┼─┼───── sep_conv_3x3 ─┐              │ ├─┼───── max_pool_3x3 ─┐
  │ ├─┼───── sep_conv_3x3 ─┴─▶ 3          │ │ ├───── skip_connect ─┴─▶ 3
  │ │ │ 3                                 │ │ │ 3
  ├─┼─┼───── skip_connect ─┐              └─┼─┼───── max_pool_3x3 ─┐
  │ └─┼───── sep_conv_3x3 ─┴─▶ 4            │ ├───── skip_connect ─┴─▶ 4
  │   │   4                                 │ │   4
  └───┼───── skip_connect ─┐                └─┼───── max_pool_3x3 ─┐
      └───── dil_conv_3x3 ─┴─▶ 5              └───── skip_connect ─┴─▶ 5
  output: nodes 2 to 5, concatenated      output: nodes 2 to 5, concatenated"""


def test_nasbench201_cell():
    space = spaces.make("nasbench201")
    assert draw(space, space.parse(CELL)) == DRAWN


def test_darts_cells_stand_side_by_side_where_they_fit():
    space = spaces.make("darts")
    arch = space.parse("DARTS_V2")
    assert draw(space, arch) == DARTS_V2
    narrow = draw(space, arch, width=60).splitlines()
    assert len(narrow) == 2 * len(DARTS_V2.splitlines()) + 1


ONESHOT = "|conv3x3-bn-relu~0|maxpool3x3~0,1|conv1x1-bn-relu~0,2|conv3x3-bn-relu~1,3|output~0,3|"
ONESHOT_DRAWN = """\
  0      ─▶  conv3x3-bn-relu    ─▶ 1
  0 + 1  ─▶  maxpool3x3         ─▶ 2
  0 + 2  ─▶  conv1x1-bn-relu    ─▶ 3
  1 + 3  ─▶  [conv3x3-bn-relu]  ─▶ 4
  0 + 3  ─▶  concatenated       ─▶ output
  0 is the input, through a 1x1 convolution; to the output it is added
  [in brackets: what does not reach the output]"""


def test_a_cell_of_nasbench1shot1_is_a_line_per_node():
    space = spaces.make("nasbench1shot1-s1")
    assert draw(space, space.parse(ONESHOT)) == ONESHOT_DRAWN
    said = str(picture(space, space.parse(ONESHOT)))
    assert "node 2 takes 0 + 1 through maxpool3x3, node 3 takes 0 + 2" in said
    assert said.count("edge none") == 1


@pytest.mark.parametrize("name", spaces.registered())
def test_every_architecture_can_be_drawn_in_80_columns_and_in_ascii(name):
    space = spaces.make(name)
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = space.sample(rng)
        drawing = draw(space, arch)
        assert all(len(line) <= 80 for line in drawing.splitlines())
        assert drawing.translate(ASCII).isascii()
        for kept in arch.values():  # an edge of SNAS' cells that is none is left out
            assert all(o in drawing for o in kept if (name, o) != ("darts-snas", "none"))


def test_a_node_of_a_free_cell_has_as_many_inputs_as_it_keeps():
    space = spaces.make("darts-snas")
    arch = space.parse(
        "normal: skip_connect~0 dil_conv_3x3~1 | skip_connect~0 skip_connect~1 max_pool_3x3~2 | | "
        "sep_conv_3x3~4 ; reduce: | | | "
    )
    assert [line[:36].rstrip() for line in draw(space, arch).splitlines()[:12]] == [
        "  normal cell",
        "  0 1",
        "  ├─┼─────── skip_connect ─┐",
        "  │ ├─────── dil_conv_3x3 ─┴─▶ 2",
        "  │ │ 2",
        "  └─┼─┼───── skip_connect ─┐",
        "    └─┼───── skip_connect ─┤",
        "      └───── max_pool_3x3 ─┴─▶ 3",
        "        3",
        "          4",
        "          └─ sep_conv_3x3 ───▶ 5",
        "  output: nodes 2 to 5, concatenated",
    ]
    said = str(picture(space, arch))
    assert "node 5 takes sep_conv_3x3 of 4" in said
    assert "Reduction cell: nothing is kept." in said


def test_other_spaces_are_a_list_of_choices():
    space = spaces.make("nasbench-macro")
    lines = draw(space, space.parse("01222222")).splitlines()
    assert lines[1].split() == ["layer_1", "identity"]
    assert len(lines) == 9
