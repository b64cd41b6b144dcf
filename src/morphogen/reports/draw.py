"""Drawings of architectures in box characters, for a terminal of 80 columns.

A NAS-Bench-201 cell is a line of nodes with the longer edges below it; a DARTS cell is drawn as
rails, one per node, that the kept operations tap; a NAS-Bench-1Shot1 cell is a line per node; any
other architecture is a list of its choices.
"""

from __future__ import annotations

from itertools import zip_longest
from textwrap import wrap
from typing import cast

from morphogen.core import Architecture
from morphogen.core.text import columns
from morphogen.spaces import SearchSpace, about
from morphogen.spaces.darts_cells import CELLS, DARTSCells
from morphogen.spaces.nasbench1shot1 import (
    NASBench1Shot1,
    nodes_in_use,
    operation_name,
    topology,
)
from morphogen.spaces.nasbench201 import EDGES, edge_name
from morphogen.spaces.registry import Drawing

ASCII = str.maketrans(
    {"─": "-", "│": "|", "├": "+", "┼": "+", "└": "`", "┴": "+", "┘": "'", "┤": "+", "┐": "."}
    | {"▶": ">", "▲": "^", "╌": ".", "╎": ":"}
)
"""For `str.translate`: the drawings where only ASCII can be shown."""


def draw(space: SearchSpace, arch: Architecture, *, width: int = 80) -> str:
    """The drawing of an architecture, in lines of at most `width` columns where it can be.

    Args:
        space: the architecture's space, which decides the kind of drawing.
        arch: what is drawn.
        width: columns; two DARTS cells stand side by side if they fit.
    """
    arch = space.check(arch)
    drawing = drawing_of(space)
    if drawing == "cell-edges":
        return _line(arch)
    if drawing == "cell-pair":
        return _rails(cast(DARTSCells, space), arch, width)
    if drawing == "cell-nodes":
        return _nodes(cast(NASBench1Shot1, space), arch)
    left = max(map(len, arch)) + 4
    rows = []
    for name, kept in arch.items():
        lines = wrap(" + ".join(kept) or "(dropped)", max(width - left, 20), break_long_words=False)
        rows += [[name if i == 0 else "", line] for i, line in enumerate(lines)]
    return columns(["choice", "kept"], rows, left=2)


def drawing_of(space: SearchSpace) -> Drawing:
    """How the architectures of a space are drawn, as its registration says."""
    known = about(space)
    return known.drawing if known else "choices"


def _nodes(space: NASBench1Shot1, arch: Architecture) -> str:
    """A line per node: what it adds up and what it does; loose ends are in brackets."""
    live = nodes_in_use(arch)
    rows = []
    for node, sources in enumerate(topology(arch), start=1):
        inputs = " + ".join(map(str, sources))
        if node > space.nodes:
            rows.append([inputs, "─▶", "concatenated", "─▶ output"])
        else:
            name = arch.one(operation_name(node))
            used = node in live
            rows.append([inputs, "─▶", name if used else f"[{name}]", f"─▶ {node}"])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        "  ".join(text.ljust(w) for text, w in zip(row, [*widths, 0], strict=True)) for row in rows
    ]
    notes = ["0 is the input, through a 1x1 convolution; to the output it is added"]
    if len(live) < space.nodes:
        notes.append("[in brackets: what does not reach the output]")
    return "\n".join("  " + line for line in [*lines, *notes])


