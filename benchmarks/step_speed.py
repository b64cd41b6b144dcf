"""Time and memory of one weight step and one alpha step, against the plain reference.

    python benchmarks/step_speed.py --space nasbench201     N=1 and N=5, C=16, batch 64, 32x32
    python benchmarks/step_speed.py --space darts           8 cells, C=16, batch 64, 32x32
    python benchmarks/step_speed.py --methods               every gradient method, N=1, C=16, and
                                                            DARTS with each regulariser

With `--methods` a step is one of the method's own, optimisers included, in its published
configuration, beside that of first-order DARTS (an alpha step and a weight step).

A step is forward and backward; optimisers are left out, they are the same for all. Compared are

- `reference`: channels-first, one module per option, `loss.backward()` with weights and alpha both
  requiring gradients, in both steps, as the classic codes do it;
- `fused`, in float32 and under bfloat16 autocast: a weight step asks for the gradients of the
  weights, an alpha step for those of alpha, and for no others;
- `convolutions`: forward and full backward of every convolution of the supernet by itself, with
  the shapes it has in the reference, channels-first and channels-last.

All variants run in one process, in turn, so that other load on the machine hits all alike; times
are CPU time of the process, medians. The verdict is that of one core: with more threads than idle
cores, CPU time counts the waiting of threads for one another. Peak memory is that of a process of
its own per variant: the growth of its resident high-water mark (VmHWM) over a few steps.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen import spaces, supernets
from morphogen.bilevel.regularisation import Regularisation
from morphogen.bilevel.regularised import RegularisedProblem
from morphogen.core.config import altered
from morphogen.engine.search.timetable import phases_of
from morphogen.methods import find, methods
from morphogen.supernets import Gates, NetworkSpec
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Clock

sys.path.insert(0, str(Path(__file__).parent))
import record

DEPTHS = {"nasbench201": (1, 5), "darts": (8,)}
TARGETS = {"nasbench201": (2.2, 2.7, 3.0, 4.0), "darts": (2.5, 3.5, 2.5, 3.5)}
"""Reference / fused for a pair of steps: float32 target and stretch, bfloat16 target and stretch
(the DARTS space has none of its own for bfloat16)."""
BATCH, SIDE, CHANNELS = 64, 32, 16
SAMPLING = {"gdas": 1.0, "unas, a network for a batch": 1.5}
"""Methods that run what they sample, and what their step may take of DARTS' time."""
MEMORY_VARIANTS = ("reference", "fused float32", "fused bfloat16")


class Steps:
    """The steps of one space at one depth; each method runs one."""

    def __init__(self, name: str, depth: int, execution: str) -> None:
        torch.manual_seed(0)
        self.space = spaces.make(name)
        spec = NetworkSpec(channels=CHANNELS, depth=depth, execution=execution)  # type: ignore[arg-type]
        self.net = supernets.build(self.space, spec)
        self.alphas = {
            group: (1e-3 * torch.randn(mask.shape)).requires_grad_()
            for group, mask in self.space.masks.items()
        }
        self.weights = list(self.net.parameters())
        self.x = torch.randn(BATCH, 3, SIDE, SIDE)
        self.y = torch.randint(10, (BATCH,))

    def gates(self) -> Gates:
        """Softmax of the alphas, differentiable."""
        rows = {group: torch.softmax(alpha, 1) for group, alpha in self.alphas.items()}
        return Gates.dense(self.space, rows)

    def loss(self, gates: Gates, low: bool = False) -> Tensor:
        """Cross entropy of the batch, under bfloat16 autocast if `low`."""
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            return F.cross_entropy(self.net(self.x, gates), self.y)

    def reference(self) -> None:
        """One step as the classic codes do it."""
        for tensor in (*self.weights, *self.alphas.values()):
            tensor.grad = None
        self.loss(self.gates()).backward()  # type: ignore[no-untyped-call]

    def weight_step(self, low: bool = False) -> None:
        """Gradients of the weights alone."""
        torch.autograd.grad(self.loss(self.gates().detach(), low), self.weights)

    def alpha_step(self, low: bool = False) -> None:
        """Gradients of the alphas alone."""
        torch.autograd.grad(self.loss(self.gates(), low), list(self.alphas.values()))


