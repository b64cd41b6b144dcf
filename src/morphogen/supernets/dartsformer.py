"""Supernet and stand-alone networks of DARTSformer's space.

Tokens are embedded by [tokens, e] [e, d], times sqrt(d), plus sinusoids of their places; the d
channels are cut into splits, and the layers update one split after the other:

    Y_k = X_k + G_k(pool({X_i : i > k}, {Y_i : i < k}))

    G_k = sum over operations o of gate_o o~(h),   o~(h) = LayerNorm(h + o(h))

with o~ = o of zero and identity (Zhao et al., Findings of ACL 2021, arXiv 2105.14669, equations 3
to 5). The last split of each layer of the decoder is cross-attention without a gate. Splits put
together, a LayerNorm, and of the decoder the scores of tokens by the transposed embedding (tied)
are the end. Gates of a layer are those of every s-th layer; weights are its own.

The supernet keeps activations of the last layers only (`supernets.reversible`). The stand-alone
network is the same graph left to autograd; token by token it keeps, of every operation, what it
still needs of the places before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core import Architecture, SpaceError
from morphogen.spaces.dartsformer import CROSS_ATTENTION, SIDES, DARTSformer, node_name
from morphogen.supernets.attention import padding
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.reversible import ReversibleSequence
from morphogen.supernets.sequence_operations import Context, Past, Sizes, operation
from morphogen.supernets.sequences import PAD, EncoderDecoder, positions

Kept = Callable[[str], tuple[str, ...]]
"""From the name of a choice to options of it."""

DEEPEST, KEEP = 12, 6
"""In deeper stacks than the first the supernet keeps the input of every so many layers: an identity
among the operations lets the stream grow, and float32 would not give it back as it was."""


Row = tuple[str, int]
"""Where the gates of a node are: group, and number of the choice in it."""


class Node(nn.Module):
    """G_k: operations on the pooled other splits, weighted by gates.

    Args:
        names: of the operations.
        sizes: of each.
        pooling: max or mean.
        row: of its gates; None: its one operation as it is.
    """

    def __init__(self, names: Sequence[str], sizes: Sizes, pooling: str, row: Row | None) -> None:
        super().__init__()
        self.operations = nn.ModuleDict({name: operation(name, sizes) for name in names})
        self.pooling, self.row = pooling, row

    def forward(
        self, others: Sequence[Tensor], context: Context, gates: Gates | None = None
    ) -> Tensor:
        """The update of a split [batch, t, c] by the other ones."""
        h = pooled(others, self.pooling)
        held = list(self.operations.values())
        if gates is None or self.row is None:
            out: Tensor = held[0](h, context)
            return out
        live, weights = gates.row(*self.row)
        terms = [held[i](h, context) for i in live]
        if not gates.unit:
            terms = [weighted(term, weights[i]) for i, term in zip(live, terms, strict=True)]
        total: Tensor = sum(terms[1:], terms[0])
        return total

    def begin(self, others: Sequence[Tensor], context: Context) -> Past:
        """What the one operation keeps before the first place."""
        past: Past = self._one().begin(pooled(others, self.pooling), context)
        return past

    def step(self, others: Sequence[Tensor], context: Context, past: Past) -> tuple[Tensor, Past]:
        """The update by the one operation at more places, and what it keeps then."""
        found: tuple[Tensor, Past] = self._one().step(pooled(others, self.pooling), context, past)
        return found

    def _one(self) -> Any:
        (found,) = self.operations.values()
        return found


def pooled(others: Sequence[Tensor], pooling: str) -> Tensor:
    """The maximum or mean of tensors, element by element."""
    if len(others) == 1:
        return others[0]
    stacked = torch.stack(tuple(others))
    return stacked.amax(0) if pooling == "max" else stacked.mean(0)


class FactorisedEmbedding(nn.Module):
    """Tokens to [batch, t, d] and back to their scores, by [tokens, e] [e, d].

    Args:
        tokens: number of them.
        narrow: e; 0: d, without the second factor.
        width: d.
        dropout: of embeddings.
    """

    def __init__(self, tokens: int, narrow: int, width: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, narrow or width)
        self.wide = nn.Linear(narrow, width, bias=False) if narrow else None
        self.dropout, self.scale = nn.Dropout(dropout), math.sqrt(width)
        # So that embeddings, times the scale, and scores have a variance of one.
        nn.init.normal_(self.table.weight, std=(narrow or width) ** -0.5)
        if self.wide is not None:
            nn.init.normal_(self.wide.weight, std=width**-0.5)

    def forward(self, ids: Tensor, place: int = 0) -> Tensor:
        """Ids [batch, t] from the place on -> [batch, t, d], as precise as the weights."""
        x = self.table(ids)
        x = x if self.wide is None else self.wide(x).to(x.dtype)  # whatever autocast makes of it
        sinusoids = positions(ids.shape[1], x.shape[-1], place, device=ids.device)
        out: Tensor = self.dropout(x * self.scale + sinusoids)
        return out

    def scores(self, x: Tensor) -> Tensor:
        """[batch, t, d] -> [batch, t, tokens]."""
        x = x if self.wide is None else F.linear(x, self.wide.weight.T)
        return F.linear(x, self.table.weight)


class Stacks(nn.Module):
    """Both embeddings, encoder and decoder; which operations there are, is said when it is made.

    Args:
        space: with the sizes that are no `NetworkSpec`'s.
        spec: `channels` is d, `depth` the layers of either side, a multiple of the space's.
        kept: operations of each choice.
        gated: whether nodes have gates.
        plain: leave encoder and decoder to autograd.

    Raises:
        SpaceError: d or the number of layers cannot be.
    """

    def __init__(
        self, space: DARTSformer, spec: NetworkSpec, kept: Kept, *, gated: bool, plain: bool
    ) -> None:
        super().__init__()
        d, parts = spec.channels, space.splits * (space.splits + 1) * space.heads
        if d % parts:
            raise SpaceError(
                f"channels is {d}; accepted in space {space.name!r}: a multiple of {parts}, for "
                f"{space.splits} and {space.splits + 1} splits of {space.heads} heads"
            )
        if spec.depth % space.layers:
            raise SpaceError(
                f"depth is {spec.depth}; accepted in space {space.name!r}: a multiple of "
                f"{space.layers}, the layers whose operations are searched"
            )
        self.source = FactorisedEmbedding(spec.in_channels, space.embedding, d, spec.dropout)
        self.target = FactorisedEmbedding(spec.classes, space.embedding, d, spec.dropout)
        self.encoder, self.decoder = (
            _sequence(space, spec, side, kept, gated=gated, plain=plain) for side in SIDES
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, source: Tensor, target: Tensor, gates: Gates | None = None) -> Tensor:
        """Scores [batch, T, targets], see `EncoderDecoder.forward`."""
        return self.decode(target, *self.encode(source, gates), gates)

    def encode(self, source: Tensor, gates: Gates | None = None) -> tuple[Tensor, Tensor]:
        """The encoder's output [batch, S, d], and where it is padding, bool [batch, 1, 1, S]."""
        hidden = padding(source, PAD)
        stream = self.source(source).chunk(self.encoder.splits, dim=-1)
        out = self.encoder(stream, Context(hidden), gates)
        return self.encoder_norm(torch.cat(out, dim=-1)), hidden

    def decode(
        self, target: Tensor, memory: Tensor, hidden: Tensor, gates: Gates | None = None
    ) -> Tensor:
        """Scores [batch, T, targets] of the tokens after `target`, given the encoder's output."""
        stream = self.target(target).chunk(self.decoder.splits, dim=-1)
        out = self.decoder(stream, Context(None, memory, hidden), gates)
        return self.target.scores(self.decoder_norm(torch.cat(out, dim=-1)))


