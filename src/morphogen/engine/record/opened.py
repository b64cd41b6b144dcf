"""A run directory, opened to be read: what was asked, what was measured, what came out."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING

from morphogen.core import arguments
from morphogen.reports.reading import read_run
from morphogen.reports.run import Run as ReadRun
from morphogen.reports.writing import Report, report

if TYPE_CHECKING:
    from torch import nn

    from morphogen.runs.config import Space


class Run(ReadRun):
    """A run directory as it is: finished, cut off, or still running. Nothing in it is changed.

    `config` is config.yaml, `metrics` the lines of metrics.jsonl (or the architectures of a
    black-box search), `result` is result.json; all are plain values. `architecture` is what was
    found so far, `state` is finished, running or cut off, `faults` says what could not be read.
    """

    def __fspath__(self) -> str:
        return self.path

    def network(self, *, space: Space | None = None, seed: int | None = None) -> nn.Module:
        """The architecture's network, alone, as a module in evaluation mode.

        Of a finished training, and of a search that delivers a network, it has the trained weights;
        of another search they are drawn anew, since those of a supernet are shared by all its
        networks and belong to none.

        Args:
            space: needed again if it was an object of yours rather than a name.
            seed: of trained networks: of which; else of the weights that are drawn.

        Raises:
            RunError: there is no architecture yet, or `space` is missing.
        """
        from morphogen.engine.record.networks import network_of

        return network_of(self, space=space, seed=seed)

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Write its page, see `morphogen.report`."""
        return report(self, out)

    def _repr_html_(self) -> str:
        from morphogen.reports import notebook  # late: few searches are in a notebook

        return notebook.run(self)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory to read it.

    Args:
        path: the run directory of a search or of a training, or a result.

    Raises:
        RunError: it is no run directory, or its config.yaml is damaged. Other files that are
            damaged are named in `faults` of what is returned.
    """
    read = read_run(arguments.path("path", path))
    return Run(**{field.name: getattr(read, field.name) for field in fields(read)})
