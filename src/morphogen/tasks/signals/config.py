"""What signals can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from morphogen.core.config import Share, config
from morphogen.core.reading import trouble
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut
from morphogen.tasks.signals.augment import SignalAugment
from morphogen.tasks.signals.data import Signals
from morphogen.tasks.signals.inputs import SignalInputs
from morphogen.tasks.signals.readers import find
from morphogen.tasks.signals.task import SignalTask

Deviation = Annotated[float, Field(ge=0, le=10)]
"""As a share of a channel's."""


@task_config("signals")
@config
class SignalConfig(TaskConfig):
    """Signals: what training signals undergo, and the loss."""

    spatial_dims: ClassVar[int | None] = 1
    default_space: ClassVar[str] = "signal201"
    fits: ClassVar[bool] = True

    jitter: Deviation = 0.0
    """noise on training signals, as a share of each channel's deviation; 0: none"""
    scaling: Deviation = 0.0
    """deviation around 1 of the number with which each channel of a training signal is multiplied;
    0: none"""
    label_smoothing: Share = 0.0
    """share of a label that goes to all classes alike, in the loss that trains weights"""
    class_weights: str = "none"
    """weights of classes in the loss that trains weights: none; balanced, for every class the same
    in all; logarithmic, which is milder; or numbers, for classes that are not named 1:
    'cat=2, dog=0.5'"""

    @classmethod
    def takes(cls, data: Any) -> bool:
        """Signals in memory or in a file; of .npz and .parquet the headers are read."""
        if not isinstance(data, str | os.PathLike):
            return isinstance(data, Signals)
        path = Path(data)
        if path.suffix.lower() not in (".npz", ".parquet") or trouble(path):
            return False
        return find(path) is not None

    @classmethod
    def inputs(cls) -> SignalInputs:
        """How a trained network is given other signals."""
        return SignalInputs()

    def make(self, data: Any, cut: Cut) -> SignalTask:
        """The signals, read and cut; see `SignalTask.of`."""
        return SignalTask.of(
            data,
            **cut.given,
            channels=cut.channels,
            augment=SignalAugment(jitter=self.jitter, scaling=self.scaling),
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
