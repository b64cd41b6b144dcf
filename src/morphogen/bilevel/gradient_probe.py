"""How much the options of a choice disagree about the weights that they share.

Each option is put in turn in the place of a choice, everything else being equal, and the gradients
of the loss by the shared weights are compared (GM-NAS, Hu et al., ICLR 2022, arXiv 2203.15207). A
probe asks and does not train: weights, their `.grad`, running statistics, and the generators that
modules draw from are the same, bit for bit, after it as before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, Supernet, frozen_statistics
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Batch
from morphogen.tasks.problem import Problem, trainable

NORM_FLOOR = 1e-6
"""Added to the product of two norms (authors' code): a gradient of zeros, as behind a `none` that
cuts the network, is at distance 1 from all, itself included."""


def shared_parameters(net: Supernet, choice: str) -> dict[str, Tensor]:
    """The trainable parameters of the options of all choices but one, and of the backbone, by name.

    None is of an option of `choice`, in any place where it stands; and they are the same for all of
    its options, in a fixed order.
    """

    def own(name: str) -> set[int]:
        options = net.space.choice(name).options
        modules = (m for option in options for m in net.options(name, option))
        return {id(p) for module in modules for p in module.parameters()}

    others = {p for c in net.space.choices if c.name != choice for p in own(c.name)}
    backbone = {id(p) for m in net.backbone() for p in m.parameters(recurse=False)}
    wanted = (others | backbone) - own(choice)
    return {name: p for name, p in trainable(net).items() if id(p) in wanted}


def with_option(
    space: SearchSpace, gates: Gates, choice: str, option: str, *, hard: bool = True
) -> Gates:
    """The same gates, detached, with one option alone in the place of a choice.

    Args:
        space: of the gates.
        gates: of everything else.
        choice: whose row is replaced.
        option: the one that is left.
        hard: its weight is 1; else what the gates gave it.
    """
    found = space.choice(choice)
    row, column = space.groups[found.group].index(found), found.index(option)
    weights = {group: matrix.detach() for group, matrix in gates.weights.items()}
    live = dict(gates.live)
    matrix = weights[found.group].clone()
    kept = 1.0 if hard or gates.unit else matrix[row, column].clone()
    matrix[row] = 0.0
    matrix[row, column] = kept
    weights[found.group] = matrix
    rows = live[found.group]
    live[found.group] = (*rows[:row], (column,), *rows[row + 1 :])
    return Gates(weights, live, unit=gates.unit)


def gradient(
    problem: Problem,
    net: Supernet,
    gates: Gates,
    batch: Batch,
    tensors: Sequence[Tensor],
    *,
    seed: int = 0,
) -> Tensor:
    """The gradient of the task's loss by `tensors` as one vector; zeros where it has none.

    The mean over processes. Batch norms use the batch's statistics, in the mode that the net has.

    Args:
        problem: task and devices.
        net: the supernet.
        gates: of the pass.
        batch: this process's share.
        tensors: parameters of the net.
        seed: of what modules draw: the same for all that are compared.
    """
    with forked_rng(problem.devices.device, seed=seed), frozen_statistics(net), torch.enable_grad():
        loss = problem.task.loss(problem.forward(net, gates.detach(), batch.x), batch.y)
        found = torch.autograd.grad(loss, list(tensors), allow_unused=True)
    pairs = zip(found, tensors, strict=True)
    filled = [torch.zeros_like(t) if g is None else g for g, t in pairs]
    return torch.cat([g.flatten() for g in problem.mean_over_ranks(filled)])


def cosine_distances(gradients: Tensor) -> Tensor:
    """1 - <g, g'> / (|g| |g'| + 1e-6) of all pairs of rows: [n, numbers] -> [n, n], float64."""
    rows = gradients.double()
    norms = rows.norm(dim=1)
    return 1 - (rows @ rows.T) / (torch.outer(norms, norms) + NORM_FLOOR)


def option_distances(
    problem: Problem,
    net: Supernet,
    choice: str,
    options: Sequence[str],
    draw: Callable[[], Gates],
    *,
    repeats: int,
    hard: bool = True,
) -> Tensor:
    """The mean distance of the options of a choice over fresh training batches.

    In each repeat one batch and one draw of gates serve all options. The distances are averaged,
    not the gradients: repeats x options passes in all.

    Args:
        problem: draws the batches.
        net: the supernet, in train mode.
        choice: which is probed.
        options: of it, in the order of the result.
        draw: gates of the other choices, one draw a repeat.
        repeats: batches (paper: 100).
        hard: see `with_option`.

    Returns:
        [options, options] on the CPU, float64, between 0 and 2.
    """
    shared = list(shared_parameters(net, choice).values())
    total = torch.zeros(len(options), len(options), dtype=torch.float64)
    for _ in range(repeats):
        batch, gates = problem.batch("train"), draw()
        seed = int(problem.numpy_rng.integers(2**31))
        rows = [
            gradient(
                problem,
                net,
                with_option(problem.space, gates, choice, option, hard=hard),
                batch,
                shared,
                seed=seed,
            )
            for option in options
        ]
        total += cosine_distances(torch.stack(rows)).cpu()
    return total / repeats
