"""Attention with several heads, in one pass over a sequence or token by token with a cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.core import ConfigError

Keys = tuple[Tensor, Tensor]
"""Keys and values of all places that are attended to, each `[batch, heads, places, width]`."""


class Attention(nn.Module):
    """Scaled dot products of several heads (Vaswani et al., 2017, section 3.2).

    Args:
        width: of queries and of the output.
        heads: which share the width.
        memory: width of what is attended to, where it is another.

    Raises:
        ConfigError: the heads cannot share the width equally.
    """

    def __init__(self, width: int, heads: int, *, memory: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"channels is {width}, which {heads} heads cannot share equally; accepted: a "
                f"multiple of {heads}"
            )
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory or width, width)
        self.value = nn.Linear(memory or width, width)
        self.out = nn.Linear(width, width)
        for part in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)

    def keys(self, memory: Tensor) -> Keys:
        """Keys and values of `[batch, places, width]`."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(self, x: Tensor, keys: Keys, hidden: Tensor | None = None) -> Tensor:
        """What each place of `x`, `[batch, T, width]`, attends to, of the same shape.

        Args:
            x: from which queries are made.
            keys: of `keys`, of all places or of those so far.
            hidden: bool, true where a place may not be attended to, as `padding` and `future` give
                it: it is spread over `[batch, heads, T, places]`.
        """
        query = self._split(self.query(x))
        scores = query @ keys[0].transpose(-1, -2) * query.shape[-1] ** -0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden, float("-inf"))
        precise = torch.promote_types(scores.dtype, torch.float32)
        found = scores.softmax(-1, dtype=precise).to(keys[1].dtype) @ keys[1]
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        return x.view(batch, places, self.heads, width // self.heads).transpose(1, 2)


def grown(keys: Keys, new: Keys) -> Keys:
    """Keys and values of the places so far, and of one more."""
    return torch.cat([keys[0], new[0]], 2), torch.cat([keys[1], new[1]], 2)


def padding(ids: Tensor, pad: int) -> Tensor:
    """Where `[batch, places]` are no tokens: bool `[batch, 1, 1, places]`."""
    return (ids == pad)[:, None, None, :]


def future(length: int, device: torch.device) -> Tensor:
    """Which places come after each place: bool `[length, length]`."""
    place = torch.arange(length, device=device)
    return place[None, :] > place[:, None]
