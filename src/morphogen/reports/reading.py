"""Run directories as `report` and `runs` see them. No torch: both answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphogen.reports.run import Run, State
from morphogen.runs.directory import RunDirectory


def read_run(path: Path) -> Run:
    """What a run directory holds, also of a run that goes on or was cut off.

    Raises:
        RunError: it is no run directory, or its config.yaml is damaged.
    """
    directory = RunDirectory.open(path)
    config = directory.config()
    rows, lost = directory.inspect_metrics()
    result, damaged = directory.inspect_result()
    if result and result.get("ended_early") and result["epochs"] != len(rows):
        result = None  # the search has gone on since
    ranking, unranked = directory.inspect_ranking()
    examples, unseen = directory.inspect_examples()
    return Run(
        str(path),
        state_of(directory, config, result or {}, len(rows)),
        config,
        rows,
        result or {},
        tuple(fault for fault in (lost, damaged, unranked, unseen) if fault),
        ranking or {},
        examples or {},
    )


def state_of(
    directory: RunDirectory, config: dict[str, Any], result: dict[str, Any], lines: int
) -> State:
    """`running` while a process holds the directory, else by its result."""
    if directory.is_locked():
        return "running"
    if not result or result.get("epochs") != lines:
        return "cut off"
    if result.get("ended_early"):
        return "ended early"
    asked = config.get("baseline") or config.get("opponents")
    return "cut off" if asked and "comparison" not in result else "finished"
