"""What a relaxed search looks like from outside: entropy, skip connections, discretization gap.

Definitions follow "Understanding and Robustifying DARTS" (Zela et al., arXiv 1909.09656) and
"Discretization-Aware Architecture Search" (arXiv 2007.03154).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from morphogen.core import Architecture
from morphogen.evaluators.recalibration import batch_statistics
from morphogen.spaces import SearchSpace, Weighing, is_skip
from morphogen.supernets import Gates, Supernet, evaluating, frozen_statistics
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import mapped
from morphogen.tasks import Batch
from morphogen.tasks.problem import Problem


def entropy(gates: Gates) -> float:
    """Mean normalised entropy of the rows of the gates, from 0 (decided) to 1 (uniform).

    A row's entropy is divided by the logarithm of its number of live options; rows with a single
    one do not count. Rows are first divided by their sum, so that sigmoid gates fit too.
    """
    values: list[float] = []
    for group, matrix in gates.weights.items():
        for live, row in zip(gates.live[group], matrix.detach().double().cpu(), strict=True):
            if len(live) > 1:
                p = row[list(live)]
                p = p / p.sum()
                values.append(float(torch.special.entr(p).sum()) / math.log(len(live)))
    return sum(values) / len(values) if values else 0.0


def skip_connections(arch: Architecture) -> int:
    """How many choices keep a skip connection (or an identity): the mark of DARTS' collapse."""
    return sum(is_skip(option) for kept in arch.values() for option in kept)


def decisions_changed(before: Architecture | None, after: Architecture) -> float:
    """Share of the choices whose derived value is another than before; 0 if there is no before."""
    if before is None:
        return 0.0
    return sum(before[name] != after[name] for name in after) / len(after)


def path_of(space: SearchSpace, arch: Architecture, gates: Gates, device: torch.device) -> Gates:
    """The gates of an architecture; of several options that it weighs, weighed as in `gates`."""
    path = Gates.of(space, arch, device)
    if isinstance(space, Weighing) and any(len(kept) > 1 for kept in arch.values()):
        return Gates(gates.weights, path.live)
    return path


def discretization_gap(
    problem: Problem, net: Supernet, gates: Gates, arch: Architecture, examples: int
) -> dict[str, float]:
    """Metric and loss of the supernet and of its discretization, with inherited weights.

    Both are measured on the same search-validation examples in every epoch. They train no weight,
    and the task chooses them (the classes in their own proportions, say). A discretised network is
    off its batch norms' running statistics, which mixes an artefact into the gap; so `discrete_*`
    uses the running statistics, and `recalibrated_*` the statistics of the examples
    themselves, in batches of `Task.at_once`, as does `supernet_*` with the running ones.

    Returns:
        `{supernet,discrete,recalibrated}_{accuracy,loss}`, with the name of the task's metric
        (here accuracy) in its unit.
    """
    device = problem.devices.device
    path = path_of(problem.space, arch, gates, device)
    rows = torch.split(problem.chosen("valid", examples, "diagnostics/valid"), problem.task.at_once)
    valid = problem.task.examples("valid", device=device)
    batches = [valid.batch(some) for some in rows]
    out: dict[str, float] = {}
    with evaluating(net), torch.no_grad():
        out |= _scores("supernet", problem, net, gates, batches)
        out |= _scores("discrete", problem, net, path, batches)
        with batch_statistics(net), frozen_statistics(net):
            out |= _scores("recalibrated", problem, net, path, batches)
    return out


def report(
    problem: Problem,
    net: Supernet | None,
    gates: Gates | None,
    arch: Architecture | None,
    before: Architecture | None,
    examples: int,
) -> dict[str, float]:
    """All diagnostics of one epoch, as far as there are gates and an architecture."""
    out = {} if gates is None else {"entropy": entropy(gates)}
    if arch is not None:
        if any(is_skip(option) for choice in problem.space.choices for option in choice.options):
            out["skips"] = skip_connections(arch)
        out["decisions_changed"] = decisions_changed(before, arch)
    if net is not None and gates is not None and arch is not None and examples:
        out |= discretization_gap(problem, net, gates, arch, examples)
    return out


def _scores(
    label: str, problem: Problem, net: Supernet, gates: Gates, batches: Iterable[Batch]
) -> dict[str, float]:
    task = problem.task
    # Each of the three meets the same draws of modules that draw by themselves: noise, say.
    with forked_rng(problem.devices.device, seed=problem.seed):
        sums = task.measure(lambda x: mapped(Tensor.float, net(x, gates)), batches)
    return {
        f"{label}_loss": float(sums["loss"] / sums["size"]),
        f"{label}_{task.metric.name}": task.value(sums),
    }
