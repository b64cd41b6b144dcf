"""What a GPU gives, and whether it computes the same: one command, under eight minutes.

    python benchmarks/gpu.py            on the first CUDA device; writes results/gpu.json
    python benchmarks/gpu.py            without one: the CPU's half alone, and says so; no result

It needs nothing but the package: images are those it ships, or random ones where only time counts.

- Equality: the first epoch, of two steps, of every registered method, in NAS-Bench-201 or else the
  first space that it serves, on the GPU in float32 (no TF32) and on the CPU: same seed, same noise,
  since draws are the CPU's. A method that takes no images is named and left out. Losses agree
  within 0.1 %, gates within 0.02 (Adam's first steps have the size of its rate, whatever the
  gradient's).
- Steps: a weight step and an alpha step of the NAS-Bench-201 and the DARTS supernet, in float32,
  TF32 and bfloat16, each beside the convolutions alone of the plain supernet in the same precision;
  with the steps as they are, and replayed as a CUDA graph (gates are soft, so that nothing depends
  on what was drawn). Milliseconds are medians, memory is the peak that torch allocated.
- Data: drawing two augmented batches, beside a pair of steps.
- Searches: of every method a short one to its end, or to the seconds it may take.
- Two devices: where there are two, the same losses as on one. On CPUs two processes do it.

Without a GPU the second device is the CPU again: that shows that the script runs, that a search
repeats itself, and nothing of a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import record
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen import spaces, supernets
from morphogen.core import MorphogenError
from morphogen.core.config import altered
from morphogen.engine.devices import one_device
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.methods import MethodInfo, methods
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec
from morphogen.tasks.classification import Augment, ImageTask
from morphogen.tasks.kinds import asked_of
from morphogen.tasks.problem import Problem

DATA = "fashion-mnist"
LIMIT = 470.0
"""Seconds of the whole command; what there is no time for is named."""
SEARCH = 6.0
"""Seconds that a short search may take."""
LOSS, GATE = 1e-3, 0.02
"""Largest relative difference of a loss, and difference of a gate, that counts as equal."""
LATE = "no time left"
NOT_HERE = "not on these images"
"""Of methods of other kinds of data."""
SUPERNETS = {"nasbench201": 5, "darts": 8}
"""Space -> depth; 16 channels, 64 images of 32 x 32 pixels."""
BATCH, SIDE, CHANNELS = 64, 32, 16
PRECISIONS = ("float32", "TF32", "bfloat16")


class Enough(Exception):
    """The time is over, or the epoch that was to be seen."""


class Until(Silent):
    """Ends a search after so many lines of metrics, or so many seconds."""

    def __init__(self, rows: float, seconds: float) -> None:
        self.rows, self.end = rows, time.perf_counter() + seconds

    def stepped(self, clock: Any) -> None:
        """After a step."""
        if time.perf_counter() > self.end:
            raise Enough

    def epoch(self, row: Mapping[str, Any]) -> None:
        """After a line of metrics."""
        self.rows -= 1
        if self.rows <= 0 or time.perf_counter() > self.end:
            raise Enough


# -- searches -------------------------------------------------------------------------------------


def home(info: MethodInfo) -> SearchSpace:
    """NAS-Bench-201, or the first of all spaces that the method serves."""
    for name in ("nasbench201", *spaces.registered()):
        space = spaces.make(name)
        with contextlib.suppress(MorphogenError):
            info.require(space)
            return space
    raise MorphogenError(f"method {info.name} serves no registered space; accepted: one of its own")


def rows_of(
    info: MethodInfo,
    accelerator: str,
    *,
    steps: int,
    epochs: int = 1,
    rows: float = math.inf,
    seconds: float = math.inf,
    devices: int = 1,
) -> tuple[list[dict[str, Any]], bool]:
    """Lines of metrics of a small search, and whether it came to its end."""
    usual = quick_preset(info).settings
    numbers = {
        "seed": 0,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "batch_size": 32,
        "split.train_images": 512,
        "split.valid_images": 512,
        "evaluation.budget": 2,
        "diagnostics.images": 0,
        "hardware.accelerator": accelerator,
        "hardware.devices": devices,
        "workers.count": 1,
    }
    settings: Settings = altered(usual, numbers)
    settings = replace(settings, task=asked_of(DATA, usual.task))
    finished = True
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        try:
            search(
                info.name,
                space=home(info),
                data=DATA,
                settings=settings,
                run=run,
                watcher=partial(Until, rows, seconds),
            )
        except Enough:
            finished = False
        return RunDirectory(run).metrics(), finished


def differences(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> dict[str, Any]:
    """How far two records of one search are from each other, of what both have."""
    losses, gates, others = [0.0], [0.0], [0.0]
    told = False
    for a, b in zip(here, there, strict=False):
        for name in a.keys() & b.keys():
            if name.endswith("_loss"):
                told = True
                losses.append(abs(a[name] - b[name]) / max(abs(a[name]), 1e-9))
            elif name == "score":
                others.append(abs(a[name] - b[name]))
        held = ("gates", "gates") if "gates" in a and "gates" in b else None
        if held:
            for group in a["gates"]:
                one, two = (torch.tensor(r["gates"][group]) for r in (a, b))
                gates.append(float((one - two).abs().max()))
    same = [
        a.get("architecture") == b.get("architecture") for a, b in zip(here, there, strict=False)
    ]
    return {
        "loss, relative": max(losses) if told else None,
        "gate": max(gates),
        "score": max(others),
        "architecture equal": all(same),
        "equal": bool(here and there) and max(losses) <= LOSS and max(gates) <= GATE,
    }


def equality(names: list[str], device: str, left: Callable[[], float]) -> dict[str, Any]:
    """Method -> how far the device is from the CPU."""
    found: dict[str, Any] = {}
    for name in names:
        if left() < SEARCH:
            found[name] = LATE
            continue
        info = methods()[name]
        try:
            with precision("float32"):
                try:
                    here, _ = rows_of(info, "cpu", steps=2, rows=1, seconds=5 * SEARCH)
                except MorphogenError as error:
                    found[name] = f"{NOT_HERE}: {' '.join(str(error).split())[:200]}"
                    continue
                there, _ = rows_of(info, device, steps=2, rows=1, seconds=5 * SEARCH)
            found[name] = differences(here, there) if here and there else LATE
        except (MorphogenError, RuntimeError) as error:  # the others are still to be looked at
            found[name] = {"failed": " ".join(str(error).split())[:300], "equal": False}
        print(f"equality {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def searches(names: list[str], device: str, left: Callable[[], float]) -> dict[str, Any]:
    """Method -> what a short search on the device came to."""
    found: dict[str, Any] = {}
    for name in names:
        if left() < 2 * SEARCH:
            found[name] = LATE
            continue
        began = time.perf_counter()
        try:
            rows, finished = rows_of(methods()[name], device, steps=10, epochs=2, seconds=SEARCH)
        except (MorphogenError, RuntimeError) as error:
            found[name] = {"failed": " ".join(str(error).split())[:300], "equal": False}
            continue
        found[name] = {
            "seconds": round(time.perf_counter() - began, 1),
            "lines": len(rows),
            "to its end": finished,
            "architecture": next(
                (r["architecture"] for r in rows[::-1] if "architecture" in r), ""
            ),
        }
        print(f"search {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def two_devices(device: str) -> dict[str, Any]:
    """Losses of a search by DARTS on two devices, beside those on one."""
    info = methods()["darts"]
    with precision("float32"):
        one, _ = rows_of(info, device, steps=2)
        two, _ = rows_of(info, device, steps=2, devices=2)
    return differences(one, two)


# -- steps ----------------------------------------------------------------------------------------


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Convolutions and products of float32 as they are, or rounded to TF32 on devices that can."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "TF32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


class Steps:
    """A weight step and an alpha step of a supernet, gradients without optimisers."""

    def __init__(self, name: str, depth: int, device: torch.device, execution: str) -> None:
        torch.manual_seed(0)
        self.space, self.device = spaces.make(name), device
        spec = NetworkSpec(channels=CHANNELS, depth=depth, execution=execution)  # type: ignore[arg-type]
        self.net = supernets.build(self.space, spec).to(device)
        self.alphas = {
            group: (1e-3 * torch.randn(mask.shape)).to(device).requires_grad_()
            for group, mask in self.space.masks.items()
        }
        self.weights = list(self.net.parameters())
        self.x = torch.randn(BATCH, 3, SIDE, SIDE).to(device, memory_format=torch.channels_last)
        self.y = torch.randint(10, (BATCH,)).to(device)

    def loss(self, *, low: bool, fixed: bool) -> Tensor:
        """Cross entropy of the batch; with `low` under bfloat16, with `fixed` gates constant."""
        rows = {group: torch.softmax(alpha, 1) for group, alpha in self.alphas.items()}
        gates = Gates.dense(self.space, rows)
        kind = self.device.type
        # A graph that is captured must not find casts of an earlier step in autocast's cache.
        with torch.autocast(kind, torch.bfloat16, enabled=low, cache_enabled=False):
            return F.cross_entropy(self.net(self.x, gates.detach() if fixed else gates), self.y)

    def weight_step(self, *, low: bool = False) -> None:
        """Gradients of the weights alone."""
        torch.autograd.grad(self.loss(low=low, fixed=True), self.weights)

    def alpha_step(self, *, low: bool = False) -> None:
        """Gradients of the alphas alone."""
        torch.autograd.grad(self.loss(low=low, fixed=False), list(self.alphas.values()))

    def pair(self, *, low: bool = False) -> None:
        """Both."""
        self.weight_step(low=low)
        self.alpha_step(low=low)


def convolutions(steps: Steps, *, low: bool) -> Callable[[], None]:
    """What runs every convolution of the plain supernet twice, forward and full backward."""
    seen: list[tuple[nn.Conv2d, tuple[int, ...]]] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            seen.append((module, tuple(inputs[0].shape)))

    handles = [m.register_forward_hook(hook) for m in steps.net.modules()]
    with torch.no_grad():
        steps.loss(low=False, fixed=True)
    for handle in handles:
        handle.remove()
    form = torch.channels_last
    made = {
        shape: torch.randn(shape, device=steps.device)
        .contiguous(memory_format=form)
        .requires_grad_(shape[1] > 3)
        for _, shape in seen
    }

    def run() -> None:
        for _ in range(2):
            for module, shape in seen:
                x = made[shape]
                with torch.autocast(steps.device.type, torch.bfloat16, enabled=low):
                    y = module(x)
                wanted = [module.weight, x] if x.requires_grad else [module.weight]
                torch.autograd.grad(y, wanted, torch.ones_like(y))

    return run


def timed(run: Callable[[], Any], device: torch.device, most: float) -> dict[str, float]:
    """Median milliseconds, and the peak of memory in MiB on a GPU, in at most so many seconds."""
    cuda = device.type == "cuda"
    for _ in range(3 if cuda else 1):  # warms up: cuDNN chooses its kernels
        run()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    end = time.perf_counter() + most
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 50):
        began = time.perf_counter()
        run()
        if cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    found = {"ms": round(statistics.median(times), 3)}
    if cuda:
        found["MiB"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return found


def captured(run: Callable[[], None]) -> Callable[[], None]:
    """The same as one CUDA graph, replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def step_times(device: torch.device, left: Callable[[], float]) -> dict[str, Any]:
    """Space -> precision -> a pair of steps, as a graph, and the convolutions alone."""
    cuda = device.type == "cuda"
    most, depths = (2.0, SUPERNETS) if cuda else (0.0, {"nasbench201": 1})
    found: dict[str, Any] = {}
    for name, depth in depths.items():
        fused, plain = (Steps(name, depth, device, kind) for kind in ("fused", "plain"))
        for kind in PRECISIONS:
            if kind == "TF32" and not cuda:
                continue
            if left() < 10 * max(most, 1.0):
                found[f"{name}, {kind}"] = LATE
                continue
            low = kind == "bfloat16"

            def pair(fused: Steps = fused, low: bool = low) -> None:
                fused.pair(low=low)

            with precision(kind):
                part: dict[str, Any] = {
                    "pair of steps": timed(pair, device, most),
                    "convolutions alone": timed(convolutions(plain, low=low), device, most),
                }
                if cuda:
                    try:
                        part["pair as a CUDA graph"] = timed(captured(pair), device, most)
                    except RuntimeError as error:
                        reason = " ".join(str(error).split())[:200]
                        part["pair as a CUDA graph"] = f"cannot be captured: {reason}"
            found[f"{name}, depth {depth}, {kind}"] = part
            print(f"steps {name} {kind}: {part}", file=sys.stderr, flush=True)
        del fused, plain
    return found


