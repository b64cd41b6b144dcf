"""What networks from sequences to sequences are given, what they give, and how they are asked.

A network is called with ids of source tokens `[batch, S]` and of the tokens that the decoder has so
far `[batch, T]`, and gives scores of the next token at each place, `[batch, T, targets]`:

    source   w1 w2 w3 END PAD         decoder   BEGIN v1 v2 PAD        next   v1 v2 END PAD

Rows end in `PAD`, which changes no score at any other place; a score depends on no later token of
the decoder's. Sequences may have any length. `NetworkSpec` says the sizes: `channels` is the width,
`depth` the number of layers of the encoder and of the decoder, `in_channels` the number of source
tokens, `classes` that of target tokens, `dropout` the probability of dropout.

Token by token it is asked by `encode`, `start` and `step`, which keep what they have computed in a
cache. Caches are tensors, in tuples or dicts, with the sequences along their first axis, so that
beam search can take rows of them (`supernets.nested.take`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

PAD, BEGIN, END, UNKNOWN = 0, 1, 2, 3
"""Ids of the special tokens, equal in every vocabulary."""

SPECIAL = ("<pad>", "<begin>", "<end>", "<unknown>")
"""Their names, by id."""


class EncoderDecoder(nn.Module):
    """A network from sequences to sequences."""

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores `[batch, T, targets]` of the token after each of `target`, in one pass.

        Args:
            source: ids, int64 `[batch, S]`.
            target: ids from `BEGIN` on, int64 `[batch, T]`.
        """

    @abstractmethod
    def encode(self, source: Tensor) -> Any:
        """What the encoder makes of source ids `[batch, S]`: tensors, in tuples or dicts."""

    @abstractmethod
    def start(self, memory: Any) -> Any:
        """The cache of a decoder that has no token yet, for what `encode` gave."""

    @abstractmethod
    def step(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Scores `[batch, targets]` of the token after `ids`, int64 `[batch]`; and the next cache.

        The first call has `BEGIN`; the scores are those of `forward` at the same place.
        """


def positions(length: int, width: int, start: int = 0, *, device: Any = None) -> Tensor:
    """Sinusoids of the places `start`, `start + 1`, ..., float32 `[length, width]`.

    Sine and cosine by turns, of wave lengths from 2 pi to 10,000 * 2 pi (Vaswani et al., 2017,
    section 3.5). Computed for any length, so that networks have no longest sequence.

    Args:
        length: of the sequence.
        width: of an embedding; odd ones end with a sine.
        start: the first place.
        device: where.
    """
    place = torch.arange(start, start + length, device=device, dtype=torch.float32)
    even = torch.arange(0, width, 2, device=device, dtype=torch.float32)
    angles = place[:, None] * torch.exp(even * (-math.log(10_000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
