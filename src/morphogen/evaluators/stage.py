"""How far an architecture is trained, and what is recorded of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TraceKind = Literal["params", "features"]
"""Of a trace: how a layer's parameters change, or its features (see `traces`)."""


@dataclass(frozen=True)
class Stage:
    """What a round of architectures undergoes."""

    budget: float = 1.0
    """Share of the evaluator's full training, above 0; learning rates are the full training's."""
    trace: TraceKind | None = None
    """What is recorded of the training; None: nothing."""


FULL = Stage()
"""The whole training, nothing recorded."""