def data_path(accelerator: str) -> dict[str, float]:
    """Milliseconds of two augmented batches of 64 colour images of 32 x 32 pixels."""
    devices = one_device(accelerator, "32-true")
    task = ImageTask.of(DATA, size=SIDE, channels=3, augment=Augment(cutout=SIDE // 2))
    spec = NetworkSpec(channels=CHANNELS, depth=1, in_channels=3)
    problem = Problem(
        spaces.make("nasbench201"), task, spec, batch_size=BATCH, seed=0, devices=devices
    )

    def batches() -> None:
        problem.batch("train")
        problem.batch("valid")

    return timed(batches, devices.device, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="", help="some of them, with commas")
    parser.add_argument("--out", type=Path, help="also write what was found to this JSON file")
    options = parser.parse_args()
    began = time.perf_counter()
    cuda = torch.cuda.is_available()
    accelerator, device = ("cuda", torch.device("cuda")) if cuda else ("cpu", torch.device("cpu"))
    if not cuda:
        torch.set_num_threads(1)
        print(
            "no CUDA device here: the CPU's half alone is checked, against the CPU itself; "
            "nothing is said of a GPU",
            flush=True,
        )

    def left() -> float:
        return LIMIT - (time.perf_counter() - began)

    asked = [name for name in options.methods.split(",") if name]
    names = [name for name in methods() if not asked or name in asked]
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else f"none; CPU: {record.processor()}",
        "steps": step_times(device, left),
        "two batches": data_path(accelerator),
        "equality": equality(names, accelerator, left),
    }
    if not cuda or torch.cuda.device_count() > 1:
        found["two devices" if cuda else "two processes"] = two_devices(accelerator)
    here = [n for n in names if not str(found["equality"][n]).startswith(NOT_HERE)]
    found["searches"] = searches(here, accelerator, left)
    found["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    two = {"two": found.get("two devices") or found.get("two processes")}
    wrong = [
        name
        for part in (found["equality"], two, found["searches"])
        for name, said in part.items()
        if isinstance(said, dict) and not said.get("equal", True)
    ]
    if cuda and not asked:
        write(found, wrong)
    if wrong:
        sys.exit(f"further from the CPU than allowed: {', '.join(wrong)}")


def write(found: dict[str, Any], wrong: list[str]) -> None:
    """results/gpu.json."""
    elsewhere = [n for n, v in found["equality"].items() if str(v).startswith(NOT_HERE)]
    late = [n for part in ("equality", "searches") for n, v in found[part].items() if v == LATE]
    record.write(
        "gpu",
        claim="Every method computes on a GPU what it computes on the CPU, within rounding.",
        system="engine, supernets",
        command="python benchmarks/gpu.py",
        seeds=[0],
        split="512 + 512 of the embedded Fashion-MNIST training images; steps: random images",
        figures=found,
        published={"figure": "none", "source": ""},
        cost={"seconds": found["seconds"]},
        device=found["device"],
        headline=f"{found['device']}: "
        f"{len(found['equality']) - len(wrong) - len(late) - len(elsewhere)} methods "
        "equal to the CPU",
        verdict="not shown" if wrong else "partly" if late else "shown",
        why=f"losses within {LOSS:g}, gates within {GATE:g} after two steps"
        + (f"; further away: {', '.join(wrong)}" if wrong else "")
        + (f"; no time left for: {', '.join(late)}" if late else "")
        + (f"; of other data than images: {', '.join(elsewhere)}" if elsewhere else ""),
    )


if __name__ == "__main__":
    main()
