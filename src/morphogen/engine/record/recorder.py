"""What a loop writes of a run, and where it goes on: lines of metrics, checkpoints, the watcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from morphogen.core import CheckpointError, MorphogenError, RunError
from morphogen.engine.record.watch import Watcher
from morphogen.runs import checkpoint
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.problem import Devices


@dataclass(frozen=True)
class Recorder:
    """The run directory a loop reads, and writes unless it is in a process that only helps."""

    run: RunDirectory
    config: Mapping[str, Any]
    """The content of config.yaml."""
    watcher: Watcher
    resumed: bool
    writes: bool = True
    lines: list[str] = field(default_factory=list)
    """Of metrics so far, which are in each checkpoint: made once, and not at every epoch again."""

    def start(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Tell the watcher where the search stands, and have the record say just that."""
        if self.writes and self.resumed:
            self.lines[:] = self.run.keep(history)
        self.watcher.started(self.config, self.run.path, len(history))

    def save(self, row: Mapping[str, Any], content: Mapping[str, Any] | None = None) -> None:
        """An epoch's line, then the checkpoint that makes it count, with all lines so far."""
        if self.writes:
            self.lines.append(self.run.append(row))
            if content is not None:
                held = {**content, "history": "".join(self.lines)}
                checkpoint.write(self.run.checkpoint_file, held)
        self.watcher.epoch(row)

    def last_checkpoint(self, identities: Sequence[str]) -> dict[str, Any] | None:
        """The newest whole checkpoint; the watcher is told if another was damaged.

        Args:
            identities: fingerprints of the configuration, of which a checkpoint has one.

        Returns:
            Its content; None if no epoch was finished.

        Raises:
            CheckpointError: it is damaged or another run's.
        """
        content, notice = last_checkpoint(self.run, identities)
        if notice:
            self.watcher.notice(notice)
        return content


def last_checkpoint(
    run: RunDirectory, identities: Sequence[str]
) -> tuple[dict[str, Any] | None, str]:
    """The newest whole checkpoint and what to tell of it; None if no epoch was finished."""
    last, old = run.checkpoint_file, checkpoint.previous(run.checkpoint_file)
    recorded = run.metrics()
    if not last.exists() and not old.exists():
        if len(recorded) > 1:  # one line may stand there before the first checkpoint does
            raise CheckpointError(
                f"{last} does not exist, and {run.metrics_file.name} has {len(recorded)} epochs; "
                "accepted: a run with its checkpoint"
            )
        return None, ""
    notices = []
    try:
        content = checkpoint.read_saved(last)
    except CheckpointError as error:
        if not old.exists():
            raise
        content = checkpoint.read_saved(old)
        notices.append(f"{error}; going on from the one before")
    if content.get("identity") not in identities:
        raise CheckpointError(
            f"{last} belongs to another run: its configuration is not that of {run.config_file}"
        )
    history = content["history"]
    if recorded[: len(history)] != history:
        notices.append(
            f"{run.metrics_file} was not as this run left it, and is written anew from the "
            "checkpoint"
        )
    return content, "; ".join(notices)


def in_all_processes(devices: Devices, act: Callable[[], None]) -> None:
    """Do `act`; if it fails in one process, fail in all of them, so that none waits for another."""
    failure: MorphogenError | None = None
    try:
        act()
    except MorphogenError as error:
        failure = error
    flag = torch.tensor(float(failure is not None), device=devices.device)
    (failed,) = devices.mean([flag])
    if failure is not None:
        raise failure
    if failed > 0:
        raise RunError("another process could not write; its own message says why")
