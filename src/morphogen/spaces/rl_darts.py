"""The cells of RL-DARTS, for the image encoders of agents: one input, an edge from every node.

Miao, Song, Co-Reyes, Peng, Yue, Brevdo and Faust, AutoML-Conf 2022 (PMLR 188:20), arXiv 2106.02229;
sets of operations, cells and networks as in google/brain_autorl (rl_darts).

A cell has one input, node 0, and intermediate nodes 1 to I, each with an edge from every node
before it. A derived node keeps the two edges with the strongest operations, node 1 its only one;
`none` takes part in the softmax and is never kept. The rest is the DARTS space's: choices, notation
(`normal: conv_3x3~0 | relu~0 tanh~1 | ... ; reduce: ...`), the rule, drawings.

Two sets of operations. Micro has convolutions and nonlinearities as operations of their own, so
that a search composes them; Classic has what supervised searches have, a ReLU after each
convolution. Convolutions have a bias; nothing is normalised, unless `cell_norm` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from morphogen.core import Architecture, SpaceError, UnknownNameError
from morphogen.spaces.darts import DARTS
from morphogen.spaces.darts_cells import NOISE, Operations
from morphogen.spaces.genotype import Genotype
from morphogen.spaces.impala_cnn import EVALUATION, PROCGEN
from morphogen.spaces.registry import register

MICRO = ("conv_3x3", "relu", "tanh", "skip_connect", "none")
"""In the authors' order, which decides between equal scores (`DEFAULT_SEARCH_SPACE`)."""

CLASSIC = (
    "conv_3x3_relu",
    "dil_conv_3x3_relu",
    "conv_5x5_relu",
    "dil_conv_5x5_relu",
    "skip_connect",
    "none",
)
"""Likewise (`SL_CONV_3X3_5X5_RELU_SEARCH_SPACE`)."""

OPERATION_SETS = {"micro": MICRO, "classic": CLASSIC}

Output = Literal["concat", "sum", "average", "last"]
"""What becomes of a cell's nodes: a 1x1 convolution of all side by side, their sum, their mean, or
the last alone."""

OUTPUTS: dict[Output, str] = {
    "concat": "concatenated and convolved",
    "sum": "added up",
    "average": "averaged",
    "last": "of which the last is the cell's",
}

CellNorm = Literal["none", "batch_stats"]
"""After each node: nothing, or the batch's own mean and variance in training as in evaluation. With
the latter an agent that acts in small batches is another function than the one that is trained."""


@register(
    "rl-darts",
    supernet="morphogen.supernets.rl_darts",
    drawing="cell-pair",
    network={"channels": 16, "depth": 3},
    search=PROCGEN,
    evaluation=EVALUATION,
    quick={"network.channels": 8, "network.depth": 3},
    quick_search={"network.channels": 8, "network.depth": 3},
    reference="blocks=2",
    reference_space="impala-cnn",
    reference_name="IMPALA-CNN",
    reference_reason="the residual encoder made by hand with which RL-DARTS compares its cells",
)
class RLDARTS(DARTS):
    """Encoders of agents: cells of one input, convolutions and nonlinearities apart (Micro).

    Args:
        name: how the command line and the run directory call the space.
        operations: micro, classic, or the options of every edge, or of each, as for `DARTS`.
        nodes: I.
        stages: of the network: channels of each as a multiple of C.
        normals: normal cells after the reduction cell of each stage.
        output: what becomes of a cell's nodes.
        cell_norm: after each node.
        initial: whether a 3x3 convolution to the first stage's channels stands before the cells.
        side: pixels along a side of the observations for which the head is made. Features of other
            ones are pooled to as many as these have.

    Raises:
        SpaceError: a number is out of range, or an operation is not known.
    """

    published: ClassVar[Mapping[str, Genotype]] = {}

    def __init__(
        self,
        name: str = "rl-darts",
        operations: str | Operations = "micro",
        *,
        nodes: int = 4,
        stages: Sequence[int] = (1, 2, 2),
        normals: int = 2,
        output: Output = "concat",
        cell_norm: CellNorm = "none",
        initial: bool = True,
        side: int = 64,
    ) -> None:
        for field, value, least, most in (
            ("nodes", nodes, 1, 16),
            ("stages", len(stages), 1, 16),
            ("normals", normals, 0, 16),
            ("side", side, 1, 1024),
            *(("an entry of stages", multiple, 1, 64) for multiple in stages),
        ):
            if not least <= value <= most:
                raise SpaceError(f"space {name!r}: {field} is {value}; accepted: {least} to {most}")
        for field, chosen, known in (
            ("output", output, get_args(Output)),
            ("cell_norm", cell_norm, get_args(CellNorm)),
        ):
            if chosen not in known:
                raise UnknownNameError(f"{field} of space {name!r}", chosen, known)
        if isinstance(operations, str):
            if operations not in OPERATION_SETS:
                raise UnknownNameError(f"operations of space {name!r}", operations, OPERATION_SETS)
            operations = OPERATION_SETS[operations]
        self.stages, self.normals = tuple(stages), normals
        self.output_mode, self.cell_norm = output, cell_norm
        self.output = OUTPUTS[output]
        self.initial, self.side = initial, side
        super().__init__(name, operations, inputs=1, nodes=nodes)
        known_operations = (*MICRO, *CLASSIC, NOISE)
        odd = [o for o in self.operations if o not in known_operations]
        if odd:
            raise UnknownNameError(f"operation of space {name!r}", odd[0], known_operations)

    def network_sizes(self) -> dict[str, Any]:
        """The number of stages."""
        return {"depth": len(self.stages)}

    def arguments(self) -> dict[str, Any]:
        """The options of each edge, and what else the constructor takes."""
        return {
            "operations": super().arguments()["operations"],
            "nodes": len(self.nodes),
            "stages": list(self.stages),
            "normals": self.normals,
            "output": self.output_mode,
            "cell_norm": self.cell_norm,
            "initial": self.initial,
            "side": self.side,
        }

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """What is the matter with the cells: an input that is not seen, nothing but skips."""
        # A cell of nonlinearities alone is what searches do find: a stage has convolutions anyhow.
        return tuple(r for r in super().remarks(arch) if "no convolution" not in r)


@register(
    "rl-darts-classic",
    like="rl-darts",
    reference="blocks=2",
    reference_space="impala-cnn",
    reference_name="IMPALA-CNN",
    reference_reason="the residual encoder made by hand with which RL-DARTS compares its cells",
)
def classic() -> RLDARTS:
    """Encoders of agents: cells of one input, a ReLU after each convolution (Classic)."""
    return RLDARTS("rl-darts-classic", "classic")


@register(
    "rl-darts-minatar",
    family="rl-darts",
    supernet="morphogen.supernets.rl_darts",
    drawing="cell-pair",
    network={"channels": 16, "depth": 2},
    quick={"network.channels": 16, "network.depth": 2},
    quick_search={"network.channels": 16, "network.depth": 2},
    reference="blocks=2",
    reference_space="impala-cnn-minatar",
    reference_name="IMPALA-CNN",
    reference_reason="the residual encoder made by hand with which RL-DARTS compares its cells, in "
    "two stages",
)
def minatar() -> RLDARTS:
    """Encoders of agents that see 10 x 10 pixels: three nodes, two stages of two cells (Micro)."""
    return RLDARTS("rl-darts-minatar", nodes=3, stages=(1, 1), normals=1, side=10)
