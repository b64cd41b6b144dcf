"""The run that found an architecture, and what a training of it takes over from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from morphogen.core import RunError
from morphogen.core.names import shell
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.tasks.configs import TaskConfig, read


@dataclass(frozen=True)
class Origin:
    """What a finished run found, and how it saw its data."""

    run: Path
    text: str
    """The architecture."""
    space: Mapping[str, Any]
    """As config.yaml has it."""
    data: str
    """As config.yaml names them."""
    task: TaskConfig | None
    """What the data were asked for: size, mirroring, weights of classes; None: a task of one's own
    was searched on, or is trained on, or data of another name are."""
    within: SearchSpace | None = None
    """The space as it was searched, with its limits; None: nobody asked."""

    def of(self, data: object) -> Origin:
        """The same, of which nothing is taken over if other data are trained on."""
        return self if str(data) == self.data else replace(self, task=None)

    def kept(self, asked: TaskConfig | None) -> str:
        """What is said of the settings of the data; empty where none are taken over.

        Args:
            asked: what the data are asked for in the training.
        """
        if self.task is None or type(asked) is not type(self.task):
            return ""
        same: list[str] = []
        other: list[str] = []
        for field in fields(asked):
            value = getattr(asked, field.name)
            words = f"{field.name.replace('_', ' ')} {_text(value)}"
            (same if value == getattr(self.task, field.name) else other).append(words)
        said = f"data settings as in {self.run}: {', '.join(same) or 'none'}"
        return said + (f"; other than there: {', '.join(other)}" if other else "")

    def recorded(self, asked: TaskConfig | None) -> dict[str, str]:
        """Entries of config.yaml."""
        said = self.kept(asked)
        return {"search": str(self.run), **({"inherited": said} if said else {})}


def _text(value: Any) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else f"{value}"


def found_in(run: str | Path) -> Origin:
    """What a finished run found.

    Raises:
        RunError: there is no run, or it is not finished.
        ConfigError: its settings of the data cannot be read.
    """
    directory = RunDirectory.open(run)
    values, written = directory.config(), directory.result()
    if written is None or not isinstance(written.get("architecture"), str):
        raise RunError(
            f"{run} is not finished: it has no result yet; accepted: a finished run, or first "
            f"`{shell('morphogen', 'resume', directory.path)}`"
        )
    return Origin(
        directory.path,
        written["architecture"],
        values["space"],
        str(values.get("data")),
        read(values["settings"].get("task")),
    )
