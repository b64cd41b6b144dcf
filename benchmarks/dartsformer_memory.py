"""Memory, time and exactness of DARTSformer's supernet against plain backpropagation.

    python benchmarks/dartsformer_memory.py          results/dartsformer-memory.json
    python benchmarks/dartsformer_memory.py --small  the same on few tokens, no result file

The supernet of the space `dartsformer-small`: 2 splits in the encoder with 13 operations each, 3 in
the decoder with 14, 14 and cross-attention, d = 192, dropout 0.1; 6, 12 and 24 layers of encoder
and of decoder. A batch is pairs of 32 tokens each, a quarter of them with padding, of a vocabulary
of 100, so that activations of the layers are what is measured, and not the scores of tokens. A step
is a forward pass and the gradients of alphas and weights. Measures are those of `reversible.py`.

Inputs kept on the way (`keep_every`), which the supernet has by itself above 12 layers, are left
out, but where it is said.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from morphogen import spaces
from morphogen.bilevel.gates import softmax_gates
from morphogen.supernets import NetworkSpec, build
from morphogen.supernets.dartsformer import DARTSformerSupernet
from morphogen.supernets.sequences import PAD

sys.path.insert(0, str(Path(__file__).parent))
import record
import reversible

DEPTHS = (6, 12, 24)
WIDTH, TOKENS, LENGTH = 192, 100, 32
GROWTH, RATIO, ERROR = 1.1, (1.15, 1.8), 1e-4
"""Most growth of memory from the least depth to the largest; time of a step by a plain one; most
error of gradients at the least depth in float32, and in float64 1e-9."""


class Case:
    """A supernet with alphas and a batch."""

    def __init__(
        self,
        depth: int,
        batch: int,
        *,
        plain: bool = False,
        kept: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        torch.manual_seed(depth)
        self.space = spaces.make("dartsformer-small")
        spec = NetworkSpec(
            channels=WIDTH,
            depth=depth,
            classes=TOKENS,
            in_channels=TOKENS,
            dropout=0.1,
            execution="plain" if plain else "fused",
        )
        net = build(self.space, spec)
        assert isinstance(net, DARTSformerSupernet)
        self.net = net.to(dtype)
        self.stacks = [self.net.stacks.encoder, self.net.stacks.decoder]
        if not kept:
            for stack in self.stacks:
                stack.keep_every = 0
        masks = [torch.from_numpy(mask) for mask in self.space.masks.values()]
        self.alphas = [(1e-3 * torch.randn(m.shape, dtype=dtype)).requires_grad_() for m in masks]
        self.source, self.target = (torch.randint(4, TOKENS, (batch, LENGTH)) for _ in range(2))
        for ids in (self.source, self.target):
            ids[: batch // 4, -LENGTH // 4 :] = PAD
        self.inputs = [*self.alphas, *self.net.parameters()]

    def loss(self) -> Tensor:
        """Of the next tokens."""
        scores = self.net((self.source, self.target), softmax_gates(self.space, self.alphas))
        return cross_entropy(scores[:, :-1].transpose(1, 2), self.target[:, 1:], ignore_index=PAD)

    def step(self) -> Sequence[Tensor]:
        """All gradients."""
        return torch.autograd.grad(self.loss(), self.inputs, materialize_grads=True)

    def gradients(self, plain: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss and all gradients, with the draws of seed 1."""
        for stack in self.stacks:
            stack.plain = plain
        torch.manual_seed(1)
        loss = self.loss()
        return loss.detach(), torch.autograd.grad(loss, self.inputs, materialize_grads=True)