def convolutions(steps: Steps, form: torch.memory_format) -> Callable[[], None]:
    """What runs every convolution of the plain supernet once, forward and full backward."""
    seen: list[tuple[nn.Conv2d, tuple[int, ...]]] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            seen.append((module, tuple(inputs[0].shape)))

    handles = [m.register_forward_hook(hook) for m in steps.net.modules()]
    with torch.no_grad():
        steps.loss(steps.gates())
    for handle in handles:
        handle.remove()
    made = {
        shape: torch.randn(shape).contiguous(memory_format=form).requires_grad_(shape[1] > 3)
        for _, shape in seen
    }
    grads: dict[tuple[int, ...], Tensor] = {}

    def run() -> None:
        for module, shape in seen:
            x = made[shape]
            y = module(x)
            if tuple(y.shape) not in grads:
                grads[tuple(y.shape)] = torch.randn_like(y)
            wanted = [module.weight, x] if x.requires_grad else [module.weight]
            torch.autograd.grad(y, wanted, grads[tuple(y.shape)])

    return run


def measure(name: str, depth: int, rounds: int) -> dict[str, dict[str, float]]:
    """Variant -> median CPU seconds and wall seconds."""
    plain, fused = Steps(name, depth, "plain"), Steps(name, depth, "fused")
    variants: dict[str, Callable[[], None]] = {
        "reference step": plain.reference,
        "fused float32 weight step": fused.weight_step,
        "fused float32 alpha step": fused.alpha_step,
        "fused bfloat16 weight step": lambda: fused.weight_step(True),
        "fused bfloat16 alpha step": lambda: fused.alpha_step(True),
        "convolutions alone, channels first": convolutions(plain, torch.contiguous_format),
        "convolutions alone, channels last": convolutions(plain, torch.channels_last),
    }
    cpu: dict[str, list[float]] = {v: [] for v in variants}
    wall: dict[str, list[float]] = {v: [] for v in variants}
    for turn in range(rounds + 1):
        for variant, run in variants.items():
            c, w = time.process_time(), time.perf_counter()
            run()
            c, w = time.process_time() - c, time.perf_counter() - w
            if turn >= 0:
                cpu[variant].append(c)
                wall[variant].append(w)
    return {
        v: {"cpu_seconds": statistics.median(cpu[v]), "wall_seconds": statistics.median(wall[v])}
        for v in variants
    }


def ratios(times: dict[str, dict[str, float]], clock: str) -> dict[str, float]:
    """How many times as long the reference's pair of steps takes."""
    pair = 2 * times["reference step"][clock]

    def fused(kind: str) -> float:
        return sum(times[f"fused {kind} {s} step"][clock] for s in ("weight", "alpha"))

    return {
        "float32": pair / fused("float32"),
        "bfloat16": pair / fused("bfloat16"),
        "convolutions alone (channels first, full backward)": pair
        / (2 * times["convolutions alone, channels first"][clock]),
    }


