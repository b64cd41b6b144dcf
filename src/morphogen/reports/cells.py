"""Architectures as SVG: cells as graphs or rails, layers as a row, anything else as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from morphogen.core import Architecture, Choice
from morphogen.reports.charts import drawing
from morphogen.reports.draw import drawing_of
from morphogen.reports.html import Html, el, join, table
from morphogen.spaces import SearchSpace
from morphogen.spaces.darts_cells import CELLS, DARTSCells
from morphogen.spaces.nasbench1shot1 import (
    NASBench1Shot1,
    nodes_in_use,
    operation_name,
    topology,
)
from morphogen.spaces.nasbench201 import EDGES, edge_name
from morphogen.spaces.registry import Drawing


def picture(space: SearchSpace, arch: Architecture) -> Html:
    """The drawing of an architecture, with a text that says the same."""
    arch = space.check(arch)
    return _DRAWN[drawing_of(space)](space, arch)


def _pair(space: DARTSCells, arch: Architecture) -> Html:
    return el("div", {"class": "pair"}, *(_rails(space, arch, cell) for cell in CELLS))


def choices_table(arch: Architecture) -> Html:
    """What each choice keeps."""
    rows = [[name, " + ".join(kept) or "(dropped)"] for name, kept in arch.items()]
    return table("What each choice keeps", ["choice", "kept"], rows)


def kind(operation: str) -> str:
    """The class of an operation's line: what it costs decides how heavy it is drawn."""
    for start, name in (
        ("none", "none"),
        ("skip", "skip"),
        ("identity", "skip"),
        ("noise", "none"),
        ("relu", "pool"),
        ("tanh", "pool"),
    ):
        if operation.startswith(start):
            return name
    return "pool" if "pool" in operation else "conv"


# -- NAS-Bench-201: four nodes on a line, longer edges as arcs -------------------------------------

_X = (34.0, 152.0, 270.0, 388.0)
_Y = 150.0
_ARCS = {(0, 2): -66.0, (1, 3): 58.0, (0, 3): -126.0}
"""Height of the longer edges over the line of nodes; below it if positive."""


def _graph(space: SearchSpace, arch: Architecture) -> Html:
    parts = []
    for source, target in EDGES:
        operation = arch.one(edge_name(source, target))
        parts.append(_edge(source, target, operation))
    for node, x in enumerate(_X):
        parts.append(el("circle", {"class": "node", "cx": x, "cy": _Y, "r": 15}))
        parts.append(el("text", {"x": x, "y": _Y + 4.5, "class": "mid"}, str(node)))
    said = ", ".join(f"{s} to {t} {arch.one(edge_name(s, t))}" for s, t in EDGES)
    parts.append(el("text", {"x": _X[0], "y": _Y + 32, "class": "mid note"}, "input"))
    parts.append(el("text", {"x": _X[3] + 21, "y": _Y + 4.5, "class": "note"}, "output"))
    return drawing(
        f"The cell, a graph of four nodes: {said}.", parts, size=(460, 232), look="graph"
    )


def _edge(source: int, target: int, operation: str) -> Html:
    start, end = _X[source], _X[target]
    height = _ARCS.get((source, target), 0.0)
    name = kind(operation)
    if not height:
        d = f"M{start + 16:g} {_Y:g}H{end - 22:g}"
        tip = f"M{end - 16:g} {_Y:g}l-9 -4.5v9z"
        label = _Y - 21
    else:
        sign = 1 if height > 0 else -1
        drop = _Y + sign * 15
        lift = 26.0
        level = _Y + height
        d = (
            f"M{start:g} {drop:g}"
            f"C{start:g} {level:g} {start:g} {level:g} {start + lift:g} {level:g}"
            f"H{end - lift:g}C{end:g} {level:g} {end:g} {level:g} {end:g} {drop + sign * 7:g}"
        )
        tip = f"M{end:g} {drop:g}l-4.5 {sign * 9:g}h9z"
        label = level - 6 if height < 0 else level + 15
    return join(
        [
            el("path", {"class": f"edge {name}", "d": d}),
            el("path", {"class": f"tip {name}", "d": tip}) if name != "none" else None,
            el("text", {"x": (start + end) / 2, "y": label, "class": f"mid op {name}"}, operation),
        ]
    )


# -- DARTS: a rail per node, from which the kept operations are tapped -----------------------------

_RAIL, _STEP, _PILL = 30.0, 27.0, 112.0


def _rails(space: DARTSCells, arch: Architecture, cell: str) -> Html:
    taps = [
        (target, source, option)
        for target in space.nodes
        for option, source in space.kept(arch, cell, target)
    ]
    first, last = space.nodes[0], space.nodes[-1]
    title = {"normal": "Normal cell", "reduce": "Reduction cell"}[cell]
    top = 48.0
    row = {i: top + _STEP * i + 8 * (target - first) for i, (target, _, _) in enumerate(taps)}
    right = 20.0 + _RAIL * (last + 1)
    parts = [el("text", {"x": 0, "y": 14, "class": "panel"}, title)]
    for node in range(last):
        used = [i for i, (_, source, _) in enumerate(taps) if source == node]
        if node >= first and not used:
            continue
        made = [i for i, (target, _, _) in enumerate(taps) if target == node]
        begin = row[made[-1]] + 14 if made else 36.0
        x = 20 + _RAIL * node
        if used:
            line = {"class": "rail", "x1": x, "y1": begin, "x2": x, "y2": row[used[-1]]}
            parts.append(el("line", line))
        parts.append(_node(x, begin, str(node)))
    for i, (target, source, option) in enumerate(taps):
        parts.append(_tap(20 + _RAIL * source, row[i], right, option, kind(option)))
        if i + 1 == len(taps) or taps[i + 1][0] != target:
            upper = min(row[j] for j, tap in enumerate(taps) if tap[0] == target)
            parts.append(_sum(right + _PILL, upper, row[i], str(target)))
    said = ", ".join(f"node {t} takes {o} of {s}" for t, s, o in taps) or "nothing is kept"
    low = row.get(len(taps) - 1, top) + 30
    note = f"output: nodes {first} to {last}, {space.output}"
    parts.append(el("text", {"x": 0, "y": low, "class": "note"}, note))
    return drawing(f"{title}: {said}.", parts, size=(340, low + 8))


