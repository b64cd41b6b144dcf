"""The stand-alone network of what a run found."""

from __future__ import annotations

import os

from torch import nn

from morphogen.core import Architecture, RunError, arguments, ranges
from morphogen.core.names import shell
from morphogen.core.rng import seed_for
from morphogen.exports.trained import trained_network
from morphogen.runs.config import Space, recorded_space
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.global_rng import forked_rng


def network_of(
    run: str | os.PathLike[str], *, space: Space | None = None, seed: int | None = None
) -> nn.Module:
    """The network of a run's architecture, in evaluation mode.

    Args:
        run: of a training, or of a search that delivers a network: then it has the trained
            weights; of another search they are drawn anew.
        space: needed again if code of yours belongs to it, as to a module.
        seed: of trained networks: of which; else of the weights that are drawn.

    Raises:
        RunError: there is no architecture yet, or `space` is missing.
        ConfigError: no network was trained with that seed.
    """
    directory = RunDirectory.open(run)
    if directory.is_training or directory.has_network:
        return trained_network(run, space=space, seed=seed)[0]
    result = directory.result()
    if result is None:
        raise RunError(
            f"{directory.path} has found nothing yet: it is not finished; accepted: first "
            f"`{shell('morphogen', 'resume', directory.path)}`"
        )
    known = recorded_space(directory, space)
    return fresh_network(directory, known, known.parse(result["architecture"]), seed)


def fresh_network(
    directory: RunDirectory, space: SearchSpace, arch: Architecture, seed: int | None = None
) -> nn.Module:
    """A network of an architecture with the sizes of a search, in evaluation mode.

    Args:
        directory: the search.
        space: its space.
        arch: of the space.
        seed: of the weights; by default the search's. A module of yours keeps those it has.

    Raises:
        RunError: the run does not say how large its networks are.
    """
    values = directory.config()
    try:
        spec = NetworkSpec(**values.get("network") or {})
    except TypeError as error:
        raise RunError(
            f"{directory.config_file} says of the network what none has ({error}); accepted: the "
            "file as it was written"
        ) from error
    drawn = int(values["settings"]["seed"]) if seed is None else seed
    arguments.whole("seed", drawn, ranges.SEED)
    with forked_rng(seed=seed_for(drawn, "weights")):
        return network(space, arch, spec).eval()
