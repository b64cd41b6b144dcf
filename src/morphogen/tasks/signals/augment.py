"""Batched augmentation of signals, after normalisation: noise and random gains.

Jitter and scaling as in Um et al., ICMI 2017, arXiv 1706.00527, section 3. All numbers of a joint
batch are drawn from one CPU generator, so that every process draws the same and uses its share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.errors import ConfigError

MOST = 10.0
"""Channel deviations: more is no signal any more."""


@dataclass(frozen=True)
class SignalAugment:
    """What is done to training signals: a gain for each channel, then noise on each value."""

    jitter: float = 0.0
    """Standard deviation of the noise, as a share of the channel's deviation; 0 is off."""
    scaling: float = 0.0
    """Standard deviation of the gain around 1, drawn for each channel; 0 is off."""

    def __post_init__(self) -> None:
        for name in ("jitter", "scaling"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 <= value <= MOST):
                raise ConfigError(f"{name} is {value!r}; accepted: 0, which is off, to {MOST:g}")

    def apply(self, x: Tensor, rows: slice, joint: int, generator: torch.Generator) -> Tensor:
        """Augmented signals.

        Args:
            x: normalised float32 `[b, channels, time]`, those of `rows` of the joint batch.
            rows: this process's share.
            joint: signals of the joint batch.
            generator: on the CPU.
        """
        _, channels, time = x.shape
        if self.scaling:
            gains = torch.randn(joint, channels, 1, generator=generator)[rows]
            x = x * (1 + self.scaling * gains.to(x.device))
        if self.jitter:
            noise = torch.randn(joint, channels, time, generator=generator)[rows]
            x = x + self.jitter * noise.to(x.device)
        return x


PLAIN = SignalAugment()
"""No augmentation."""
