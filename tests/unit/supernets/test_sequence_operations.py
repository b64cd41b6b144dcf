"""Operations on sequences against loops over places, and what each of them may see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from morphogen.core import UnknownNameError
from morphogen.spaces.dartsformer import DECODER_OPERATIONS, ENCODER_OPERATIONS
from morphogen.supernets.sequence_operations import (
    Context,
    Convolution,
    DynamicConvolution,
    Normed,
    Sizes,
    band,
    operation,
)

C, D, B, T, S = 6, 8, 2, 7, 4
HIDDEN = torch.tensor([[False] * 4 + [True] * 3, [False] * 7])[:, None, None]


def sizes(*, causal: bool, dropout: float = 0.0) -> Sizes:
    return Sizes(C, D, heads=2, expansion=3, dropout=dropout, causal=causal)


def made(name: str, *, causal: bool) -> nn.Module:
    torch.manual_seed(0)
    return operation(name, sizes(causal=causal)).double()


def inputs() -> tuple[Tensor, Context]:
    g = torch.Generator().manual_seed(1)
    memory = torch.randn(B, S, D, generator=g, dtype=torch.float64)
    none = torch.zeros(B, 1, 1, S, dtype=torch.bool)
    return torch.randn(B, T, C, generator=g, dtype=torch.float64), Context(None, memory, none)


@pytest.mark.parametrize("name", DECODER_OPERATIONS)
def test_a_causal_operation_sees_no_later_place_and_goes_on_place_by_place(name: str) -> None:
    one, (h, context) = made(name, causal=True), inputs()
    whole = one(h, context)
    for t in range(T):
        changed = h.clone()
        changed[:, t:] += 1
        assert torch.equal(one(changed, context)[:, :t], whole[:, :t])
    past = one.begin(h[:, :0], context)
    for t in range(T):
        out, past = one.step(h[:, t : t + 1], context, past)
        torch.testing.assert_close(out, whole[:, t : t + 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ENCODER_OPERATIONS)
def test_padding_changes_nothing_and_without_it_the_rest_is_the_same(name: str) -> None:
    one, (h, _) = made(name, causal=False), inputs()
    whole = one(h, Context(HIDDEN))
    changed = torch.where(HIDDEN[:, 0, 0, :, None], h + 1, h)
    assert torch.equal(one(changed, Context(HIDDEN))[0, :4], whole[0, :4])
    alone = one(h[:1, :4], Context(HIDDEN[:1, ..., :4]))
    torch.testing.assert_close(alone[0], whole[0, :4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_convolutions_are_sums_over_a_window(causal: bool) -> None:
    h, _ = inputs()
    w, before = 5, 4 if causal else 2
    torch.manual_seed(0)
    conv = Convolution(w, sizes(causal=causal)).double()
    dynamic = DynamicConvolution(w, sizes(causal=causal)).double()
    gated = nn.functional.glu(dynamic.first(h), dim=-1)
    kernels = dynamic.kernel(gated).reshape(B, T, 2, w).softmax(-1)
    for t in range(T):
        expected, mixed = conv.conv.bias.expand(B, C).clone(), torch.zeros_like(h[:, 0])
        for j in range(w):
            place = t + j - before
            if 0 <= place < T:
                expected += h[:, place] @ conv.conv.weight[:, :, j].T
                # Channels 0 to 2 share the first kernel, 3 to 5 the second.
                mixed += kernels[:, t, :, j].repeat_interleave(C // 2, 1) * gated[:, place]
        torch.testing.assert_close(conv(h, Context())[:, t], expected)
        torch.testing.assert_close(dynamic(h, Context())[:, t], dynamic.last(mixed))


def test_a_band_has_each_kernel_one_place_further() -> None:
    kernel = torch.arange(1.0, 7).reshape(3, 2)
    assert band(kernel).tolist() == [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 5, 6]]


def test_an_operation_is_normed_after_its_residual_and_zero_and_identity_are_not() -> None:
    h, context = inputs()
    glu = made("glu", causal=False)
    assert isinstance(glu, Normed)
    a, b = glu.inner.linear(h).chunk(2, dim=-1)
    expected = h + a * b.sigmoid()
    mean, var = expected.mean(-1, keepdim=True), expected.var(-1, keepdim=True, unbiased=False)
    torch.testing.assert_close(glu(h, context), (expected - mean) / (var + 1e-5).sqrt())
    assert made("identity", causal=False)(h, context) is h
    assert not made("zero", causal=False)(h, context).any()


def test_in_training_kernels_and_outputs_are_dropped() -> None:
    h, context = inputs()
    for name in ("dynamic_conv_3", "ffn", "conv_3"):
        one = operation(name, sizes(causal=True, dropout=0.5)).double()
        assert not torch.equal(one(h, context), one(h, context))
        one.eval()
        assert torch.equal(one(h, context), one(h, context))


@pytest.mark.parametrize("name", ["conv_4", "conv_x", "attention", "dynamic_conv"])
def test_an_unknown_operation_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"operation is '{name}'|{name}"):
        operation(name, sizes(causal=True))