def high_water() -> int:
    """Resident high-water mark of this process, bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")


def memory_child(name: str, depth: int, variant: str) -> None:
    """Print the growth of the high-water mark over two steps of each kind, bytes."""
    torch.set_num_threads(1)
    steps = Steps(name, depth, "plain" if variant == "reference" else "fused")
    before = high_water()
    for _ in range(2):
        if variant == "reference":
            steps.reference()
        else:
            steps.weight_step(variant.endswith("bfloat16"))
            steps.alpha_step(variant.endswith("bfloat16"))
    print(high_water() - before)


def peak_memory(name: str, depth: int) -> dict[str, int]:
    """Variant -> bytes, each in a process of its own."""
    out = {}
    for variant in MEMORY_VARIANTS:
        command = [sys.executable, __file__, "--space", name, "--child", f"{depth}:{variant}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        out[variant] = int(done.stdout.strip().splitlines()[-1])
    return out


# -- methods ---------------------------------------------------------------------------------------


REGULARISED = {
    "darts, partial channels 4": Regularisation(partial_channels=4, edge_normalisation="on"),
    "darts, perturb random": Regularisation(perturb="random"),
    "darts, perturb adversarial": Regularisation(perturb="adversarial"),
    "darts, skip penalty beta": Regularisation(skip_penalty="beta"),
    "darts, skip penalty auxiliary": Regularisation(skip_penalty="auxiliary"),
}
"""What first-order DARTS is combined with."""


def gradient_methods() -> dict[str, Any]:
    """A name -> the configuration: what a publication has, and other ways to run it."""
    found = {name: info.config() for name, info in methods().items() if not info.black_box}
    found = {name: config for name, config in found.items() if hasattr(config, "alpha")}
    each = found.pop("unas")
    found["unas, a network for each example"] = each
    found["unas, a network for a batch"] = altered(each, {"samples": "batch", "softening": 0.08})
    distilled = found.pop("sd-darts")
    found["sd-darts, three teachers"] = altered(distilled, {"warm_up": 0.0, "gap": 1})
    return found | dict.fromkeys(REGULARISED, found["darts"])


def stepping(name: str) -> Callable[[], None]:
    """What takes one step of a method: of its first phase that moves alpha."""
    config = gradient_methods()[name]
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (8 * BATCH, 3, SIDE, SIDE), generator=g).to(torch.uint8)
    images = Images(pixels, torch.arange(8 * BATCH) % 10, tuple("abcdefghij"))
    task = ImageTask.of(images, train_images=4 * BATCH, valid_images=4 * BATCH)
    options = REGULARISED.get(name, Regularisation())
    sizes = NetworkSpec(channels=CHANNELS, depth=1, partial_channels=options.partial_channels)
    problem = RegularisedProblem(
        spaces.make("nasbench201"), task, sizes, batch_size=BATCH, regularisation=options
    )
    problem.progress = 0.5
    info = find(name.partition(",")[0])
    method, done = info.build(config), itertools.count()
    state = method.init(problem)
    phases = (p.name for p in phases_of(method, problem, 50))
    phase = next(p for p in phases if p != "warm-up")

    def step() -> None:
        method.step(state, problem, Clock(0, 50, next(done), 1000, phase))

    return step


WARM = 3
"""Turns that are not counted: caches, and SD-DARTS' teachers."""


