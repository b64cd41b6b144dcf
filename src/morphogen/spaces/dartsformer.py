"""DARTSformer: encoders and decoders of multi-split reversible layers, an operation for each split.

Zhao, Dong, Shen, Zhang, Wei and Chen, "Memory-Efficient Differentiable Transformer Architecture
Search", Findings of ACL-IJCNLP 2021, arXiv 2105.14669. The paper's text was not available: its
algorithms and tables are known from another's digest of it.

The d channels of a layer are cut into splits, one of which after the other is updated by an
operation on the others (`supernets.reversible`), pooled to one by maximum or mean: n splits in the
encoder, n + 1 in the decoder, whose last one is cross-attention always. What each other split does
is a choice, in s consecutive layers of either side, which are repeated. With n = 2 and s = 2 there
are 13^4 14^4 = 1.1e9 architectures.

The notation has the splits of a layer with commas, layers with slashes, encoder and decoder with a
colon: `ffn,self_attention/glu,conv_3:self_attention,ffn/cross_attention,zero`. It is read as JSON,
too: `{"encoder": [["ffn", "self_attention"], ...], "decoder": [...]}`.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal, get_args

from morphogen.core import Architecture, ArchitectureError, Choice, SpaceError
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.registry import register
from morphogen.spaces.transformer import USUAL

Pooling = Literal["max", "mean"]
"""How the other splits become the input of an operation, element by element."""

ZERO, IDENTITY, CROSS_ATTENTION = "zero", "identity", "cross_attention"

ENCODER_OPERATIONS = (
    *(f"conv_{w}" for w in (3, 5, 7, 11)),
    *(f"dynamic_conv_{w}" for w in (3, 7, 11, 15)),
    "self_attention",
    "glu",
    "ffn",
    ZERO,
    IDENTITY,
)
"""Of a split of the encoder: 13."""

DECODER_OPERATIONS = (
    *ENCODER_OPERATIONS[:9],
    CROSS_ATTENTION,
    *ENCODER_OPERATIONS[9:],
)
"""Of a split of the decoder: 14."""

SIDES = ("encoder", "decoder")

FOUND = "ffn,self_attention/ffn,self_attention:ffn,cross_attention/self_attention,cross_attention"
"""The paper's best network (maximum, s = 2), as far as its figure could be read of a digest."""


def node_name(side: str, layer: int, split: int) -> str:
    """Name of the choice of a split, both from 1, of one of the searched layers of a side."""
    return f"{side}_{layer}_{split}"


