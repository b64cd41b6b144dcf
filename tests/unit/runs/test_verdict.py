"""Sentences about differences: what the interval holds, and nothing beyond."""

from __future__ import annotations

import pytest

from morphogen.core.statistics import Contrast, contrast
from morphogen.runs.verdict import Verdict


def verdict(difference: float, low: float | None, high: float | None, **changed: object) -> Verdict:
    seeds = 1 if low is None else 3
    known = {
        **{"against": "the reference (ResNet)", "metric": "accuracy", "unit": "%"},
        **{"higher_is_better": True, **changed},
    }
    return Verdict.of(Contrast(difference, low, high, seeds), **known)  # type: ignore[arg-type]


def test_a_sentence_claims_what_its_interval_holds() -> None:
    told = {
        (1.8, 0.6, 3.0): "better than the reference (ResNet) by 1.8 points (95 % interval 0.6 to "
        "3.0, 3 seeds)",
        (-2.1, -3.2, -1.0): "the reference (ResNet) is better by 2.1 points (95 % interval 1.0 to "
        "3.2, 3 seeds)",
        (0.4, -0.9, 1.7): "not to be told from the reference (ResNet): 0.4 points better (95 % "
        "interval -0.9 to 1.7, 3 seeds)",
        (-0.4, -1.7, 0.9): "not to be told from the reference (ResNet): 0.4 points worse (95 % "
        "interval -1.7 to 0.9, 3 seeds)",
        # An end above 0 is not shown as 0.0.
        (0.9, 0.02, 1.78): "better than the reference (ResNet) by 0.90 points (95 % interval 0.02 "
        "to 1.78, 3 seeds)",
        (1.8, None, None): "not to be told from the reference (ResNet): 1.8 points better with one "
        "seed, of which there is no interval",
        (5.0, 5.0, 5.0): "not to be told from the reference (ResNet): 5.0 points better with each "
        "of 3 seeds, too alike for an interval",
        (0.0, 0.0, 0.0): "not to be told from the reference (ResNet): 0.0 points of difference "
        "with each of 3 seeds, too alike for an interval",
    }
    for numbers, sentence in told.items():
        assert verdict(*numbers).sentence == sentence


def test_where_less_is_better_a_smaller_error_is_the_better_one() -> None:
    less = {"metric": "mae", "unit": "m/s", "higher_is_better": False}
    better = verdict(-0.12, -0.2, -0.04, **less)
    assert better.outcome == "better"
    assert better.sentence == (
        "better than the reference (ResNet) by 0.12 m/s (95 % interval 0.04 to 0.2, 3 seeds)"
    )
    worse = verdict(0.12, 0.04, 0.2, **less | {"unit": "", "against": "a random architecture"})
    assert worse.sentence == (
        "a random architecture is better by 0.12 (95 % interval 0.04 to 0.2, 3 seeds)"
    )
    assert verdict(0.1, -0.1, 0.3, **less).sentence.startswith(
        "not to be told from the reference (ResNet): 0.1 m/s worse (95 % interval -0.3 to 0.1"
    )


def test_the_outcome_is_that_of_the_paired_test() -> None:
    wide = [[74.0, 70.0, 72.5], [72.0, 69.5, 69.0]]  # differences 2.0, 0.5, 3.5: p = 0.15
    near = [[74.0, 70.0, 72.5], [72.0, 68.2, 70.3]]  # 2.0, 1.8, 2.2
    known = {"against": "b", "metric": "accuracy", "unit": "%", "higher_is_better": True}
    assert Verdict.of(contrast(wide, 0, 1), **known).outcome == "open"  # type: ignore[arg-type]
    assert Verdict.of(contrast(near, 0, 1), **known).outcome == "better"  # type: ignore[arg-type]
    assert Verdict.of(contrast(near, 1, 0), **known).outcome == "worse"  # type: ignore[arg-type]


def test_the_same_architecture_is_not_compared_and_a_record_is_whole() -> None:
    itself: dict[str, object] = {"against": "the reference (ResNet)", "metric": "accuracy"}
    itself |= {"unit": "%", "higher_is_better": True, "difference": 0.0, "seeds": 0}
    assert Verdict.model_validate(itself).sentence == "it is the reference (ResNet) itself"
    for wrong in ({"low": 1.0}, {"seeds": 2}, {"low": 1.0, "high": 2.0}):
        with pytest.raises(ValueError, match="interval"):
            Verdict.model_validate(itself | wrong)
