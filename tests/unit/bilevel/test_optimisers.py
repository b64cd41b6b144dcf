"""Learning rates of the optimisers' configurations."""

import pytest

from morphogen.bilevel.optimisers import Adam
from morphogen.core import ConfigError
from morphogen.tasks.problem import Clock


def test_a_warm_up_rises_to_its_rate_and_falls_with_the_inverse_square_root() -> None:
    adam = Adam(lr=0.01, warm_up=4)
    rates = [adam.at(Clock.after(done, epochs=4, steps=5)) for done in (0, 1, 3, 8, 15)]
    assert rates == pytest.approx([0.0025, 0.005, 0.01, 0.01 * 2 / 3, 0.005])
    assert Adam(lr=0.01).at(Clock.after(15, epochs=4, steps=5)) == 0.01


def test_a_short_training_warms_up_for_half_of_it() -> None:
    adam = Adam(lr=0.01, warm_up=1000)
    rates = [adam.at(Clock.after(done, epochs=4, steps=10)) for done in range(40)]
    assert rates == pytest.approx([0.01 * min(t / 20, (20 / t) ** 0.5) for t in range(1, 41)])
    assert adam.at(Clock.after(0, epochs=1, steps=2)) == 0.01


def test_a_cosine_and_a_warm_up_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"lr_end is 0.001 and warm_up 4; accepted: one of"):
        Adam(lr_end=0.001, warm_up=4)
