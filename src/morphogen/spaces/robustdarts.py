"""RobustDARTS' S1 to S4: the DARTS cell with few operations per edge, on which DARTS collapses.

Zela, Elsken, Saikia, Marrakchi, Brox and Hutter, ICLR 2020, arXiv 1909.09656, section 4. They
retrained with DARTS' protocol, S2 and S4 at 16 channels (DARTS-PT: at 36, too).
"""

from __future__ import annotations

from morphogen.spaces.darts import DARTS
from morphogen.spaces.darts_cells import NODES, NOISE, RESIDUAL, RESIDUAL_NAME, RESIDUAL_REASON
from morphogen.spaces.registry import register

_SHORT = {
    "sk": "skip_connect",
    "s3": "sep_conv_3x3",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
}
_S1 = {
    "normal": "sk-d3 sk-d5  sk-d5 sk-s3 sk-d3  mp-sk sk-s3 sk-s3 sk-d3  sk-s3 mp-sk sk-d3 d3-d5 "
    "d3-d5",
    "reduce": "mp-ap mp-d3  mp-ap mp-ap sk-d5  mp-ap mp-s3 sk-d3 sk-d5  mp-ap mp-ap sk-d5 sk-d5 "
    "sk-d5",
}
"""Two operations per edge, in the order of `EDGES` (RobustDARTS, src/spaces.py)."""


_RESIDUAL_S1 = (
    "normal: skip_connect~0 dil_conv_5x5~1 | skip_connect~1 dil_conv_3x3~2 | skip_connect~2 "
    "dil_conv_3x3~3 | skip_connect~2 dil_conv_3x3~4 ; "
    "reduce: max_pool_3x3~0 dil_conv_3x3~1 | max_pool_3x3~1 dil_conv_5x5~2 | skip_connect~2 "
    "dil_conv_5x5~3 | skip_connect~3 dil_conv_5x5~4"
)
_CONVOLUTIONS = " | ".join(f"sep_conv_3x3~{n - 2} sep_conv_3x3~{n - 1}" for n in NODES)
_CELLS = f"normal: {RESIDUAL} ; reduce: {RESIDUAL}"


@register(
    "darts-s1",
    like="darts",
    reference=_RESIDUAL_S1,
    reference_name=RESIDUAL_NAME,
    reference_reason="one convolution after the other, with a skip connection around each where "
    "the space has one, else a pool, as in a ResNet",
)
def s1() -> DARTS:
    """S1: on each edge the two operations that an iterative DARTS search left there."""
    rows = {
        cell: [tuple(_SHORT[o] for o in edge.split("-")) for edge in text.split()]
        for cell, text in _S1.items()
    }
    return DARTS("darts-s1", rows)


@register(
    "darts-s2",
    like="darts",
    evaluation={"network.channels": 16},
    reference=_CELLS,
    reference_name=RESIDUAL_NAME,
    reference_reason=RESIDUAL_REASON,
)
def s2() -> DARTS:
    """S2: skip connection or separable 3x3 convolution on every edge."""
    return DARTS("darts-s2", ("skip_connect", "sep_conv_3x3"))


@register(
    "darts-s3",
    like="darts",
    reference=_CELLS,
    reference_name=RESIDUAL_NAME,
    reference_reason=RESIDUAL_REASON,
)
def s3() -> DARTS:
    """S3: as S2, and `none` in the supernet."""
    return DARTS("darts-s3", ("none", "skip_connect", "sep_conv_3x3"))


@register(
    "darts-s4",
    like="darts",
    evaluation={"network.channels": 16},
    reference=f"normal: {_CONVOLUTIONS} ; reduce: {_CONVOLUTIONS}",
    reference_name="convolutions alone",
    reference_reason="separable 3x3 convolutions of the two nodes before each: the other option is "
    "noise, which nobody would choose by hand",
)
def s4() -> DARTS:
    """S4: noise or separable 3x3 convolution on every edge."""
    return DARTS("darts-s4", (NOISE, "sep_conv_3x3"))
