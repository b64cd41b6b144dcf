"""The random architectures with which a black-box method begins, beside the evaluations it has.

A population of 100 that has 50 evaluations never breeds: it is random search under another name.
So a default that is more than half of the evaluations is cut to half of them, and what stands in
proportion to it (contestants of a tournament) with it; what the user chose is kept, or refused.
"""

from __future__ import annotations

from typing import Any

from morphogen.core import ConfigError
from morphogen.core.config import altered
from morphogen.methods import MethodInfo, find

LEAST = 2
"""Random architectures, at least: of one there is nothing to choose."""


def fit_initial(info: MethodInfo, config: Any, evaluations: int) -> tuple[Any, tuple[str, ...]]:
    """The configuration with an initial sample that leaves evaluations to the method.

    Args:
        info: the method; `initial` names the field.
        config: its configuration. A number other than the default is the user's own.
        evaluations: of the whole search.

    Returns:
        The configuration, and sentences on what was scaled.

    Raises:
        ConfigError: the user's own number leaves no evaluation to the method.
    """
    if not info.initial:
        return config, ()
    name, usual = info.initial, info.config()
    value, half = getattr(config, name), max(LEAST, evaluations // 2)
    if value != getattr(usual, name):
        if value >= evaluations:
            most = f"at most {evaluations - 1}, or more" if evaluations > LEAST else "more"
            raise ConfigError(
                f"{name} is {value}, and {info.name!r} has {evaluations} evaluations, so that all "
                f"would be random; accepted: {most} evaluations"
            )
        return config, ()
    if value <= half:
        return config, ()
    scaled = {name: half}
    for other in info.in_proportion:
        held = getattr(config, other)
        if held == getattr(usual, other):
            scaled[other] = max(min(LEAST, held), -(-held * half // value))
    changed = [
        f"{f} is {n}, not {getattr(config, f)}"
        for f, n in scaled.items()
        if n != getattr(config, f)
    ]
    share = "all" if value >= evaluations else "more than half"
    return altered(config, scaled), (
        f"{' and '.join(changed)}, since {value} random architectures would take {share} of the "
        f"{evaluations} evaluations",
    )


def usual_initial(method: str, evaluations: int) -> int | None:
    """What a search of so many evaluations begins with by default; None without such a number."""
    info = find(method)
    if not info.initial:
        return None
    begins: int = getattr(fit_initial(info, info.config(), evaluations)[0], info.initial)
    return begins
