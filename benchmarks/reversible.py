"""Memory, time and exactness of a reversible sequence against plain backpropagation.

    python benchmarks/reversible.py          results/reversible.json
    python benchmarks/reversible.py --small  the same on few tokens in seconds, no result file

Layers of two nodes, each a mixture of six options (two convolutions over time, self-attention, a
gated linear unit, a feed-forward net, the identity; all but the last normalised) weighted by gates,
with dropout 0.1, on a stream of two halves: the encoder of DARTSformer (arXiv 2105.14669) with
fewer options. A step is a forward pass and the gradients of input, gates and weights.

Memory is what autograd saves (behind the forward pass, and the most at any time of a step), and
beside it the most that torch's allocator holds above what there was, gradients included. Time is
CPU time on one thread, both ways in turn, ratios of pairs. Errors are norms of differences over
the norm of what plain backpropagation gives, in float32, of all gradients as one vector, and of the
weight, gates or input whose gradient is furthest off.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu, relu, scaled_dot_product_attention

from morphogen.cost.saved import SavedForBackward
from morphogen.supernets import Gates, ReversibleSequence, weighted

sys.path.insert(0, str(Path(__file__).parent))
import record

WIDTH, HEADS, LENGTH, DROPOUT = 128, 4, 32, 0.1
DEPTHS = (6, 12, 24)
OPTIONS = 6
GROWTH = 1.1
"""Most that memory may grow from the least depth to the largest."""
RATIO = (1.15, 1.8)
"""In which a reversible step by a plain one is expected: 4/3 by count of operations."""
ERROR = 1e-4
"""Most relative error of gradients at the least depth, in float32."""


class Option(nn.Module):
    """LayerNorm(h + dropout(o(h))) of h [batch, length, d]."""

    def __init__(self, kind: str, d: int, smooth: bool) -> None:
        super().__init__()
        self.kind, self.activation = kind, gelu if smooth else relu
        self.norm, self.drop = nn.LayerNorm(d), nn.Dropout(DROPOUT)
        inner = {"attention": 3 * d, "glu": 2 * d, "ffn": 4 * d}.get(kind, d)
        if kind.startswith("conv"):
            w = int(kind[4:])
            self.first: nn.Module = nn.Conv1d(d, d, w, padding=w // 2)
        else:
            self.first = nn.Linear(d, inner)
        self.last = nn.Linear(4 * d, d) if kind == "ffn" else nn.Linear(d, d)

    def forward(self, h: Tensor) -> Tensor:
        """What the option gives."""
        if self.kind.startswith("conv"):
            new = self.first(h.transpose(1, 2)).transpose(1, 2)
        elif self.kind == "attention":
            parts = self.first(h).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            new = self.last(scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        elif self.kind == "glu":
            new = glu(self.first(h))
        else:
            new = self.last(self.activation(self.first(h)))
        out: Tensor = self.norm(h + self.drop(new))
        return out


class Node(nn.Module):
    """The weighted sum of options of the other half."""

    def __init__(self, d: int, smooth: bool) -> None:
        super().__init__()
        kinds = ("conv3", "conv7", "attention", "glu", "ffn")
        self.options = nn.ModuleList([*(Option(kind, d, smooth) for kind in kinds), nn.Identity()])

    def forward(self, others: tuple[Tensor, ...], gates: Gates) -> Tensor:
        """The update of the one half, of the other."""
        live, row = gates.row("node", 0)
        terms = [weighted(self.options[i](others[0]), row[i]) for i in live]
        return torch.stack(terms).sum(0)


class Case:
    """A sequence and what goes in."""

    def __init__(
        self,
        depth: int,
        batch: int,
        *,
        plain: bool = False,
        identity: bool = True,
        smooth: bool = False,
    ) -> None:
        torch.manual_seed(depth)
        d = WIDTH // 2
        layers = [[Node(d, smooth), Node(d, smooth)] for _ in range(depth)]
        self.net = ReversibleSequence(layers, plain=plain)
        self.x = torch.randn(batch, LENGTH, WIDTH, requires_grad=True)
        self.alpha = (1e-3 * torch.randn(1, OPTIONS)).requires_grad_()
        self.live = {"node": (tuple(range(OPTIONS if identity else OPTIONS - 1)),)}
        self.inputs = [self.x, self.alpha, *self.net.parameters()]

    def gates(self) -> Gates:
        """Weights of the options: softmax(alpha), the same in all nodes."""
        return Gates({"node": self.alpha.softmax(1)}, self.live)

    def loss(self) -> Tensor:
        """The mean square of what comes out."""
        out = torch.cat(self.net(self.x.chunk(2, -1), self.gates()), dim=-1)
        return out.square().mean()

    def step(self) -> Sequence[Tensor]:
        """All gradients."""
        return torch.autograd.grad(self.loss(), self.inputs, materialize_grads=True)

    def gradients(self, plain: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss and all gradients, with the draws of seed 1."""
        self.net.plain = plain
        torch.manual_seed(1)
        loss = self.loss()
        return loss.detach(), torch.autograd.grad(loss, self.inputs, materialize_grads=True)


