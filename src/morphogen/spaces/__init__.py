"""Built-in search spaces by name, and the contract they keep."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from morphogen.core import UnknownNameError
from morphogen.spaces.base import (
    Capability,
    Contest,
    Differentiable,
    Discrete,
    Encodable,
    Lane,
    OptionScores,
    Restrictable,
    SearchSpace,
    capabilities,
    of_space,
)
from morphogen.spaces.constrained import Constrained
from morphogen.spaces.drawing import fresh

BUILT_IN: dict[str, tuple[str, str]] = {
    "nasbench201": ("nasbench201", "NASBench201"),
    "darts": ("darts", "darts"),
    "darts-gdas": ("darts", "gdas"),
    "darts-s1": ("robustdarts", "s1"),
    "darts-s2": ("robustdarts", "s2"),
    "darts-s3": ("robustdarts", "s3"),
    "darts-s4": ("robustdarts", "s4"),
    "signal201": ("nasbench201", "Signal201"),
    "signal-darts": ("darts", "SignalDARTS"),
    "nasbench-macro": ("nasbench_macro", "NASBenchMacro"),
    "shufflenet": ("shufflenet", "imagenet"),
    "shufflenet-cifar": ("shufflenet", "cifar"),
    "shufflenet-small": ("shufflenet", "small"),
    "nasbench1shot1-s1": ("nasbench1shot1", "s1"),
    "nasbench1shot1-s2": ("nasbench1shot1", "s2"),
    "nasbench1shot1-s3": ("nasbench1shot1", "s3"),
}
"""Space name -> (module, constructor without arguments)."""


def make(name: str) -> SearchSpace:
    """The built-in space called `name`, or an `UnknownNameError` with the nearest match."""
    if not isinstance(name, str) or name not in BUILT_IN:
        raise UnknownNameError("space", name, BUILT_IN)
    module, constructor = BUILT_IN[name]
    build: Callable[[], SearchSpace] = getattr(
        import_module(f"morphogen.spaces.{module}"), constructor
    )
    return build()


__all__ = [
    "BUILT_IN",
    "Capability",
    "Constrained",
    "Contest",
    "Differentiable",
    "Discrete",
    "Encodable",
    "Lane",
    "OptionScores",
    "Restrictable",
    "SearchSpace",
    "capabilities",
    "fresh",
    "make",
    "of_space",
]
