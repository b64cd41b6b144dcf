"""How wide a network, on how fine inputs, in which precision: what the time is enough for."""

from __future__ import annotations

from dataclasses import replace

from morphogen.core.config import altered
from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.speed import Speed
from morphogen.engine.search.planning.tasks import SizedTasks
from morphogen.spaces import ModuleSpace, SearchSpace, about, reference_within

WIDTHS = (8, 16, 24, 32, 48, 64)
"""Channels among which a network's are chosen, the narrowest first."""

EPOCHS, STEPS = 16, 4000
"""Of the reference, in all of the time: the widest network that has both is chosen."""

QUICKER = 0.85
"""Of a step's time in float32: bfloat16 is taken where it takes less."""


def _precision(plan: Choices, speed: Speed) -> None:
    """The one that is quicker here."""
    if isinstance(speed.space, ModuleSpace) or plan.asked("hardware.precision"):
        return
    given = _given(plan, speed.space)
    middle = plan.settings if given else altered(plan.settings, {"network.channels": 16})
    low = altered(middle, {"hardware.precision": "bf16-mixed"})
    whole = speed.step(middle)
    half = speed.step(low, most=whole)
    if half < QUICKER * whole:
        plan.take("hardware.precision", "bf16-mixed")
        plan.say(f"convolutions in bfloat16, which take {half / whole:.2g} of the time here")


def _given(plan: Choices, space: SearchSpace) -> bool:
    """Whether the width is the user's, or the one of the space."""
    known = about(space)
    sized = known is not None and "network.channels" in known.quick_search
    return isinstance(space, ModuleSpace) or sized or plan.asked("network.channels")


def choose_network(plan: Choices, space: SearchSpace, tasks: SizedTasks, seconds: float) -> Speed:
    """The widest network that has enough steps and epochs in the time, on the finest inputs.

    Coarser ones only where the narrowest is too slow: what is not in the inputs no width brings
    back. Under limits the widest of those in which the reference keeps them; if it does in none,
    the narrowest, in which most others do.

    Returns:
        Measurements on the inputs that were chosen.
    """
    descent = plan.config.weights
    finest = Speed(space, tasks.finest, descent)
    _precision(plan, finest)
    own = isinstance(finest.space, ModuleSpace)
    fixed = _given(plan, finest.space)
    steps = finest.steps_of_pass(plan.settings)
    most = seconds / max(EPOCHS * steps, STEPS)  # seconds of a step
    widths = (plan.settings.network.channels,) if fixed else WIDTHS
    at = {width: altered(plan.settings, {"network.channels": width}) for width in widths}
    kept = {width: wide for width, wide in at.items() if finest.keeps_limits(wide)}
    plan.reference = bool(kept) and reference_within(space) is not None
    if not kept:
        narrowest = min(at)
        at = {narrowest: at[narrowest]}
        # What nothing keeps is refused before a race is measured.
        Speed(space, tasks.at(tasks.sizes[-1]), descent).require_possible(at[narrowest])
        plan.say(f"the network that nobody searched does not keep {plan.settings.limit}")
    at = kept or at
    held, width, enough = tasks.sizes[-1], min(at), False
    for size in tasks.sizes:
        for wider in at:  # up to the first that is too slow
            if Speed(space, tasks.at(size), descent).step(at[wider], most=most) > most:
                break
            held, width, enough = size, wider, True
        if enough:
            break
    if held is not None and held != plan.settings.task:
        plan.settings = replace(plan.settings, task=held)
        plan.chosen |= {f"task.{name}" for name in held.sizes}
    for name in getattr(held, "sizes", ()):
        plan.say(f"{name.replace('_', ' ')} {getattr(held, name)}")
    plan.take("network.channels", width)
    if not own:
        limit = plan.settings.limit if kept else ""
        plan.say(f"{width} channels: {_why_width(fixed=fixed, enough=enough, limit=limit)}")
    return Speed(space, tasks.at(held), descent)


def _why_width(*, fixed: bool, enough: bool, limit: str) -> str:
    """Why a network is as wide as it is; `limit`: those that the reference keeps."""
    if fixed:
        return "as asked for, or as is usual in the space"
    if not enough:
        return "the smallest, for the time is short for these data"
    keeps = f"with which the reference keeps {limit} and " if limit else ""
    return (
        f"the widest network {keeps or 'that '}sees the data {EPOCHS} times in the time, in "
        f"{STEPS:,} steps or more"
    )
