"""`morphogen cost`: what architectures cost, counted and, if asked, measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, replace
from typing import TYPE_CHECKING, Any

from morphogen.cli.command import CELL, JSON, Command
from morphogen.cli.options import Option, Section, whole
from morphogen.cli.terminal.output import print_json, width
from morphogen.core import ConfigError, ranges
from morphogen.core.names import brief
from morphogen.core.text import columns, fold

if TYPE_CHECKING:
    from morphogen.cost import Cost, Latency


_USUAL = {0: "20x20", 1: "1x128", 2: "3x32x32"}
_CALLED = {0: "pair", 1: "signal", 2: "image"}
_WANTED = {
    0: "tokens of source x tokens of target, like 20x20",
    1: "channels x points of time for a space of signals, like 6x128",
    2: "channels x height x width, like 3x32x32 or 1x28x28",
}


def run(given: dict[str, Any]) -> int:
    """`morphogen cost SPACE ARCH...`, from its options."""
    from morphogen import spaces

    space = spaces.make(given["space"])
    archs = [space.parse(text) for text in given["arch"]]
    axes = 2 if space.spatial_dims is None else space.spatial_dims
    image = shape(given["image"] or _USUAL[axes], axes)
    sizes: dict[str, Any] = {
        name: whole(f"--{name}", given[name], accepted)
        for name, accepted in (
            ("channels", ranges.WIDTH),
            ("depth", ranges.DEPTH),
            ("classes", ranges.CLASSES),
        )
        if given[name]
    }
    batch = whole("--batch", given["batch"], ranges.COUNT)
    rounds = whole("--rounds", given["rounds"], ranges.ROUNDS)
    threads = whole("--threads", given["threads"], ranges.THREADS)
    from morphogen import cost
    from morphogen.supernets import network

    spec = replace(cost.published(space), **sizes)
    spec = replace(spec, in_channels=image[0] if axes else spec.classes)
    one = image if axes else _ids(image)
    counts = [cost.of(space, arch, spec, one) for arch in archs]
    taken: list[Latency] = []
    if given["latency"]:
        for arch in archs:
            cost.require(space, spec, one, batch=batch, arch=arch, training=False)
        nets = [network(space, a, spec) for a in archs]
        taken = cost.latency(
            nets,
            one,
            batch=batch,
            rounds=rounds,
            threads=threads,
        )
    if given["json"]:
        print_json(
            {
                "space": space.name,
                "image": list(image),
                "spec": asdict(spec),
                "architectures": [
                    {
                        "architecture": space.format(arch),
                        **asdict(counted),
                        **({"latency_ms": asdict(taken[i])} if taken else {}),
                    }
                    for i, (arch, counted) in enumerate(zip(archs, counts, strict=True))
                ],
            }
        )
        return 0
    lines = [f"  {i}  {space.format(arch)}" for i, arch in enumerate(archs, start=1)]
    about = _about(
        f"{space.name}, channels {spec.channels}, depth {spec.depth}, {spec.classes} "
        f"classes, for one {_CALLED[axes]} of {'x'.join(map(str, image))} in float32.",
        taken,
    )
    print("\n".join([*lines, "", _table(counts, taken), "", fold(about, width())]))
    return 0


def _ids(lengths: tuple[int, ...]) -> Any:
    """Ids of a pair of so many tokens."""
    import torch

    return tuple(torch.zeros(1, length, dtype=torch.int64) for length in lengths)


def shape(text: str, axes: int) -> tuple[int, ...]:
    """`3x32x32` as channels, height, width; with one axis `3x128` as channels, points of time.

    With none `20x22` as tokens of source and target.
    """
    most = (ranges.WIDTH.most, *[ranges.SIDE.most if axes == 2 else ranges.LENGTH.most] * axes)
    most = most if axes else (ranges.WIDTH.most, ranges.WIDTH.most)
    found = re.fullmatch("x".join(["([0-9]{1,9})"] * len(most)), text.lower())
    sizes = tuple(int(n) for n in found.groups()) if found else (0,)
    if not all(1 <= size <= top for size, top in zip(sizes, most, strict=False)):
        raise ConfigError(
            f"--image is {brief(text)}; accepted: {_WANTED[axes]}, at most "
            f"{'x'.join(map(str, most))}"
        )
    return sizes


def _table(counts: Sequence[Cost], taken: Sequence[Latency]) -> str:
    head = ["", "params", "MACs", "FLOPs", "memory access", "activations", "peak"]
    rows = [
        [
            f"{i}",
            f"{c.params:,}",
            f"{c.macs / 1e6:,.2f} M",
            f"{c.flops / 1e6:,.2f} M",
            mebibytes(c.memory_access),
            mebibytes(c.activation_bytes),
            mebibytes(c.peak_bytes),
        ]
        for i, c in enumerate(counts, start=1)
    ]
    if taken:
        head.append("latency (quartiles)")
        for row, t in zip(rows, taken, strict=True):
            row.append(f"{t.median:.2f} ms ({t.low:.2f} to {t.high:.2f})")
    return columns(head, rows)


def _about(what: str, taken: Sequence[Latency]) -> str:
    text = (
        f"{what} A multiply-add is 1 MAC and 2 FLOPs (papers mostly call MACs FLOPs); "
        "convolutions and matrix products are counted. Memory access: all that kernels read and "
        "write. Activations: all feature maps; peak: those alive at once in evaluation."
    )
    if taken:
        one = taken[0]
        text += (
            f" Latency: median of {one.rounds} interleaved passes after a warm-up, batch "
            f"{one.batch}, {one.threads} thread{'s'[: one.threads != 1]}, {one.device}."
        )
    return text


def mebibytes(count: int) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:,.2f} MiB"


OPTIONS = Section(
    "Options",
    (
        Option((), "SPACE", "a space with networks; `morphogen list spaces` names them", MISSING),
        Option((), "ARCH...", "architectures in the space's notation, each in quotes", MISSING),
        Option(
            ("--image",),
            "CxHxW",
            "channels, height and width of an image (default: 3x32x32); channels and points of "
            "time of a signal, CxT (1x128); tokens of source and target, SxT (20x20)",
            "",
        ),
        Option(("--channels",), "N", "C (default: as published for the space)", ""),
        Option(("--depth",), "N", "cells (default: as published for the space)", ""),
        Option(("--classes",), "N", "number of classes, or of tokens (default: 10)", ""),
        Option(("--latency",), "", "measure the latency on this machine, too", False),
        Option(("--batch",), "N", "examples of a measured pass", "1"),
        Option(("--rounds",), "N", "measured passes of each network", "50"),
        Option(("--threads",), "N", "CPU threads; 0: torch's own choice", "0"),
        JSON,
    ),
)


COMMAND = Command(
    "cost",
    "SPACE ARCH...",
    "Parameters, FLOPs, memory traffic and, with --latency, measured time of architectures.",
    (
        f"morphogen cost nasbench201 \\\n      {CELL}",
        "morphogen cost nasbench201 --latency --image 1x28x28 --channels 8 --depth 1 \\\n"
        f"      {CELL}",
    ),
    run,
    OPTIONS,
)