class Step(Protocol):
    """A network with its input and alphas; `Case` is one."""

    net: nn.Module
    inputs: Sequence[Tensor]
    """Of which gradients are taken."""

    def loss(self) -> Tensor:
        """A scalar."""

    def step(self) -> Sequence[Tensor]:
        """All gradients."""


def memory(case: Step) -> dict[str, float]:
    """MiB saved behind the forward pass, the most saved, the most allocated."""
    with SavedForBackward(without=case.inputs) as saved:
        loss = case.loss()
        after = saved.bytes
        torch.autograd.grad(loss, case.inputs, allow_unused=True)
    return {
        "after_forward_mib": round(after / 2**20, 2),
        "peak_mib": round(saved.peak / 2**20, 2),
        "allocated_peak_mib": round(allocated_peak(case) / 2**20, 2),
        "weights_mib": round(sum(w.nbytes for w in case.net.parameters()) / 2**20, 2),
    }


def allocated_peak(case: Step) -> int:
    """The most bytes that a step adds to what the allocator held before it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        kept = case.step()
    del kept
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held, most = 0, 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def timed(ways: Sequence[Step], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of both steps; median and quartiles of the ratios of pairs."""
    taken: list[list[float]] = []
    for turn in range(rounds + 1):
        found = [0.0, 0.0]
        for i in (0, 1) if turn % 2 else (1, 0):
            began = time.process_time()
            ways[i].step()
            found[i] = 1000 * (time.process_time() - began)
        if turn:  # the first turn warms up
            taken.append(found)
    ours, theirs = (statistics.median(column) for column in zip(*taken, strict=True))
    low, middle, high = statistics.quantiles([a / b for a, b in taken], n=4)
    return {
        "reversible_ms": round(ours, 1),
        "plain_ms": round(theirs, 1),
        "ratio": round(middle, 3),
        "ratio_first_quartile": round(low, 3),
        "ratio_third_quartile": round(high, 3),
        "pairs": len(taken),
    }


def exactness(depth: int, batch: int, identity: bool, smooth: bool) -> dict[str, Any]:
    """Whether the loss is the same bits, the error of gradients, the drift."""
    case = Case(depth, batch, identity=identity, smooth=smooth)
    (loss, found), (expected_loss, expected) = case.gradients(False), case.gradients(True)
    whole = [torch.cat([g.flatten() for g in some]) for some in (found, expected)]
    errors = [norm_error(a, b) for a, b in zip(found, expected, strict=True) if b.any()]
    return {
        "loss_same_bits": bool(torch.equal(loss, expected_loss)),
        "gradient_error": float(f"{norm_error(whole[0], whole[1]):.2g}"),
        "gradient_error_of_the_worst_tensor": float(f"{max(errors):.2g}"),
        "drift": float(f"{max(case.net.drift(case.x.detach().chunk(2, -1), case.gates())):.2g}"),
    }


