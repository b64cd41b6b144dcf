"""The Transformer as a network from sequences to sequences: the reference of their spaces.

Vaswani et al., 2017, with dropout on embeddings and on the output of each part of a layer, and with
the target embedding as the weights of the scores (sections 3.4 and 5.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core import Architecture
from morphogen.spaces.transformer import Transformer
from morphogen.supernets.attention import Attention, Keys, future, grown, padding
from morphogen.supernets.base import NetworkSpec, no_supernet, register
from morphogen.supernets.sequences import PAD, EncoderDecoder, positions

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "swish": nn.SiLU,
}


class Around(nn.Module):
    """The residual connection around a part of a layer, with its norm and its dropout.

    Args:
        width: of the stream.
        first: norm of the part's input, and not of the sum.
        dropout: of the part's output.
    """

    def __init__(self, width: int, *, first: bool, dropout: float) -> None:
        super().__init__()
        self.norm, self.first, self.dropout = nn.LayerNorm(width), first, nn.Dropout(dropout)

    def forward(self, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """The stream after the part."""
        if self.first:
            summed: Tensor = x + self.dropout(part(self.norm(x)))
            return summed
        out: Tensor = self.norm(x + self.dropout(part(x)))
        return out


class FeedForward(nn.Sequential):
    """Two linear layers with an activation between them.

    Args:
        width: of input and output.
        inner: between them.
        activation: of `ACTIVATIONS`.
    """

    def __init__(self, width: int, inner: int, activation: str = "relu") -> None:
        first, last = nn.Linear(width, inner), nn.Linear(inner, width)
        for part in (first, last):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        super().__init__(first, ACTIVATIONS[activation](), last)


class Embedding(nn.Module):
    """Tokens with their places, `[batch, T]` to `[batch, T, width]`.

    Args:
        tokens: different ones.
        width: of the embedding, whose weights are drawn with variance 1 / width and multiplied by
            the root of the width.
        dropout: of the sum.
    """

    def __init__(self, tokens: int, width: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(tokens, width), std=width**-0.5))
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Of ids at the places from `start` on."""
        width = self.weight.shape[1]
        found = F.embedding(ids, self.weight) * width**0.5
        out: Tensor = self.dropout(found + positions(ids.shape[1], width, start, device=ids.device))
        return out


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward.

    Args:
        arch: of the space `transformer`.
        spec: sizes.
    """

    def __init__(self, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        self.attention = Attention(spec.channels, int(arch.one("heads")))
        self.feed_forward = _feed_forward(arch, spec)
        self.around = nn.ModuleList(_around(arch, spec) for _ in range(2))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The stream `[batch, S, width]` after the layer."""
        own = self.attention
        x = self.around[0](x, lambda h: own(h, own.keys(h), hidden))
        out: Tensor = self.around[1](x, self.feed_forward)
        return out


class DecoderLayer(nn.Module):
    """Self-attention to earlier tokens, attention to the source, feed-forward.

    Args:
        arch: of the space `transformer`.
        spec: sizes.
    """

    def __init__(self, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        heads = int(arch.one("heads"))
        self.attention = Attention(spec.channels, heads)
        self.across = Attention(spec.channels, heads)
        self.feed_forward = _feed_forward(arch, spec)
        self.around = nn.ModuleList(_around(arch, spec) for _ in range(3))

    def forward(
        self, x: Tensor, source: Keys, hidden: Tensor, past: Keys | None = None
    ) -> tuple[Tensor, Keys]:
        """The stream `[batch, T, width]` after the layer, and the keys of its tokens.

        Args:
            x: the stream, of all tokens, or of one where there is a past.
            source: keys of the source.
            hidden: which of its places are padding.
            past: keys of the tokens before.
        """
        own, kept = self.attention, list[Keys]()

        def attend(h: Tensor) -> Tensor:
            keys = own.keys(h)
            kept.append(keys if past is None else grown(past, keys))
            hidden_ones = future(h.shape[1], h.device) if past is None else None
            found: Tensor = own(h, kept[0], hidden_ones)
            return found

        x = self.around[0](x, attend)
        x = self.around[1](x, lambda h: self.across(h, source, hidden))
        out: Tensor = self.around[2](x, self.feed_forward)
        return out, kept[0]


class TransformerNetwork(EncoderDecoder):
    """An encoder and a decoder of `spec.depth` layers each.

    Args:
        space: which has the architecture.
        arch: norm, heads, width of the feed-forward parts, activation.
        spec: width, layers, tokens of source and target, dropout.
    """

    def __init__(self, space: Transformer, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        width = spec.channels
        self.source = Embedding(spec.in_channels, width, spec.dropout)
        self.target = Embedding(spec.classes, width, spec.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(arch, spec) for _ in range(spec.depth))
        self.decoder = nn.ModuleList(DecoderLayer(arch, spec) for _ in range(spec.depth))
        first = arch.one("norm") == "pre"  # whose streams end without a norm
        self.norms = nn.ModuleList(nn.LayerNorm(width) if first else nn.Identity() for _ in "ed")
        self.bias = nn.Parameter(torch.zeros(spec.classes))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores `[batch, T, targets]`; see `EncoderDecoder`."""
        states, hidden = self.encode(source)
        x = self.target(target)
        for layer in self._decoder:
            x, _ = layer(x, layer.across.keys(states), hidden)
        return self._scores(x)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """States `[batch, S, width]`, and where the source is padding."""
        hidden = padding(source, PAD)
        x = self.source(source)
        for layer in self.encoder:
            x = layer(x, hidden)
        states: Tensor = self.norms[0](x)
        return states, hidden

    def start(self, memory: tuple[Tensor, Tensor]) -> Any:
        """Keys of the source and of no token yet, for each layer; and where padding is."""
        states, hidden = memory
        source = tuple(layer.across.keys(states) for layer in self._decoder)
        none = tuple((key[:, :, :0], value[:, :, :0]) for key, value in source)
        return {"source": source, "past": none, "hidden": hidden}

    def step(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Scores of the next token, and the cache with this one."""
        x = self.target(ids[:, None], start=cache["past"][0][0].shape[2])
        past = list[Keys]()
        for layer, source, own in zip(self.decoder, cache["source"], cache["past"], strict=True):
            x, keys = layer(x, source, cache["hidden"], own)
            past.append(keys)
        return self._scores(x)[:, 0], {**cache, "past": tuple(past)}

    @property
    def _decoder(self) -> list[DecoderLayer]:
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    def _scores(self, x: Tensor) -> Tensor:
        return F.linear(self.norms[1](x), self.target.weight, self.bias)


def _feed_forward(arch: Architecture, spec: NetworkSpec) -> FeedForward:
    inner = int(arch.one("feed_forward").rstrip("x")) * spec.channels
    return FeedForward(spec.channels, inner, arch.one("activation"))


def _around(arch: Architecture, spec: NetworkSpec) -> Around:
    return Around(spec.channels, first=arch.one("norm") == "pre", dropout=spec.dropout)


register(Transformer, supernet=no_supernet, network=TransformerNetwork)
