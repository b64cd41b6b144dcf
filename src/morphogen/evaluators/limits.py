"""Limits on costs, as a user writes them: `params<=1.2M, memory<=4MiB, latency<=50ms`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.names import brief

COSTS: Mapping[str, str] = {
    "params": "parameters",
    "flops": "FLOPs of one input, two for each multiply-add",
    "memory": "bytes that a pass over one input reads and writes",
    "latency": "milliseconds of a pass over one input on one thread of this machine",
}
"""Cost -> unit, where it is counted or measured here; lower is better."""

COUNTS = {"": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9}
SIZES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9} | {
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
TIMES = {"": 1.0, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
UNITS: Mapping[str, Mapping[str, float]] = {
    "params": COUNTS,
    "flops": COUNTS,
    "memory": COUNTS | SIZES,
    "latency": TIMES,
}
"""What may follow the number of a cost -> its factor."""

IN_WORDS = {
    "params": "parameters, with K, M or G for thousands, millions, billions",
    "flops": "FLOPs, with K, M or G for thousands, millions, billions",
    "memory": "bytes, or with kB, MB, GB, KiB, MiB or GiB",
    "latency": "milliseconds (ms), or with us, ms or s",
}
"""What a number of a cost counts."""

LARGEST = 1e18
"""Of anything that is counted here."""


@dataclass(frozen=True)
class Limit:
    """A cost that no architecture of the search may exceed."""

    name: str
    most: float
    text: str
    """As the user wrote it."""


def limits_of(text: str) -> tuple[Limit, ...]:
    """The limits in `params<=1.2M, latency<=3ms`; none in an empty text.

    Raises:
        ConfigError: one cannot be read, or is on something that is no cost, or there twice.
    """
    limits = [_limit(part.strip()) for part in text.split(",")] if text else []
    names = [limit.name for limit in limits]
    if len(set(names)) < len(names):
        raise ConfigError(f"limit is {brief(text)}, one cost of it twice; accepted: each once")
    return tuple(limits)


def _limit(part: str) -> Limit:
    found = re.fullmatch(
        r"(?P<cost>[a-z_]+)\s*<=\s*(?P<number>[0-9.]+(?:e[+-]?[0-9]+)?)\s*(?P<unit>[a-zµ]*)",
        part.replace("\N{GREEK SMALL LETTER MU}", "µ"),
        re.IGNORECASE | re.ASCII,
    )
    if found is None:
        raise ConfigError(
            f"limit is {brief(part)}; accepted: COST<=NUMBER, several with commas between, where a "
            f"number of {'; of '.join(f'{name} is {IN_WORDS[name]}' for name in COSTS)}"
        )
    name = found["cost"]
    if name not in COSTS:
        raise UnknownNameError("cost in limit", name, COSTS)
    factor = UNITS[name].get(found["unit"])
    try:
        most = float(found["number"]) * (factor or 0.0)
    except ValueError:  # two points, say
        most = 0.0
    if not 0 < most <= LARGEST:
        raise ConfigError(
            f"limit is {brief(part)}; accepted for {name}: a number above 0 of {IN_WORDS[name]}"
        )
    return Limit(name, most, part)