def norm_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over that of what is expected."""
    return float((found - expected).norm() / expected.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few tokens, no result file")
    small = parser.parse_args().small
    torch.set_num_threads(1)
    batch, rounds = (2, 2) if small else (128, 8)
    began = time.process_time()
    figures: dict[str, Any] = {"tokens": batch * LENGTH, "width": WIDTH, "dropout": DROPOUT}
    held: dict[str, dict[int, dict[str, float]]] = {}
    for way in ("reversible", "plain"):
        held[way] = {depth: memory(Case(depth, batch, plain=way == "plain")) for depth in DEPTHS}
        figures[f"memory, {way}"] = {f"{depth} layers": row for depth, row in held[way].items()}
        print(way, held[way], flush=True)
    least, most = DEPTHS[0], DEPTHS[-1]
    growth = {
        way: {
            what: round(rows[most][what] / rows[least][what], 3)
            for what in ("after_forward_mib", "peak_mib", "allocated_peak_mib")
        }
        for way, rows in held.items()
    }
    figures[f"growth from {least} to {most} layers"] = growth
    ways = [Case(least, batch, plain=plain) for plain in (False, True)]
    figures[f"time, {least} layers"] = spent = timed(ways, rounds)
    print(growth, spent, flush=True)
    few = min(batch, 8)
    exact = {
        f"{depth} layers, {'with' if identity else 'without'} identity, "
        f"{'GELU' if smooth else 'ReLU'}": exactness(depth, few, identity, smooth)
        for identity in (False, True)
        for smooth in (False, True)
        for depth in DEPTHS
    }
    figures[f"float32 against plain, {few * LENGTH} tokens"] = exact
    print(exact, flush=True)
    if small:
        return
    ours = growth["reversible"]
    flat = max(ours["after_forward_mib"], ours["peak_mib"]) <= GROWTH
    in_time = RATIO[0] <= spent["ratio"] <= RATIO[1]
    worst = "gradient_error_of_the_worst_tensor"
    error = exact[f"{least} layers, with identity, ReLU"][worst]
    same = all(row["loss_same_bits"] for row in exact.values()) and error <= ERROR
    kinds = ("with identity, ReLU", "without identity, ReLU", "without identity, GELU")
    deep, normed, smooth = (exact[f"{most} layers, {kind}"][worst] for kind in kinds)
    share = held["plain"][most]["peak_mib"] / held["reversible"][most]["peak_mib"]
    record.write(
        "reversible",
        claim=f"A reversible sequence saves at {most} layers at most {GROWTH} times the memory of "
        f"{least}, gives the same loss bit for bit and at {least} layers the same gradients up to "
        f"{ERROR:g}, for {RATIO[0]} to {RATIO[1]} times the time of a plain step.",
        system="supernets.reversible",
        command="python benchmarks/reversible.py",
        seeds=[0],
        split="random numbers; weights are drawn, nothing is trained",
        figures=figures,
        published={
            "figure": "+33 % operations in theory, 1.5 to 2 times the time in implementations",
            "source": "Gomez and others, NeurIPS 2017, arXiv 1707.04585",
        },
        cost={"cpu_seconds": round(time.process_time() - began), "threads": 1},
        headline=f"{ours['peak_mib']:.2f} times the memory from {least} to {most} layers (plain "
        f"{growth['plain']['peak_mib']:.2f}), a {share:.0f}th of plain at {most}; "
        f"{spent['ratio']:.2f} times the time; gradients within {error:g}",
        verdict="shown" if flat and in_time and same else "partly" if flat else "not shown",
        why="one thread, a machine shared with other work. Gradients: the tensor furthest off, in "
        f"float32, with an identity among the options. At {most} layers it is off by {deep:g}, "
        f"without the identity by {normed:g}, with GELU by {smooth:g} "
        "(a ReLU jumps where rounding changes the sign of its input): see `keep_every`. "
        "Allocated memory has the gradients of all weights in it, which grow with depth",
    )


if __name__ == "__main__":
    main()