def _tap(x: float, y: float, right: float, option: str, name: str) -> Html:
    return join(
        [
            el("line", {"class": f"edge {name}", "x1": x, "y1": y, "x2": right, "y2": y}),
            el("circle", {"class": "joint", "cx": x, "cy": y, "r": 3}),
            el(
                "rect",
                {"class": f"pill {name}", "x": right, "y": y - 10, "width": _PILL, "height": 20}
                | {"rx": 10},
            ),
            el("text", {"x": right + _PILL / 2, "y": y + 4, "class": "mid"}, option),
        ]
    )


def _sum(x: float, first: float, second: float, node: str) -> Html:
    """Operations added up to a node, from the first to the last."""
    middle = (first + second) / 2
    d = f"M{x:g} {first:g}h10V{second:g}h-10M{x + 10:g} {middle:g}h8"
    return join([el("path", {"class": "rail", "d": d}), _node(x + 28, middle, node)])


def _node(x: float, y: float, name: str) -> Html:
    return join(
        [
            el("circle", {"class": "node", "cx": x, "cy": y, "r": 10}),
            el("text", {"x": x, "y": y + 4, "class": "mid"}, name),
        ]
    )


# -- NAS-Bench-1Shot1: a rail per vertex, from which a node's inputs are tapped --------------------


def _nodes(space: NASBench1Shot1, arch: Architecture) -> Html:
    inputs, live = topology(arch), nodes_in_use(arch)
    row = [48.0 + 36 * i for i in range(len(inputs))]
    right = 20.0 + _RAIL * len(inputs)
    parts, said = [], []
    for vertex in range(len(inputs)):
        used = [i for i, sources in enumerate(inputs) if vertex in sources]
        x, begin = 20 + _RAIL * vertex, row[vertex - 1] + 16 if vertex else 30.0
        if used:
            line = {"class": "rail", "x1": x, "y1": begin, "x2": x, "y2": row[used[-1]]}
            parts.append(el("line", line))
        parts.append(_node(x, begin, str(vertex)))
    for i, sources in enumerate(inputs):
        node = i + 1
        label = arch.one(operation_name(node)) if node <= space.nodes else "concatenated"
        drawn = label if node in live or node > space.nodes else "none"
        parts.append(_tap(20 + _RAIL * sources[0], row[i], right, label, kind(drawn)))
        for source in sources[1:]:
            at = {"cx": 20 + _RAIL * source, "cy": row[i]}
            parts.append(el("circle", {"class": "joint", **at, "r": 3}))
        place = {"x": right + _PILL + 10, "y": row[i] + 4, "class": "note"}
        parts.append(el("text", place, str(node) if node <= space.nodes else "output"))
        target = f"node {node}" if node <= space.nodes else "the output"
        said.append(f"{target} takes {' + '.join(map(str, sources))} through {label}")
    low = row[-1] + 30
    note = "0 is the input; a node adds its inputs up; dashed: does not reach the output"
    parts.append(el("text", {"x": 0, "y": low, "class": "note"}, note))
    return drawing(f"The cell: {', '.join(said)}.", parts, size=(460, low + 8), look="graph")


# -- spaces of layers: in rows, higher where they are heavier --------------------------------------

_IN_A_ROW = 10


def _height(choice: Choice, option: str) -> float:
    """Options that do nothing are low, the others rise in the order in which the space has them."""
    heavier = [o for o in choice.options if kind(o) not in ("skip", "none")]
    return 26 + (84 * (heavier.index(option) + 1) / len(heavier) if option in heavier else 0)


def _layers(space: SearchSpace, arch: Architecture) -> Html:
    parts = []
    for i, (layer, kept) in enumerate(arch.items()):
        row, column = divmod(i, _IN_A_ROW)
        base, x = 150.0 + 142 * row, 8.0 + 64 * column
        height = _height(space.choice(layer), kept[0])
        name = kind(kept[0])
        box = {"x": x, "y": base - height, "width": 58, "height": height, "rx": 5}
        parts.append(el("rect", {"class": f"pill {name}", **box}))
        for line, word in enumerate(reversed(kept[0].split("_"))):
            at = {"x": x + 29, "y": base - 9 - 14 * line, "class": "mid"}
            parts.append(el("text", at, word))
        parts.append(el("text", {"x": x + 29, "y": base + 16, "class": "mid note"}, str(i + 1)))
    last = 142 * ((len(arch) - 1) // _IN_A_ROW)
    parts.append(
        el("text", {"x": 8, "y": 184.0 + last, "class": "note"}, "layers, from input to output")
    )
    said = ", ".join(kept[0] for kept in arch.values())
    size = (10 + 64 * min(len(arch), _IN_A_ROW), 192 + last)
    return drawing(f"Layers from input to output: {said}.", parts, size=size, look="graph")


_DRAWN: Mapping[Drawing, Callable[[Any, Architecture], Html]] = {
    "cell-edges": _graph,
    "cell-pair": _pair,
    "cell-nodes": _nodes,
    "layers": _layers,
    "choices": lambda _, arch: choices_table(arch),
}
