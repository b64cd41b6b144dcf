"""A time as users write it: `90s`, `30m`, `2h`, `1h30m`."""

from __future__ import annotations

import re

from morphogen.core import ConfigError
from morphogen.core.names import brief

UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

SHORTEST, LONGEST = 20.0, 30 * 24 * 3600.0
"""Seconds that can be asked for."""


def seconds_of(text: str) -> float:
    """The seconds in `90s`, `30m`, `2h`, `1h30m`.

    Raises:
        ConfigError: it is no time, or too short or too long a one.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h)", text)
    whole = "".join(number + unit for number, unit in parts)
    total = sum(float(number) * UNITS[unit] for number, unit in parts)
    if whole != text.replace(" ", "") or not SHORTEST <= total <= LONGEST:
        raise ConfigError(
            f"time is {brief(text)}; accepted: {SHORTEST:g}s to {LONGEST / 86400:g} days, as 90s, "
            "30m, 2h or 1h30m"
        )
    return total