class DARTSformer(SearchSpace, Differentiable):
    """Encoders and decoders of multi-split layers, one of 13 or 14 operations for each split.

    Args:
        name: how the command line and the run directory call the space.
        splits: n, of the encoder; the decoder has one more.
        layers: s, consecutive layers whose operations are chosen; they are repeated until there are
            as many as the network has (`NetworkSpec.depth`), which must be a multiple.
        pooling: how the other splits become the input of an operation. Of two splits there is one
            other, and nothing to pool: both are the same in an encoder of n = 2.
        heads: of attention, and kernels of dynamic convolutions.
        expansion: r, the inner width of a feed-forward network by the channels of its split.
        embedding: e, the width of the factorised embedding [tokens, e] [e, d]; 0: [tokens, d].

    Raises:
        SpaceError: a size is impossible.
    """

    spatial_dims: ClassVar[int | None] = 0
    dense: ClassVar[bool] = True

    def __init__(
        self,
        name: str = "dartsformer",
        *,
        splits: int = 2,
        layers: int = 2,
        pooling: Pooling = "max",
        heads: int = 8,
        expansion: int = 4,
        embedding: int = 256,
    ) -> None:
        rules = (
            ("splits", splits, splits >= 2, "2 or more"),
            ("layers", layers, layers >= 1, "1 or more"),
            ("pooling", pooling, pooling in get_args(Pooling), " or ".join(get_args(Pooling))),
            ("heads", heads, heads >= 1, "1 or more"),
            ("expansion", expansion, expansion >= 1, "1 or more"),
            ("embedding", embedding, embedding >= 0, "0 (not factorised) or more"),
        )
        for field, value, fits, accepted in rules:
            if not fits:
                raise SpaceError(f"space {name!r}: {field} is {value!r}; accepted: {accepted}")
        self.splits, self.layers, self.pooling = splits, layers, pooling
        self.heads, self.expansion, self.embedding = heads, expansion, embedding
        super().__init__(
            name,
            [
                Choice(node_name(side, layer, split), operations, side)
                for side, operations in zip(
                    SIDES, (ENCODER_OPERATIONS, DECODER_OPERATIONS), strict=True
                )
                for layer in range(1, layers + 1)
                for split in range(1, splits + 1)
            ],
        )

    def arguments(self) -> dict[str, Any]:
        """All but the name."""
        return {field: getattr(self, field) for field in _FIELDS}

    # -- architectures -----------------------------------------------------------------------

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Says so when no operation brings together several places of a sequence."""
        arch = self.check(arch)
        return tuple(
            f"no operation of the {side} brings together several {tokens}: each token is seen "
            "without its neighbours"
            for side, tokens in zip(SIDES, ("tokens of the source", "target tokens"), strict=True)
            if not any(
                "conv" in arch.one(c.name) or arch.one(c.name) == "self_attention"
                for c in self.groups[side]
            )
        )

    # -- text --------------------------------------------------------------------------------

    def format(self, arch: Architecture) -> str:
        """`ffn,self_attention/...:...`, see the module."""
        arch = self.check(arch)
        return ":".join(
            "/".join(
                ",".join(
                    arch.one(node_name(side, layer, split)) for split in range(1, self.splits + 1)
                )
                for layer in range(1, self.layers + 1)
            )
            for side in SIDES
        )

    def read(self, text: str) -> Architecture:
        """Read the notation, or the same as JSON.

        Raises:
            ArchitectureError: says what else was found.
        """
        try:
            lists = _of_json(text) if text.lstrip().startswith("{") else _of_notation(text)
            kept = {
                node_name(side, i, k): operation
                for side, layers in zip(SIDES, lists, strict=True)
                for i, splits in enumerate(_counted(layers, self.layers), start=1)
                for k, operation in enumerate(_counted(splits, self.splits), start=1)
            }
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {self.layers} layers of "
                f"{self.splits} operations of the encoder and as many of the decoder, such as "
                f"{self._example()}"
            ) from None
        return self.check(Architecture(kept))

    def _example(self) -> str:
        layer = ",".join(["self_attention", *["ffn"] * (self.splits - 1)])
        return ":".join(["/".join([layer] * self.layers)] * 2)


_FIELDS = ("splits", "layers", "pooling", "heads", "expansion", "embedding")


def _of_notation(text: str) -> list[list[list[str]]]:
    return [
        [[name.strip() for name in layer.split(",")] for layer in side.split("/")]
        for side in text.split(":")
    ]


def _of_json(text: str) -> list[Any]:
    held = json.loads(text)
    if set(held) != set(SIDES):
        raise ValueError
    return [held[side] for side in SIDES]


def _counted(values: Any, count: int) -> list[Any]:
    """The values, a list of so many."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError
    if not all(isinstance(value, str | list) for value in values):
        raise ValueError
    return values


REFERENCE: dict[str, Any] = {
    "reference": USUAL,
    "reference_space": "transformer",
    "reference_name": "Transformer",
    "reference_reason": "it is what the space is to better, and what the field compares with",
}

ADAM = {"optimiser": "adam", "lr": 1e-3, "warm_up": 1000, "weight_decay": 0.0, "clip": 1.0}
QUICK = {"network.channels": 192, "network.depth": 2, "network.dropout": 0.1}


@register(
    "dartsformer",
    supernet="morphogen.supernets.dartsformer",
    drawing="choices",
    network={"channels": 960, "depth": 6, "classes": 33_000, "in_channels": 33_000},
    search={
        "network.channels": 960,
        "network.depth": 6,
        "network.dropout": 0.1,
        "split.train_images": 2_500_000,
        "split.valid_images": 2_000_000,
    },
    # 30,000 updates of weights and as many of alphas, on about 40,000 tokens each.
    searches={"dartsformer": {"batch_size": 1400, "epochs": 30, "steps_per_epoch": 1000}},
    quick={**QUICK, **ADAM},
    quick_search=QUICK,
    **REFERENCE,
)
def published() -> DARTSformer:
    """Sequences: multi-split encoder and decoder, 13 or 14 operations for each split (maximum)."""
    return DARTSformer(expansion=8)


@register("dartsformer-mean", like="dartsformer", **REFERENCE)
def mean() -> DARTSformer:
    """Sequences: the same, splits pooled by their mean."""
    return DARTSformer("dartsformer-mean", expansion=8, pooling="mean")


@register(
    "dartsformer-small",
    family="dartsformer",
    supernet="morphogen.supernets.dartsformer",
    drawing="choices",
    network={"channels": 192, "depth": 2, "classes": 8_000, "in_channels": 8_000},
    quick={**QUICK, **ADAM},
    quick_search=QUICK,
    **REFERENCE,
)
def small() -> DARTSformer:
    """Sequences: the same with narrow embeddings and four heads, for small data."""
    return DARTSformer("dartsformer-small", heads=4, embedding=64)
