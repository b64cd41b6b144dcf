"""What the nodes of a cell send along their edges, and with which gates: for supernets of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from morphogen.core import Choice

NOTHING = "none"
"""The option that is never run."""


@dataclass(frozen=True)
class Term:
    """One live option of one edge."""

    edge: str
    """Name of the edge's choice."""
    target: int
    option: str
    gate: int
    """Position of its gate in the flattened matrix of gates."""


@lru_cache(maxsize=4096)
def plan(
    wiring: tuple[tuple[int, int], ...],
    choices: tuple[Choice, ...],
    live: tuple[tuple[int, ...], ...],
) -> tuple[tuple[Term, ...], ...]:
    """Per node but the last what it sends on, `none` left out.

    Args:
        wiring: (source, target) of each edge, the last target the last node.
        choices: of the edges.
        live: positions of their live options.
    """
    widest = max(len(choice.options) for choice in choices)
    sends: list[list[Term]] = [[] for _ in range(wiring[-1][1])]
    for row, ((source, target), choice, columns) in enumerate(
        zip(wiring, choices, live, strict=True)
    ):
        for column in columns:
            option = choice.options[column]
            if option != NOTHING:
                sends[source].append(Term(choice.name, target, option, row * widest + column))
    return tuple(tuple(terms) for terms in sends)


def flat(weights: Tensor) -> Tensor:
    """Gates of all options in a row, [choices * options], or [choices * options, examples]."""
    return weights.reshape(-1) if weights.dim() == 2 else weights.flatten(1).T


def gates_of(terms: Sequence[Term], gates: Tensor) -> Tensor:
    """The gates of terms, [terms], out of the flattened ones."""
    return gates.index_select(0, _positions(tuple(t.gate for t in terms), gates.device))


@lru_cache(maxsize=4096)
def _positions(gates: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(gates, device=device)
