"""Transformers from sequences to sequences: what is chosen by hand, as a small space.

Attention Is All You Need, Vaswani et al., NeurIPS 2017, arXiv 1706.03762; the norm before each part
of a layer as in Xiong et al., ICML 2020, arXiv 2002.04745.

Width and number of layers are sizes of the network (`NetworkSpec.channels` and `depth`), not
choices. It is the reference of the spaces of sequences.
"""

from __future__ import annotations

from typing import ClassVar

from morphogen.core import Choice
from morphogen.spaces.base import SearchSpace
from morphogen.spaces.registry import register

USUAL = "norm=pre;heads=8;feed_forward=4x;activation=relu"
"""The Transformer of the field, with the norm first, which trains without much care."""

SIZE = {"network.channels": 256, "network.depth": 3, "network.dropout": 0.1}
"""For some ten thousand sentences: 20 epochs of 29,000 take about three quarters of an hour of one
core in bfloat16."""


@register(
    "transformer",
    supernet="morphogen.supernets.transformer",
    drawing="choices",
    network={"channels": 256, "depth": 3, "dropout": 0.1, "classes": 4000, "in_channels": 4000},
    quick={
        **SIZE,
        "epochs": 20,
        "optimiser": "adam",
        "lr": 1e-3,
        "warm_up": 1000,
        "weight_decay": 0.0,
        "clip": 1.0,
    },
    quick_search=SIZE,
    reference=USUAL,
    reference_name="Transformer",
    reference_reason="it is what the field compares with, with the norm before each part",
)
class Transformer(SearchSpace):
    """Sequences: Transformers by norm, heads, feed-forward width and activation."""

    spatial_dims: ClassVar[int | None] = 0
    dense: ClassVar[bool] = True

    def __init__(self, name: str = "transformer") -> None:
        super().__init__(
            name,
            [
                Choice("norm", ("pre", "post")),
                Choice("heads", ("1", "2", "4", "8")),
                Choice("feed_forward", ("1x", "2x", "4x")),
                Choice("activation", ("relu", "gelu", "swish")),
            ],
        )
