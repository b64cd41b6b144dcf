"""The run directory: the whole truth of a search, in files that a person can read.

config.yaml    method, space, data, settings, seed, versions, command
metrics.jsonl  one line per epoch (or per evaluation)
checkpoint     the state after the last finished epoch, and the one before (`.previous`)
result.json    the architecture found, and at what cost
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from morphogen.core import RunError
from morphogen.engine.checkpoint import writing


class RunDirectory:
    """Reads and writes one run directory; nothing is half written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoint_file = path / "checkpoint.pt"
        self.result_file = path / "result.json"

    @classmethod
    def create(cls, path: Path | None, label: str) -> RunDirectory:
        """A new directory; without a path `runs/<label>-<time>`.

        Raises:
            RunError: it holds a run already, or cannot be written.
        """
        if path is None:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            path = Path("runs") / f"{label}-{stamp}"
            for again in range(2, 1000):
                if not path.exists():
                    break
                path = path.with_name(f"{label}-{stamp}-{again}")
        run = cls(path)
        if run.config_file.exists():
            raise RunError(
                f"{path} holds a run already; accepted: a new directory, or "
                f"`morphogen resume {path}`"
            )
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, or a `RunError`."""
        run = cls(path)
        if not run.config_file.is_file():
            raise RunError(f"{path} holds no run: there is no config.yaml in it")
        return run

    # -- config ------------------------------------------------------------------------------

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        self._replace(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def config(self) -> dict[str, Any]:
        """Read config.yaml, or a `RunError`."""
        try:
            values = yaml.safe_load(self.config_file.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(
                f"cannot read {self.config_file}: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(values, dict):
            raise RunError(f"{self.config_file} is not a run's config; accepted: what search wrote")
        return values

    # -- metrics -----------------------------------------------------------------------------

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl and have it on the disk."""
        with writing(self.metrics_file), self.metrics_file.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a line cut short by a crash is left out."""
        rows: list[dict[str, Any]] = []
        if self.metrics_file.exists():
            for line in self.metrics_file.read_text().splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    break
        return rows

    def keep(self, rows: list[dict[str, Any]]) -> None:
        """Rewrite metrics.jsonl with these lines: what was finished when the checkpoint was."""
        self._replace(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))

    # -- result ------------------------------------------------------------------------------

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json."""
        self._replace(self.result_file, json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """Read result.json; None if the search is not finished."""
        if not self.result_file.exists():
            return None
        values: dict[str, Any] = json.loads(self.result_file.read_text())
        return values

    def _replace(self, path: Path, text: str) -> None:
        with writing(path):
            fresh = path.with_name(path.name + ".new")
            with fresh.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
