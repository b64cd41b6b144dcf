"""What a run's bits depend on besides its settings, on record when it begins, compared later.

What decides them and can be had again is taken again (threads) or refused where it has changed
(contents of the data, of a table, the structure of a module). What cannot be had again (another
torch, another processor) is a note: the last bits may differ.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from morphogen.core import RunError
from morphogen.core.reading import sha256
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import ModuleSpace, SearchSpace
from morphogen.supernets.own import copied_module
from morphogen.tasks import Task
from morphogen.tasks.digests import digest, raw

DECISIVE = ("contents", "threads", "module", "table", "beginning", "extended")
"""Entries of config.yaml that are part of a run's identity, besides what was asked for."""

PACKAGES = ("morphogen", "torch", "numpy", "scikit-learn", "lightgbm")


def provenance(
    space: SearchSpace,
    task: Task,
    *,
    threads: int,
    accelerator: str,
    devices: int = 1,
    table: str = "",
    begun: Path | None = None,
) -> dict[str, Any]:
    """What goes into config.yaml.

    Args:
        space: what is searched, or what the architecture is of.
        task: the data as they were read.
        threads: as asked for, per process; 0: torch's own choice, shared by the processes.
        accelerator: as asked for.
        devices: processes.
        table: a file of a benchmark table, or none.
        begun: a file of weights that the run begins with, or none.
    """
    return {
        "contents": task.contents(),
        "threads": threads or max(1, torch.get_num_threads() // devices),
        "numerics": numerics(accelerator),
        **({"module": module_digests(space)} if isinstance(space, ModuleSpace) else {}),
        **({"table": sha256(Path(table))} if table else {}),
        **({"beginning": sha256(begun)} if begun else {}),
    }


def versions() -> dict[str, Any]:
    """Of this package, of Python, and of what computes."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def numerics(accelerator: str) -> dict[str, str]:
    """Kind of processor and switches of torch, on which the last bits depend."""
    kinds = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    if accelerator != "cpu" and torch.cuda.is_available():
        kinds.append(torch.cuda.get_device_name())
    return {
        "processor": " ".join(kinds),
        "matmul precision": torch.get_float32_matmul_precision(),
        "TF32 convolutions": str(torch.backends.cudnn.allow_tf32),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "default type": str(torch.get_default_dtype()).removeprefix("torch."),
    }


def other_machine(config: Mapping[str, Any]) -> str:
    """A sentence if the run goes on with other software or another processor; else empty."""
    then = {**config["versions"], **config["numerics"]}
    now = {**versions(), **numerics(config["settings"]["hardware"]["accelerator"])}
    differ = [n for n in now if n != "python" and then.get(n) != now[n]]
    if not differ:
        return ""
    before, after = (", ".join(f"{n} {held.get(n)}" for n in differ) for held in (then, now))
    return (
        f"the run began with {before} and goes on with {after}: its numbers may differ in their "
        "last bits from those of an uninterrupted run"
    )


def require_recorded(directory: RunDirectory, config: Mapping[str, Any]) -> None:
    """Refuse a run of an older version, that cannot be continued to its own bits.

    Raises:
        RunError: config.yaml says nothing of data or threads.
    """
    for name in ("contents", "threads", "numerics"):
        if name not in config:
            raise RunError(
                f"{directory.config_file} has no {name}: a version of morphogen before this one "
                "began the run, and whether it would go on to the same result is not known; "
                "accepted: a run of this version, or a new run"
            )


def require_same_data(directory: RunDirectory, config: Mapping[str, Any], task: Task) -> None:
    """Refuse data that are not those with which the run began.

    Raises:
        RunError: examples, classes, labels or values are others.
    """
    difference = task.changed(config["contents"])
    if difference:
        raise RunError(
            f"the data {config['data']} are not those with which {directory.path} began: "
            f"{difference}; accepted: the data as they were, or a new run"
        )


def require_same_files(directory: RunDirectory, config: Mapping[str, Any]) -> None:
    """Refuse another table, or other weights to begin with.

    Raises:
        RunError: a file has changed.
    """
    table = config["settings"].get("evaluation", {}).get("table", "")
    for name, file in (("table", Path(table)), ("beginning", directory.start_file)):
        if name in config and sha256(file) != config[name]:
            raise RunError(
                f"{file} has changed since {directory.path} began; accepted: the file as it was, "
                "or a new run"
            )


def require_same_module(
    directory: RunDirectory, config: Mapping[str, Any], space: SearchSpace, *, redrawn: bool
) -> str:
    """Refuse a module of another structure; a sentence if its weights matter and are others.

    Args:
        directory: the run.
        config: its config.yaml.
        space: that goes on.
        redrawn: whether weights are drawn anew or come from the checkpoint, so that those of the
            module do not count.

    Raises:
        RunError: layers, shapes or frozen parameters are others.
    """
    if not isinstance(space, ModuleSpace) or "module" not in config:
        return ""
    now = module_digests(space)
    if now["structure"] != config["module"]["structure"]:
        raise RunError(
            f"the module is not the one with which {directory.path} began: its layers, their "
            "shapes or what is frozen of them does not fit; accepted: the same module, or a new run"
        )
    if redrawn or now["weights"] == config["module"]["weights"]:
        return ""
    return (
        "the weights of your module are not those with which the run began (draw them from a fixed "
        "seed, or load them): its numbers will differ from those of an uninterrupted run"
    )


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Torch on so many threads; another number adds up in another order, to other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def module_digests(space: ModuleSpace) -> dict[str, str]:
    """Digests of a module's structure and of its weights."""
    module = copied_module(space)
    state = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    shapes = [f"{n} {list(t.shape)} {t.dtype} {t.requires_grad}" for n, t in state.items()]
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module))  # where an object lies says nothing
    return {
        "structure": digest([text.encode(), "\n".join(shapes).encode()]),
        "weights": digest(raw(t) for t in state.values()),
    }