def _sequence(
    space: DARTSformer, spec: NetworkSpec, side: str, kept: Kept, *, gated: bool, plain: bool
) -> ReversibleSequence:
    """The layers of one side."""
    decoder = side == SIDES[1]
    n = space.splits + decoder
    sizes = Sizes(
        spec.channels // n, spec.channels, space.heads, space.expansion, spec.dropout, decoder
    )
    order = {choice.name: i for i, choice in enumerate(space.groups[side])}
    layers = []
    for place in range(spec.depth):
        names = [node_name(side, place % space.layers + 1, k) for k in range(1, space.splits + 1)]
        rows = [(side, order[name]) if gated else None for name in names]
        layer = [
            Node(kept(name), sizes, space.pooling, row)
            for name, row in zip(names, rows, strict=True)
        ]
        if decoder:
            layer.append(Node([CROSS_ATTENTION], sizes, space.pooling, None))
        layers.append(layer)
    return ReversibleSequence(layers, keep_every=KEEP if spec.depth > DEEPEST else 0, plain=plain)


class DARTSformerSupernet(Supernet):
    """All networks of the space in one, on reversible layers.

    Args:
        space: the space, or a part of it.
        spec: `channels` is d, `depth` the layers of encoder and decoder each; `execution` plain
            leaves them to autograd, which keeps all activations.

    Raises:
        SpaceError: d or the number of layers cannot be.
    """

    space: DARTSformer

    def __init__(self, space: DARTSformer, spec: NetworkSpec) -> None:
        super().__init__()
        self.space = space
        self.stacks = Stacks(
            space,
            spec,
            lambda name: space.choice(name).options,
            gated=True,
            plain=spec.execution == "plain",
        )

    def forward(self, x: tuple[Tensor, Tensor], gates: Gates) -> Tensor:
        """Scores [batch, T, targets] of (source [batch, S], target [batch, T]), both ids."""
        return self.stacks(*x, gates)  # type: ignore[no-any-return]

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        side, layer, split = choice.rsplit("_", 2)
        sequence: ReversibleSequence = getattr(self.stacks, side)
        places = list(sequence.layers)[int(layer) - 1 :: self.space.layers]
        nodes = [cast(Node, cast(nn.ModuleList, place)[int(split) - 1]) for place in places]
        found = [node.operations[option] for node in nodes]
        return found if any(True for _ in found[0].parameters()) else []


