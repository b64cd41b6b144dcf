"""Joint samples: one for a batch or one for each example, and what is read off their gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen import spaces
from morphogen.bilevel.categorical import log_prob, soften
from morphogen.bilevel.joint import draw, features, repetitions, softened_gates
from morphogen.core import Choice
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates

SPACE = SearchSpace(
    "three",
    [Choice("a", ("x", "y"), "one"), Choice("b", ("x", "y", "z"), "one"), Choice("c", ("p", "q"))],
)


def alphas() -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(m.shape, generator=g).requires_grad_() for m in SPACE.masks.values()]


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_a_process_has_its_share_of_the_samples_of_a_joint_batch() -> None:
    whole = draw(SPACE, alphas(), 0.4, rng(), examples=6)
    assert whole.log_p.shape == (6,)
    assert whole.discrete().examples == 6
    halves = [draw(SPACE, alphas(), 0.4, rng(), examples=6, mine=slice(i, i + 3)) for i in (0, 3)]
    for kind in ("discrete", "relaxed", "control"):
        for group, weights in getattr(whole, kind)().weights.items():
            parts = [getattr(half, kind)().weights[group] for half in halves]
            assert torch.equal(torch.cat(parts), weights)
    assert torch.equal(torch.cat([half.log_p for half in halves]), whole.log_p)
    shared = draw(SPACE, alphas(), 0.4, rng(), mine=slice(0, 3))  # one for all of them
    assert (shared.log_p.shape, shared.discrete().examples) == ((), None)


def test_a_sample_is_one_option_of_each_choice_and_its_relaxation_leans_to_it() -> None:
    leaves = alphas()
    drawn = draw(SPACE, leaves, 0.4, rng(), softening=0.1)
    discrete, relaxed, control = drawn.discrete(), drawn.relaxed(), drawn.control()
    masks = [torch.from_numpy(m) for m in SPACE.masks.values()]
    wanted = torch.zeros(())
    for leaf, mask, (group, weights) in zip(leaves, masks, discrete.weights.items(), strict=True):
        assert torch.equal(weights.sum(-1), torch.ones(len(weights)))
        assert not weights[~mask].any()
        assert torch.equal(relaxed.weights[group].argmax(-1), weights.argmax(-1))
        torch.testing.assert_close(control.weights[group], relaxed.weights[group])
        wanted = wanted + log_prob(soften(leaf, 0.1, mask), weights, mask)
        assert discrete.live[group] == tuple((i,) for i in weights.argmax(-1).tolist())
    torch.testing.assert_close(drawn.log_p, wanted)
    whole = [len(row) for rows in relaxed.live.values() for row in rows]
    few = [len(row) for rows in drawn.relaxed(0.3).live.values() for row in rows]
    assert whole == [2, 3, 2]
    assert all(1 <= n <= of for n, of in zip(few, whole, strict=True))
    expected = softened_gates(SPACE, leaves, 0.1).weights["one"][0]
    p = torch.softmax(leaves[0][0, :2], -1)
    torch.testing.assert_close(expected[:2], (p + 0.1) / 1.2)
    assert expected[2] == 0


def test_features_leave_out_what_a_choice_has_not() -> None:
    arch = SPACE.check(SPACE.parse("a=y;b=z;c=p"))
    assert features(SPACE, Gates.of(SPACE, arch)).tolist() == [0, 1, 0, 0, 1, 1, 0]
    each = draw(SPACE, alphas(), 0.4, rng(), examples=5).relaxed()
    rows = features(SPACE, each)
    assert rows.shape == (5, 7)
    torch.testing.assert_close(rows.sum(-1), torch.full((5,), 3.0))


def test_repetitions_compare_options_by_name() -> None:
    """Also where two choices have lost different options."""
    whole = spaces.make("darts-unas")
    kept = {"normal_2_operation1": ["sep_conv_3x3", "max_pool_3x3"]}
    part = whole.restrict({**kept, "normal_2_operation2": ["skip_connect", "sep_conv_3x3"]})
    for source, count in ((0, 1.0), (1, 0.0)):
        rest = " | ".join(["sep_conv_3x3~0 max_pool_3x3~1"] * 3)
        normal = f"sep_conv_3x3~0 sep_conv_3x3~{source} | {rest}"
        reduce = " | ".join(["sep_conv_3x3~0 max_pool_3x3~1"] * 4)
        arch = part.parse(f"normal: {normal} ; reduce: {reduce}")
        assert float(repetitions(part, Gates.of(part, arch))) == count
    assert float(repetitions(SPACE, draw(SPACE, alphas(), 0.4, rng()).discrete())) == 0
    uniform = {g: torch.from_numpy(m / m.sum(1, keepdims=True)).float()
               for g, m in whole.masks.items()}  # fmt: skip
    found = float(repetitions(whole, Gates.dense(whole, uniform)))
    assert found == pytest.approx(2 * sum(1 / (n * 7) for n in (2, 3, 4, 5)))
