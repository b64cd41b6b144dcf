"""Joint samples of all choices of a space, as gates: discrete, relaxed, and as a control variate.

The choices are independent, so that the logarithm of a sample's probability is a sum over them. One
draw serves a whole batch, or each example has its own (`categorical`, one group at a time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from morphogen.bilevel.categorical import Rebar, log_prob, rebar, soften
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates
from morphogen.supernets.relaxations import softmax


@dataclass(frozen=True, eq=False)
class Joint:
    """One sample of every choice, or one for each example, and its relaxation."""

    space: SearchSpace
    rows: list[Rebar]
    """Of each group, [choices, widest] or [examples, choices, widest]."""
    log_p: Tensor
    """The logarithm of the sample's probability, a scalar or [examples]; gradient by alpha."""

    def discrete(self) -> Gates:
        """The sample itself: one option of each choice, the only one that is run."""
        return self._gates(lambda drawn: drawn.sample, 0.0)

    def relaxed(self, threshold: float = 0.0) -> Gates:
        """Its concrete relaxation; what is at most `threshold` in all examples is not run."""
        return self._gates(lambda drawn: drawn.soft, threshold)

    def control(self, threshold: float = 0.0) -> Gates:
        """The same weights with the gradient of a control variate, as of `Rebar.control`."""
        return self._gates(lambda drawn: drawn.control, threshold)

    def _gates(self, weights: Callable[[Rebar], Tensor], threshold: float) -> Gates:
        pairs = zip(self.space.groups, self.rows, strict=True)
        return Gates.above({group: weights(drawn) for group, drawn in pairs}, threshold)


def draw(
    space: SearchSpace,
    alphas: Sequence[Tensor],
    tau: float,
    generator: Generator,
    *,
    softening: float = 0.0,
    examples: int | None = None,
    mine: slice | None = None,
) -> Joint:
    """Draw from softmax(alpha), softened.

    Args:
        space: of the alphas.
        alphas: one matrix per group.
        tau: temperature of the relaxation.
        generator: source of the noise.
        softening: see `categorical.soften`.
        examples: a sample for each of so many examples; None: one for all of them.
        mine: the examples of this process.
    """
    rows, log_p = [], []
    for alpha, mask in zip(alphas, space.masks.values(), strict=True):
        live = torch.from_numpy(mask).to(alpha.device)
        softened = soften(alpha, softening, live)
        if examples is not None:
            softened = softened.expand(examples, *softened.shape)
        drawn = rebar(softened, tau, generator, live)
        if examples is not None and mine is not None:
            drawn = Rebar(drawn.sample[mine], drawn.soft[mine], drawn.conditional[mine])
            softened = softened[mine]
        rows.append(drawn)
        log_p.append(log_prob(softened, drawn.sample, live))
    return Joint(space, rows, torch.stack(log_p).sum(dim=0))


def softened_gates(space: SearchSpace, alphas: Sequence[Tensor], softening: float) -> Gates:
    """The expectation of the samples: softmax(alpha), softened."""
    weights = {}
    for (group, mask), alpha in zip(space.masks.items(), alphas, strict=True):
        live = torch.from_numpy(mask).to(alpha.device)
        weights[group] = softmax(soften(alpha, softening, live), live)
    return Gates.dense(space, weights)


def features(space: SearchSpace, gates: Gates) -> Tensor:
    """The weights of all options side by side: [..., options]; a discrete sample's are one-hot."""
    rows = []
    for group, mask in space.masks.items():
        weights = gates.weights[group]
        rows.append(weights.flatten(-2)[..., torch.from_numpy(mask).flatten().to(weights.device)])
    return torch.cat(rows, -1)


def repetitions(space: SearchSpace, gates: Gates) -> Tensor:
    """How many twins of the space are equal, a scalar or [examples]; differentiable in the gates.

    Of weights the sum over twins of the probability that two samples of them are equal.
    """
    rows = {
        choice.name: gates.weights[group][..., i, :]
        for group, choices in space.groups.items()
        for i, choice in enumerate(choices)
    }
    first = next(iter(gates.weights.values()))
    total = first.new_zeros(first.shape[:-2])
    for pair in space.twins():
        equal = torch.ones_like(total)
        for one, other in zip(*pair, strict=True):
            options = [space.choice(name).options for name in (one, other)]
            shared = [o for o in options[0] if o in options[1]]
            columns = [[of.index(o) for o in shared] for of in options]
            left, right = rows[one][..., columns[0]], rows[other][..., columns[1]]
            equal = equal * (left * right).sum(dim=-1)
        total = total + equal
    return total