def method_rows(rounds: int) -> dict[str, dict[str, float]]:
    """Method -> median CPU seconds of a step, its share of DARTS', and peak memory in bytes."""
    steps = {name: stepping(name) for name in gradient_methods()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-WARM, rounds):
        for name, step in steps.items():
            begin = time.process_time()
            step()
            if turn >= 0:
                taken[name].append(time.process_time() - begin)
    found = {name: statistics.median(seconds) for name, seconds in taken.items()}
    rows = {}
    for name, seconds in found.items():
        command = [sys.executable, __file__, "--methods", "--child", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[name] = {
            "cpu_seconds": round(seconds, 4),
            "of darts": round(seconds / found["darts"], 2),
            "peak_memory_bytes": int(done.stdout.strip().splitlines()[-1]),
        }
        print(f"  {name:36s}", rows[name])
    return rows


def method_memory(name: str) -> None:
    """Print the growth of the high-water mark over some steps, bytes."""
    torch.set_num_threads(1)
    step, before = stepping(name), high_water()
    for _ in range(WARM + 1):
        step()
    print(high_water() - before)


def compare_methods(rounds: int) -> None:
    """Write results/speed-methods.json."""
    began = time.perf_counter()
    torch.set_num_threads(1)
    rows = method_rows(rounds)
    held = {name: rows[name]["of darts"] <= most for name, most in SAMPLING.items()}
    record.write(
        "speed-methods",
        claim="A method that samples executes only what it sampled: a step of GDAS takes less than "
        "one of DARTS, and one of UNAS with a network for a batch, five passes, at most 1.5 times "
        "as long.",
        system=", ".join(rows),
        command=" ".join(["python benchmarks/step_speed.py", *sys.argv[1:]]),
        seeds=[0],
        split="random images; time does not depend on them",
        figures={f"nasbench201, C={CHANNELS}, N=1, batch {BATCH}, {SIDE}x{SIDE}": rows},
        published={"figure": "none", "source": "the house's own requirement"},
        cost={"seconds": round(time.perf_counter() - began), "threads": 1},
        headline="CPU time of a step, DARTS 1: "
        + ", ".join(f"{name} {row['of darts']:.2f}" for name, row in rows.items()),
        verdict="shown" if all(held.values()) else "partly" if any(held.values()) else "not shown",
        why="; ".join(f"{name}: {rows[name]['of darts']:.2f}, at most {most}"
                      for name, most in SAMPLING.items())
        + ". One core, CPU time, medians; a step of iDARTS has several weight steps, one of "
        "DARTS-PRIME has alpha in it only when that is due.",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", choices=sorted(DEPTHS), default="nasbench201")
    parser.add_argument(
        "--rounds",
        type=int,
        default=0,
        help="0: 11 when small, 5 when large; at most 3 on all cores",
    )
    parser.add_argument(
        "--one-core", action="store_true", help="leave out all cores (the machine must be idle)"
    )
    parser.add_argument(
        "--methods", action="store_true", help="a step of every gradient method instead"
    )
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.methods:
        if options.child:
            method_memory(options.child)
        else:
            compare_methods(options.rounds or 7)
        return
    if options.child:
        depth, variant = options.child.split(":")
        memory_child(options.space, int(depth), variant)
        return
    began = time.perf_counter()
    target, stretch, low_target, low_stretch = TARGETS[options.space]
    figures: dict[str, object] = {}
    worst = {"float32": float("inf"), "bfloat16": float("inf")}
    leaner = True
    threads = {"one core": 1}
    if not options.one_core:
        threads["all cores"] = os.cpu_count() or 1
    for depth in DEPTHS[options.space]:
        entry: dict[str, object] = {
            "peak_memory_bytes": (memory := peak_memory(options.space, depth))
        }
        leaner &= all(memory[v] < memory["reference"] for v in MEMORY_VARIANTS[1:])
        print(f"\n{options.space}, C={CHANNELS}, depth {depth}, batch {BATCH}, {SIDE}x{SIDE}")
        for variant, amount in memory.items():
            print(f"  {variant:42s} peak memory {amount / 2**20:8.0f} MiB")
        for label, number in threads.items():
            torch.set_num_threads(number)
            rounds = options.rounds or (11 if depth == 1 else 5)
            rounds = rounds if number == 1 else min(rounds, 3)
            times = measure(options.space, depth, rounds)
            found = {c: ratios(times, c) for c in ("cpu_seconds", "wall_seconds")}
            entry[label] = {
                "threads": number,
                "rounds": rounds,
                "median": {v: {c: round(s, 4) for c, s in t.items()} for v, t in times.items()},
                "reference pair / pair": {
                    c: {k: round(r, 2) for k, r in found[c].items()} for c in found
                },
            }
            print(f"  {label} ({number} threads), median of {rounds}: CPU s, wall s")
            for variant, t in times.items():
                print(f"    {variant:40s} {t['cpu_seconds']:8.3f} {t['wall_seconds']:8.3f}")
            for kind, ratio in found["cpu_seconds"].items():
                print(f"    reference pair / {kind}: {ratio:.2f}")
            if number == 1:
                for kind in worst:
                    worst[kind] = min(worst[kind], found["cpu_seconds"][kind])
        figures[f"C={CHANNELS}, depth {depth}"] = entry
    met = worst["float32"] >= target and worst["bfloat16"] >= low_target and leaner
    beyond = worst["float32"] >= stretch and worst["bfloat16"] >= low_stretch
    record.write(
        f"speed-{options.space}",
        claim=f"{options.space}: a pair of steps (weight, alpha) takes at most 1/{target} of the "
        f"plain reference's CPU time in float32 and 1/{low_target} with bfloat16, on one core, and "
        "less memory.",
        system="supernets.fused",
        command=" ".join(["python benchmarks/step_speed.py", *sys.argv[1:]]),
        seeds=[0],
        split="random images; time does not depend on them",
        figures=figures,
        published={
            "figure": f"1/{target} (stretch 1/{stretch}) float32, 1/{low_target} (stretch "
            f"1/{low_stretch}) bfloat16",
            "source": "the house's own requirement",
        },
        cost={"seconds": round(time.perf_counter() - began), "threads": [*threads.values()]},
        headline=f"1/{worst['float32']:.2f} float32, 1/{worst['bfloat16']:.2f} bfloat16, memory "
        + ("below" if leaner else "NOT below")
        + " the reference's",
        verdict="shown" if met else "partly",
        why=("all targets hold" if met else "not all targets hold")
        + (", the stretch too" if beyond else ", the stretch does not hold in full")
        + "; one core, CPU time, worst of the depths; measured on a machine shared with other work",
    )


if __name__ == "__main__":
    main()
