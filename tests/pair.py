"""Searches on two processes, all in one launch: starting two processes costs seconds."""

from __future__ import annotations

import atexit
import fcntl
import os
import pickle
import shutil
import tempfile
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tiny
from morphogen.core import MorphogenError
from morphogen.core.config import to_mapping
from morphogen.engine.devices import place
from morphogen.engine.record.watch import Silent
from morphogen.engine.search import launch
from morphogen.engine.search.job import Job, method_of, spec_of, task_of
from morphogen.engine.search.result import write_result
from morphogen.engine.search.run import run_job
from morphogen.methods import methods
from morphogen.runs.config import describe, known_space
from morphogen.runs.directory import RunDirectory
from morphogen.runs.provenance import provenance

SETTINGS = tiny.changed(tiny.SETTINGS, epochs=2, evaluations=2, diagnostic_images=0)

Key = tuple[str, str]


def cases() -> dict[Key, tuple[Any, Any]]:
    """(name, space) -> (configuration, space): every method, and those that the claims compare.

    Of the black-box methods one: the engine asks them all alike, and trains what they propose.
    """
    names = [name for name, info in methods().items() if not info.black_box or name == "random"]
    found = {(name, "smooth"): (_config(name), tiny.smooth()) for name in names}
    darts, idarts = tiny.config("darts"), tiny.config("idarts")
    found["darts second order", "smooth"] = (replace(darts, second_order=True), tiny.smooth())
    exact = replace(darts, second_order=True, radius=0.0)
    found["darts second order exact", "smooth"] = (exact, tiny.smooth())
    noisy = replace(idarts, official_noise=True, independent_batches=True)
    found["idarts noise", "smooth"] = (noisy, tiny.smooth())
    short = replace(idarts, inner_steps=2, neumann_terms=1)  # every batch norm waits for both
    for name, config in (("darts", darts), ("darts second order exact", exact), ("idarts", short)):
        found[name, "nasbench201"] = (config, "nasbench201")
    return found


def _config(name: str) -> Any:
    """A proxy that needs no activations with two sides, which a smooth module has not."""
    made = tiny.config(name)
    return replace(made, proxy="snip") if hasattr(made, "proxy") else made


def _job(key: Key, root: Path, devices: int) -> Job:
    config, space = cases()[key]
    info, config = method_of(config)
    # Networks with kinks drift apart after some steps, since rounding decides a kink now and then.
    epochs = SETTINGS.epochs if isinstance(space, nn.Module) else 1
    settings = tiny.changed(SETTINGS, devices=devices, epochs=epochs)
    directory = RunDirectory(root / "-".join([*key, str(devices)]).replace(" ", "-"))
    directory.path.mkdir()
    job = Job(
        info.name,
        config,
        known_space(space),
        tiny.images(),
        settings,
        directory.path,
        resume=False,
        watcher=Silent,
    )
    task = task_of(job.data, settings)
    held = provenance(
        job.space,
        task,
        threads=settings.hardware.threads,
        devices=devices,
        accelerator=settings.hardware.accelerator,
    )
    given = {"settings": to_mapping(settings), "config": to_mapping(config), "provenance": held}
    network = asdict(spec_of(settings, task))
    more = {"task": task.describe(), "network": network}
    directory.write_config(describe(info.name, job.space, job.data, **given) | more)
    return job


def _all(fabric: Any, jobs: list[bytes]) -> list[MorphogenError | None]:
    return [launch._process(fabric, job) for job in jobs]


@cache
def results() -> dict[Key, tuple[dict[str, Any], dict[str, Any]]]:
    """For each case what one process found and what two found: text, metrics, last state.

    Test workers (pytest-xdist) share one launch: the first does it, the others read.
    """
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    root = Path(tempfile.gettempdir()) / f"morphogen-pair-{session}"
    root.mkdir(exist_ok=True)
    atexit.register(shutil.rmtree, root, ignore_errors=True)  # workers end with the session
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = root / "results.pt"
        if not file.exists():
            torch.save(_results(root), file)
        found: dict[Key, Any] = torch.load(file, weights_only=True)
    return found


def _results(root: Path) -> dict[Key, tuple[dict[str, Any], dict[str, Any]]]:
    jobs = {key: _job(key, root, 2) for key in cases()}
    packed = [pickle.dumps(job) for job in jobs.values()]
    ended = place("cpu", 2, "32-true").launch(_all, packed)
    found = {}
    for (key, job), failure in zip(jobs.items(), ended, strict=True):
        if failure is not None:
            raise failure
        alone = _job(key, root, 1)
        write_result(alone, run_job(place("cpu", 1, "32-true"), alone, None))
        found[key] = (_found(alone.path), _found(job.path))
    return found


def _found(path: Path) -> dict[str, Any]:
    result = RunDirectory(path).result()
    assert result is not None
    return {
        "text": result["architecture"],
        "metrics": tiny.metrics(path),
        "state": tiny.state(path),
    }
