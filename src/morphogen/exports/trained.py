"""The trained network of a run, built from the weights that it wrote."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from morphogen.core import ConfigError, MorphogenError, RunError
from morphogen.core.names import shell
from morphogen.exports.formats import built
from morphogen.methods import find
from morphogen.runs.config import Space, recorded_space
from morphogen.runs.described import Described
from morphogen.runs.directory import RunDirectory
from morphogen.runs.records import comparison_of
from morphogen.runs.weights import Signature, read_weights


def weights_of(directory: RunDirectory, seed: int | None = None) -> Path:
    """The file with the weights of a finished training, or of a search that delivers a network.

    Args:
        directory: the run.
        seed: which of its trainings; by default the one of the best held-out figure, without
            looking at the test part (the first, where nothing was held out).

    Raises:
        RunError: it is a search's whose network is not trained, or it is not finished.
        ConfigError: there is no training with that seed.
    """
    values, result = directory.config(), directory.result()
    if result is not None and result.get("ended_early") and "weights" not in result:
        result = None  # before there was a network; the whole search may well deliver one
    if not directory.is_training and not _delivers(values, result):
        known = comparison_of(result or {})
        raise RunError(
            f"{directory.path} is the run of a search, whose network is not trained; accepted: the "
            "run of a training, "
            + (
                f"{directory.path / known.training}"
                if known
                else f"first `{shell('morphogen', 'train', directory.path)}`"
            )
        )
    if result is None:
        again = shell("morphogen", "resume", directory.path)
        raise RunError(f"{directory.path} is not finished; accepted: first `{again}`")
    if seed is None:
        return directory.path / str(result["weights"][_chosen(values, result)])
    first, count = int(values["settings"]["seed"]), len(result["weights"])
    if seed not in range(first, first + count):
        raise ConfigError(
            f"seed is {seed}; accepted: {first} to {first + count - 1}, those trained"
        )
    return directory.path / str(result["weights"][seed - first])


def trained_network(
    run: str | os.PathLike[str], *, space: Space | None = None, seed: int | None = None
) -> tuple[nn.Module, Signature]:
    """The network of a finished training with its weights, in evaluation mode.

    Args:
        run: its directory.
        space: needed again if code of yours belongs to it, as to a module.
        seed: which of its trainings, see `weights_of`.

    Raises:
        RunError: there is no trained network, or `space` is missing.
        DataError: the weights do not fit.
    """
    directory = RunDirectory.open(run)
    file = weights_of(directory, seed)
    tensors, signature = read_weights(file)
    return built(recorded_space(directory, space), signature, tensors, str(file)), signature


def _delivers(config: dict[str, Any], result: dict[str, Any] | None) -> bool:
    """Whether a search ends with a trained network, as far as can be said."""
    if result is not None:
        return "weights" in result
    with suppress(MorphogenError):  # a method of a package that is not installed here
        return find(config["method"]).delivers
    return False


def _chosen(config: dict[str, Any], result: dict[str, Any]) -> int:
    """Which seed's weights are taken."""
    task = Described.of(config)
    held = task.reached(result).get("held_out")
    return task.best(held["values"]) if held else 0