class DARTSformerNetwork(EncoderDecoder):
    """The network of one architecture.

    Args:
        space: the space, or a part of it.
        arch: the architecture.
        spec: as for the supernet.

    Raises:
        SpaceError: d or the number of layers cannot be.
    """

    def __init__(self, space: DARTSformer, arch: Architecture, spec: NetworkSpec) -> None:
        super().__init__()
        arch = space.check(arch)
        self.stacks = Stacks(space, spec, arch.__getitem__, gated=False, plain=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """See `EncoderDecoder`."""
        return self.stacks(source, target)  # type: ignore[no-any-return]

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """See `EncoderDecoder`."""
        return self.stacks.encode(source)

    def start(self, memory: tuple[Tensor, Tensor]) -> dict[str, Any]:
        """See `EncoderDecoder`."""
        encoded, hidden = memory
        context = Context(None, encoded, hidden)
        n = self.stacks.decoder.splits
        others = encoded[:, :0, : encoded.shape[-1] // n]
        past = tuple(
            tuple(node.begin([others], context) for node in layer) for layer in self._layers()
        )
        place = torch.zeros(len(encoded), dtype=torch.int64, device=encoded.device)
        return {"past": past, "hidden": hidden, "place": place}

    def step(self, ids: Tensor, cache: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """See `EncoderDecoder`."""
        context, stacks = Context(None, None, cache["hidden"]), self.stacks
        x = stacks.target(ids[:, None], int(cache["place"][0]))
        stream, past = list(x.chunk(stacks.decoder.splits, dim=-1)), []
        for layer, pasts in zip(self._layers(), cache["past"], strict=True):
            kept = []
            for k, (node, held) in enumerate(zip(layer, pasts, strict=True)):
                update, held = node.step(stream[:k] + stream[k + 1 :], context, held)
                stream[k] = stream[k] + update
                kept.append(held)
            past.append(tuple(kept))
        scores = stacks.target.scores(stacks.decoder_norm(torch.cat(stream, dim=-1)))
        return scores[:, 0], {**cache, "past": tuple(past), "place": cache["place"] + 1}

    def _layers(self) -> list[list[Node]]:
        """The nodes of the decoder."""
        layers = cast("list[nn.ModuleList]", list(self.stacks.decoder.layers))
        return [cast("list[Node]", list(layer)) for layer in layers]


register(DARTSformer, supernet=DARTSformerSupernet, network=DARTSformerNetwork)
