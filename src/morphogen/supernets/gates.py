"""Gates: the weight given to each option of each choice in one forward pass.

Soft (softmax, sigmoid, concrete sample), one-hot (a path) or masked (an option removed): the
supernet does not care. It reads two things: the weights, which carry gradients to whatever made
them, and which options are live, a fact kept on the CPU so that reading it waits for no device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core import Architecture, SpaceError
from morphogen.spaces import SearchSpace

Live = tuple[tuple[int, ...], ...]


class Gates:
    """Per group of choices a weight matrix [choices, options] and the live options of each row.

    Args:
        weights: group name -> float tensor [choices, widest]; may require gradients. With one more
            axis in front, [examples, choices, widest], each example of a batch has weights of its
            own: supernets then run option after option (plain execution).
        live: group name -> for each row the positions of the options that are executed. An option
            that is not live is not computed and contributes nothing, whatever its weight.
        unit: True if every live option has weight exactly 1 and nobody wants its gradient: the
            supernet may then skip the multiplication.

    Raises:
        SpaceError: numbers of rows, or of examples, do not fit together.
    """

    __slots__ = ("examples", "live", "unit", "weights")

    def __init__(
        self, weights: Mapping[str, Tensor], live: Mapping[str, Live], *, unit: bool = False
    ) -> None:
        for group, matrix in weights.items():
            rows = matrix.shape[-2]
            if group not in live or len(live[group]) != rows:
                raise SpaceError(
                    f"gates of group {group!r}: {rows} rows of weights but "
                    f"{len(live.get(group, ()))} rows of live options; accepted: equal numbers"
                )
        counts = {len(matrix) if matrix.dim() > 2 else None for matrix in weights.values()}
        if len(counts) > 1:
            raise SpaceError(
                f"gates of {' and '.join(str(c or 'no') for c in counts)} examples in one forward "
                "pass; accepted: as many for every group, or none for any"
            )
        self.weights = dict(weights)
        self.live = dict(live)
        self.unit = unit
        self.examples: int | None = next(iter(counts), None)
        """Examples that have weights of their own; None if all share them."""

    @classmethod
    def dense(
        cls,
        space: SearchSpace,
        weights: Mapping[str, Tensor],
        live: Sequence[Tensor] | None = None,
    ) -> Gates:
        """All options of `space` live, weighted by `weights`; or those of the masks `live`."""
        return cls(weights, all_live(space) if live is None else _rows(space, live))

    @classmethod
    def above(cls, weights: Mapping[str, Tensor], threshold: float = 0.0) -> Gates:
        """The options live whose weight is above `threshold`, for one example at least.

        Reading the weights waits for their device.
        """
        live = {}
        for group, matrix in weights.items():
            used = matrix.detach() > threshold
            used = used.any(dim=0) if used.dim() > 2 else used
            live[group] = nonzero(used.cpu().numpy())
        return cls(weights, live)

    @classmethod
    def of(
        cls, space: SearchSpace, arch: Architecture, device: torch.device | str = "cpu"
    ) -> Gates:
        """The path of `arch`: its options live with weight 1, everything else off."""
        rows = {g: torch.from_numpy(m).to(device) for g, m in space.one_hot(arch).items()}
        return cls(rows, {g: nonzero(m) for g, m in space.one_hot(arch).items()}, unit=True)

    def detach(self) -> Gates:
        """The same gates without gradients: what a weight step uses."""
        return Gates({g: w.detach() for g, w in self.weights.items()}, self.live, unit=self.unit)

    @property
    def path(self) -> bool:
        """Whether no choice has more than one live option, so that none share work."""
        return all(len(options) <= 1 for rows in self.live.values() for options in rows)

    def row(self, group: str, index: int) -> tuple[tuple[int, ...], Tensor]:
        """Live options and weights of choice number `index` of `group`.

        The weights are [options], or [options, examples]: those of one option are `weights[i]`,
        for `weighted`.
        """
        matrix = self.weights[group]
        row = matrix[index] if matrix.dim() == 2 else matrix[:, index].T
        return self.live[group][index], row

    def mask(self, group: str) -> Tensor:
        """The live options of a group as a bool tensor [choices, widest] on the CPU."""
        found = torch.zeros(self.weights[group].shape[-2:], dtype=torch.bool)
        for row, options in enumerate(self.live[group]):
            found[row, list(options)] = True
        return found


def weighted(term: Tensor, weight: Tensor) -> Tensor:
    """`weight * term`.

    Args:
        term: an option's output; its first axis is the batch.
        weight: a scalar, or [examples]: a number for each example of the batch.
    """
    if weight.dim() == 0:
        return weight * term
    if term.dim() == 0 or len(term) != len(weight):
        raise SpaceError(
            f"gates of {len(weight)} examples on an output {list(term.shape)}; accepted: outputs "
            "whose first axis is the batch"
        )
    return weight.to(term.dtype).reshape(-1, *[1] * (term.dim() - 1)) * term


def all_live(space: SearchSpace) -> dict[str, Live]:
    """Every option that `space` has, per group and choice."""
    return {g: nonzero(mask) for g, mask in space.masks.items()}


def live_masks(
    space: SearchSpace, allowed: Mapping[str, Collection[str]] | None = None
) -> list[Tensor]:
    """Masks of live options, for a search that switches options off in one supernet.

    Pruning, the leaves of a split supernet and progressive shrinking are such masks.

    Args:
        space: the space.
        allowed: choice -> the options that are live; all of the choices that are not named.

    Returns:
        Per group, in the order of groups, a bool tensor [choices, widest] on the CPU.
    """
    named = {space.choice(name).name: set(options) for name, options in (allowed or {}).items()}
    masks = []
    for group, mask in space.masks.items():
        rows = torch.from_numpy(mask.copy())
        for row, choice in enumerate(space.groups[group]):
            if choice.name in named:
                kept = {choice.index(option) for option in named[choice.name]}
                rows[row] &= torch.tensor([i in kept for i in range(rows.shape[1])])
        masks.append(rows)
    return masks


def _rows(space: SearchSpace, live: Sequence[Tensor]) -> dict[str, Live]:
    """The live options of masks, per group and choice."""
    if len(live) != len(space.groups):
        raise SpaceError(
            f"{len(live)} masks of live options for space {space.name!r}; accepted: one for each "
            f"of {', '.join(space.groups)}"
        )
    found = {}
    for (group, has), mask in zip(space.masks.items(), live, strict=True):
        if mask.shape != has.shape:
            raise SpaceError(
                f"the mask of group {group!r} is {list(mask.shape)}; accepted: {list(has.shape)}"
            )
        found[group] = nonzero(mask.cpu().numpy() & has)
    return found


def nonzero(matrix: NDArray[Any]) -> Live:
    """Per row the positions of the entries that are not zero."""
    return tuple(tuple(int(i) for i in np.flatnonzero(row)) for row in matrix)