def _line(arch: Architecture) -> str:
    """Nodes 0 to 3 on a line, edges between neighbours on it, the three longer ones below.

    An edge whose operation is `none` is dashed, and has no arrow: nothing flows.
    """
    operation = {edge: arch.one(edge_name(*edge)) for edge in EDGES}
    step = max(map(len, operation.values())) + 11
    line, column = "", {}
    for node in range(4):
        line = line.ljust(node * step)
        column[node] = len(line) + 1
        line += f"({node})"
        if node < 3:
            line += _edge(operation[node, node + 1], step - 3)
    below = [(1, 3), (0, 2), (0, 3)]
    grid = [[" "] * (column[3] + 1) for _ in range(len(below) + 1)]
    for row, (source, target) in enumerate(below, start=1):
        # The label stands in the first gap, where no vertical line cuts through it.
        rest = "╌" if operation[source, target] == "none" else "─"
        label = _edge(operation[source, target], step, arrow=False)
        label = label.ljust(column[target] - column[source], rest)
        for x, sign in enumerate(label, start=column[source]):
            if sign != " ":
                grid[row][x] = _over(grid[row][x], sign)
        for above in range(row):
            for x in (column[source], column[target]):
                live = operation[source, target] != "none"
                grid[above][x] = _join(grid[above][x], x == column[target], above, live)
        grid[row][column[source]] = "└"
        grid[row][column[target]] = "┘"
    lines = [line, *("".join(g) for g in grid), "(0) input, (3) output; a node adds its edges up"]
    return "\n".join("  " + text.rstrip() for text in lines)


def _edge(operation: str, length: int, *, arrow: bool = True) -> str:
    """`length` signs of an edge with its operation in the middle."""
    sign = "╌" if operation == "none" else "─"
    tip = "▶" if arrow and operation != "none" else sign
    return f" {operation} ".center(length - 1, sign) + tip


def _over(under: str, sign: str) -> str:
    """A horizontal sign laid over what is there."""
    return "┼" if under in "│╎" and sign in "─╌" else sign


def _join(there: str, is_target: bool, row: int, live: bool) -> str:
    """A vertical line through what is there: an arrow's tip in the first row below the nodes."""
    if row == 0 and is_target and live:
        return "▲"
    if there in "─╌┼":
        return "┼"
    if there == "└":
        return "├"
    if there == "┘":
        return "┤"
    return there if there in "▲│" else "│" if live else "╎"


def _rails(space: DARTSCells, arch: Architecture, width: int) -> str:
    left, right = (_cell(space, arch, cell) for cell in CELLS)
    gap = max(map(len, left)) + 4
    if gap + max(map(len, right)) > width:
        return "\n".join([*left, "", *right])
    rows = zip_longest(left, right, fillvalue="")
    return "\n".join((a.ljust(gap) + b).rstrip() for a, b in rows)


def _cell(space: DARTSCells, arch: Architecture, cell: str) -> list[str]:
    """One rail per node, from where it is made to where it is last used; edges tap the rails."""
    taps = [
        (target, source, option)
        for target in space.nodes
        for option, source in space.kept(arch, cell, target)
    ]
    first, end = space.nodes[0], space.nodes[-1]
    last = {source: i for i, (_, source, _) in enumerate(taps)}
    rails = 2 * end
    widest = max((len(option) for *_, option in taps), default=0)
    title = {"normal": "normal cell", "reduce": "reduction cell"}[cell]
    lines = [f"  {title}", "  " + " ".join(map(str, range(first)))]
    for i, (target, source, option) in enumerate(taps):
        for made in range(taps[i - 1][0] if i else first, target):  # its rail begins
            down = ["│" if i <= last.get(node, -1) else " " for node in range(made)]
            lines.append(f"  {' '.join(down)} {made}")
        text = ""
        for node in range(end):
            runs = node < target and i <= last.get(node, -1)
            if node < source:
                text += "│ " if runs else "  "
            elif node == source:
                text += "├─" if i < last[node] else "└─"
            else:
                text += "┼─" if runs else "──"
        before = i > 0 and taps[i - 1][0] == target
        after = i + 1 < len(taps) and taps[i + 1][0] == target
        joint = ("─┤" if before else "─┐") if after else f"─{'┴' if before else '─'}─▶ {target}"
        lines.append(f"  {text} {option} ".ljust(rails + widest + 4, "─") + joint)
    return [*lines, f"  output: nodes {first} to {end}, {space.output}"]