def exactness(case: Case) -> dict[str, Any]:
    """Whether the loss is the same bits, and errors of gradients.

    Of the encoder's weights, too, whose gradients come through cross-attention alone; of alphas;
    and of the tensor that is furthest off, of those with a thousandth of the gradient or more.
    """
    (loss, found), (expected_loss, expected) = case.gradients(False), case.gradients(True)
    names = ["alpha", "alpha", *(name for name, _ in case.net.named_parameters())]

    def error(part: str) -> float:
        some = [i for i, name in enumerate(names) if part in name]
        ours, theirs = (torch.cat([g[i].flatten() for i in some]) for g in (found, expected))
        return float(f"{reversible.norm_error(ours, theirs):.2g}")

    least = 1e-3 * float(torch.stack([g.norm() for g in expected]).norm())
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b.norm() > least]
    return {
        "loss_same_bits": bool(torch.equal(loss, expected_loss)),
        "gradient_error": error(""),
        "of_the_encoder": error("stacks.encoder."),
        "of_alphas": error("alpha"),
        "of_the_worst_tensor": float(f"{max(reversible.norm_error(a, b) for a, b in pairs):.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few tokens, no result file")
    small = parser.parse_args().small
    torch.set_num_threads(1)
    batch, rounds, few = (2, 2, 2) if small else (32, 5, 8)
    began = time.process_time()
    figures: dict[str, Any] = {"tokens of each side": batch * LENGTH, "width": WIDTH}
    ways = {"reversible": {}, "reversible, inputs kept": {"kept": True}, "plain": {"plain": True}}
    held: dict[str, dict[int, dict[str, float]]] = {}
    for way, options in ways.items():
        held[way] = {n: reversible.memory(Case(n, batch, **options)) for n in DEPTHS}
        figures[f"memory, {way}"] = {f"{n} layers": row for n, row in held[way].items()}
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
    pair = [Case(least, batch, plain=plain) for plain in (False, True)]
    figures[f"time, {least} layers"] = spent = reversible.timed(pair, rounds)
    print(growth, spent, flush=True)
    exact = {
        f"{n} layers, {str(dtype).removeprefix('torch.')}{', inputs kept' if kept else ''}": (
            exactness(Case(n, few, dtype=dtype, kept=kept))
        )
        for n, dtype, kept in (
            *((n, torch.float32, False) for n in DEPTHS),
            (most, torch.float32, True),
            (least, torch.float64, False),
        )
    }
    figures[f"against plain, {few * LENGTH} tokens"] = exact
    print(exact, flush=True)
    if small:
        return
    ours, worst = growth["reversible"], exact[f"{least} layers, float32"]["of_the_worst_tensor"]
    double = exact[f"{least} layers, float64"]["of_the_worst_tensor"]
    tests = {
        "memory": max(ours["after_forward_mib"], ours["peak_mib"]) <= GROWTH,
        "time": RATIO[0] <= spent["ratio"] <= RATIO[1],
        "gradients": all(row["loss_same_bits"] for row in exact.values())
        and worst <= ERROR
        and double <= 1e-9,
    }
    share = held["plain"][most]["peak_mib"] / held["reversible"][most]["peak_mib"]
    record.write(
        "dartsformer-memory",
        claim=f"DARTSformer's supernet saves at {most} layers at most {GROWTH} times the memory of "
        f"{least}, gives the same loss bit for bit and at {least} layers the same gradients up to "
        f"{ERROR:g} in float32 and 1e-9 in float64, for {RATIO[0]} to {RATIO[1]} times the time.",
        system="dartsformer",
        command="python benchmarks/dartsformer_memory.py",
        seeds=[0],
        split="random numbers; weights are drawn, nothing is trained",
        figures={"what must hold": tests, **figures},
        published={
            "figure": "plain backpropagation exceeds 16 GB at d > 400, the reversible supernet is "
            "searched at d = 960; about half of the memory",
            "source": "arXiv 2105.14669, as a digest has it",
        },
        cost={"cpu_seconds": round(time.process_time() - began), "threads": 1},
        headline=f"{ours['peak_mib']:.2f} times the memory from {least} to {most} layers (plain "
        f"{growth['plain']['peak_mib']:.2f}), a {share:.0f}th of plain at {most}; "
        f"{spent['ratio']:.2f} times the time; gradients within {worst:g}",
        verdict="shown" if all(tests.values()) else "partly" if tests["memory"] else "not shown",
        why="one thread, a machine shared with other work; vocabulary of 100, so that layers are "
        "measured and not the scores of tokens, which no reversible layer saves",
    )


if __name__ == "__main__":
    main()
