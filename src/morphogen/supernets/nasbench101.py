"""The networks of NAS-Bench-101: three stacks of one cell, its output width shared by vertices.

Ying et al., ICML 2019, arXiv 1902.09635. A 3x3 convolution to C channels (C = 128 in the table),
then three stacks of cells (three cells each) of C, 2C and 4C channels; between stacks a 2x2 max
pool halves the image; then global average pool and a linear classifier. The sizes are those that
give the trainable parameters of the table.

Batch norms have torch's momentum of 0.1. The table's networks were trained for 108 epochs with
running averages of decay 0.997 (0.003 in torch's terms), which need thousands of steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import ConfigError
from morphogen.spaces.nasbench101 import Cell, Rows
from morphogen.supernets import fused
from morphogen.supernets.base import NetworkSpec

STACKS = 3


class ConvBNReLU(nn.Sequential):
    """Convolution without bias that keeps the image's size, batch norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
        )


def operation(name: str, channels: int) -> nn.Module:
    """The module of an operation; it keeps channels and size."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return ConvBNReLU(channels, channels, {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}[name])


def vertex_widths(rows: Rows, output: int) -> list[int]:
    """Channels of the vertices between input and output.

    The output's channels are shared equally by the vertices that feed it, the first ones taking one
    more where it does not divide; any other vertex is as wide as its widest successor.

    Args:
        rows: adjacency of a pruned cell.
        output: channels of the cell's output.

    Raises:
        ConfigError: there are fewer channels than vertices to share them.
    """
    last = len(rows) - 1
    feeding = [v for v in range(1, last) if rows[v][last]]
    if output < len(feeding):
        raise ConfigError(
            f"channels is {output}; accepted: at least {len(feeding)}, one for each vertex that "
            "feeds the cell's output"
        )
    widths = [0] * (last + 1)
    for place, vertex in enumerate(feeding):
        widths[vertex] = output // len(feeding) + (place < output % len(feeding))
    for vertex in range(last - 1, 0, -1):
        if not rows[vertex][last]:
            widths[vertex] = max(widths[t] for t in range(vertex + 1, last) if rows[vertex][t])
    return widths[1:last]


class NASBench101Cell(nn.Module):
    """One cell: vertices add their inputs up, the output concatenates.

    The cell's input reaches a vertex, and the output, through a 1x1 convolution of its own; where a
    vertex is narrower than its input by a channel, that channel is dropped.

    Args:
        cell: the pruned cell.
        c_in: channels of the input.
        c_out: channels of the output.
    """

    def __init__(self, cell: Cell, c_in: int, c_out: int) -> None:
        super().__init__()
        self.rows, names = cell
        self.widths = vertex_widths(self.rows, c_out)
        self.operations = nn.ModuleList(map(operation, names, self.widths))
        targets = [t for t in range(1, len(self.rows)) if self.rows[0][t]]
        widths = [*self.widths, c_out]
        self.projections = nn.ModuleDict(
            {str(t): ConvBNReLU(c_in, widths[t - 1], 1) for t in targets}
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, h, w]."""
        last = len(self.rows) - 1
        values: dict[int, Tensor] = {}
        for vertex, (width, run) in enumerate(
            zip(self.widths, self.operations, strict=True), start=1
        ):
            terms = [values[s][:, :width] for s in range(1, vertex) if self.rows[s][vertex]]
            if self.rows[0][vertex]:
                terms.append(self.projections[str(vertex)](x))
            values[vertex] = run(sum(terms[1:], terms[0]))
        parts = [values[v] for v in range(1, last) if self.rows[v][last]]
        out = [torch.cat(parts, 1)] if parts else []
        if self.rows[0][last]:
            out.append(self.projections[str(last)](x))
        return sum(out[1:], out[0])


class NASBench101Network(nn.Module):
    """The network of one cell.

    Args:
        cell: the pruned cell.
        spec: `channels` is C (in the table 128), `depth` the cells of each stack (3).
    """

    def __init__(self, cell: Cell, spec: NetworkSpec) -> None:
        super().__init__()
        width = spec.channels
        self.stem = ConvBNReLU(spec.in_channels, width, 3)
        self.stacks = nn.ModuleList()
        for stack in range(STACKS):
            out = spec.channels * 2**stack
            self.stacks.append(
                nn.Sequential(
                    *(NASBench101Cell(cell, out if i else width, out) for i in range(spec.depth))
                )
            )
            width = out
        self.classifier = nn.Linear(width, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w]."""
        x = self.stem(fused.quick_layout(x))
        for number, stack in enumerate(self.stacks):
            if number:
                x = F.max_pool2d(x, 2, ceil_mode=True)  # an odd border is kept, as TensorFlow does
            x = stack(x)
        scores: Tensor = self.classifier(x.mean((2, 3)))
        return scores
