"""Run directories as `report` and `runs` see them. No torch: both answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphogen.core import RunError
from morphogen.engine.rundir import RunDirectory
from morphogen.reports.ranking import well_formed
from morphogen.reports.run import Run, State

NEEDED = {"method": str, "space": str, "data": str, "settings": dict, "config": dict}
"""Entries of config.yaml without which there is nothing to say."""


def read_run(path: Path) -> Run:
    """What a run directory holds, also of a run that goes on or was cut off.

    Raises:
        RunError: it is no run directory, or its config.yaml is damaged.
    """
    directory = RunDirectory.open(path)
    config = directory.config()
    for name, kind in NEEDED.items():
        if not isinstance(config.get(name), kind):
            raise RunError(f"{directory.config_file} has no {name}; accepted: what search wrote")
    rows = directory.metrics()
    result = directory.result() or {}
    faults = []
    lost = directory.unread_lines()
    if lost:
        faults.append(
            f"{directory.metrics_file.name} is damaged: its last {lost} lines cannot be read, and "
            f"are left out after line {len(rows)}"
        )
    if directory.result_file.exists() and not result:
        faults.append(f"{directory.result_file.name} is damaged; `morphogen resume` writes it anew")
    ranking = directory.ranking() or {}
    if directory.rank_file.exists() and not well_formed(ranking):
        faults.append(f"{directory.rank_file.name} is damaged; `morphogen rank` writes it anew")
        ranking = {}
    return Run(
        str(path),
        state_of(directory, result, len(rows)),
        config,
        rows,
        result,
        tuple(faults),
        ranking,
    )


def state_of(directory: RunDirectory, result: dict[str, Any], lines: int) -> State:
    """`running` while a process holds the directory, else `finished` or `cut off`."""
    if directory.is_locked():
        return "running"
    return "finished" if result and result.get("epochs") == lines else "cut off"
