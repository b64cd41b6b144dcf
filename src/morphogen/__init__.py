"""morphogen: weight-sharing neural architecture search.

    import morphogen
    result = morphogen.search("idarts", settings=morphogen.Settings(seed=1))
    print(result.text, *result.remarks)
    print(morphogen.benchmarks.of(result.space).query(result.architecture).values)

The names below are imported when first used, so that what needs no torch does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphogen import benchmarks, cost, methods, proxies, spaces, supernets, tasks
    from morphogen.core import Architecture, MorphogenError
    from morphogen.engine.judge.compare import compare
    from morphogen.engine.judge.rank import rank
    from morphogen.engine.judge.score import score
    from morphogen.engine.record.opened import Run, open_run
    from morphogen.engine.resume import resume
    from morphogen.engine.search.presets import paper_preset, quick_config, quick_preset
    from morphogen.engine.search.result import SearchResult
    from morphogen.engine.search.search import search
    from morphogen.engine.search.settings import Settings
    from morphogen.engine.train.retrain import train
    from morphogen.engine.train.trained import TrainResult
    from morphogen.engine.train.training import Training
    from morphogen.evaluators.objectives import objective
    from morphogen.exports.loading import load
    from morphogen.exports.predicting import predict
    from morphogen.exports.writing import export
    from morphogen.reports.writing import report
    from morphogen.supernets import OneOf, space_of
    from morphogen.tasks import Metric, Task

__all__ = [
    "Architecture",
    "Metric",
    "MorphogenError",
    "OneOf",
    "Run",
    "SearchResult",
    "Settings",
    "Task",
    "TrainResult",
    "Training",
    "__version__",
    "benchmarks",
    "compare",
    "cost",
    "export",
    "load",
    "methods",
    "objective",
    "open_run",
    "paper_preset",
    "predict",
    "proxies",
    "quick_config",
    "quick_preset",
    "rank",
    "report",
    "resume",
    "score",
    "search",
    "space_of",
    "spaces",
    "supernets",
    "tasks",
    "train",
]

_HOME = {
    "Architecture": "core",
    "Metric": "tasks",
    "MorphogenError": "core",
    "OneOf": "supernets",
    "Run": "engine.record.opened",
    "SearchResult": "engine.search.result",
    "Settings": "engine.search.settings",
    "Task": "tasks",
    "TrainResult": "engine.train.trained",
    "Training": "engine.train.training",
    "compare": "engine.judge.compare",
    "export": "exports.writing",
    "load": "exports.loading",
    "objective": "evaluators.objectives",
    "open_run": "engine.record.opened",
    "paper_preset": "engine.search.presets",
    "predict": "exports.predicting",
    "quick_config": "engine.search.presets",
    "quick_preset": "engine.search.presets",
    "rank": "engine.judge.rank",
    "report": "reports.writing",
    "resume": "engine.resume",
    "score": "engine.judge.score",
    "search": "engine.search.search",
    "space_of": "supernets",
    "train": "engine.train.retrain",
}
"""Public name -> module of this package that defines it; other public names are modules."""


def __getattr__(name: str) -> Any:
    """The public object called `name`, imported from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("morphogen")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """The public names, the lazy ones among them."""
    return sorted(__all__)
