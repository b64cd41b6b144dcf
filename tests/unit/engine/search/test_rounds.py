"""The conversation with a black-box method: order, budget, what is asked twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from morphogen.core import Architecture, Choice, ConfigError
from morphogen.engine.search.rounds import REPEATS, ask_and_tell
from morphogen.spaces import SearchSpace

SPACE = SearchSpace("grid", [Choice("a", tuple("01234")), Choice("b", tuple("012"))])
ALL = SPACE.enumerate()


def value(arch: Architecture) -> float:
    return 10.0 * int(arch.one("a")) + int(arch.one("b"))


@dataclass
class Script:
    """Asks for what it is given, round by round, and keeps what it is told."""

    rounds: list[list[Architecture]]
    config: None = None
    counts: list[int] = field(default_factory=list)
    told: list[tuple[list[Architecture], np.ndarray]] = field(default_factory=list)

    def init(self, space):
        return None

    def ask(self, state, space, count, rng):
        self.counts.append(count)
        return self.rounds.pop(0)[:count] if self.rounds else []

    def tell(self, state, archs, scores):
        self.told.append((list(archs), scores))

    def derive(self, state, space):
        return ALL[0]


def talk(method, budget, round_size=1):
    asked = []

    def answer(archs, stage):
        asked.append(list(archs))
        return np.array([value(a) for a in archs])

    found = ask_and_tell(
        method, SPACE, np.random.default_rng(0), answer, budget=budget, round_size=round_size
    )
    return found, asked


def test_a_round_is_told_in_the_order_of_asking():
    rounds = [ALL[3:6], ALL[0:3]]
    method = Script([list(r) for r in rounds])
    found, asked = talk(method, 6, 3)
    assert asked == rounds
    assert found.answered == 6
    for (archs, scores), expected in zip(method.told, rounds, strict=True):
        assert archs == expected
        assert scores.dtype == np.float64
        assert scores.tolist() == [value(a) for a in expected]


def test_the_budget_is_kept_to_the_last_round():
    method = Script([ALL[0:4], ALL[4:8], ALL[8:12]])
    found, asked = talk(method, 10, 4)
    assert method.counts == [4, 4, 2]
    assert found.answered == 10
    assert sum(map(len, asked)) == 10


def test_what_is_asked_again_is_answered_again_and_not_counted():
    method = Script([[ALL[0], ALL[1]], [ALL[1], ALL[2]], [ALL[3], ALL[3]]])
    found, asked = talk(method, 5, 2)
    assert found.answered == 4
    assert asked == [[ALL[0], ALL[1]], [ALL[2]], [ALL[3]]]
    assert [s.tolist() for _, s in method.told] == [[0, 1], [1, 2], [10, 10]]


def test_it_ends_when_the_whole_space_is_known():
    method = Script([[a] for a in ALL] * 2)
    found, _ = talk(method, 10_000)
    assert found.answered == len(ALL) == 15


def test_a_method_that_only_repeats_itself_comes_to_an_end():
    class Stuck(Script):
        def ask(self, state, space, count, rng):
            return [ALL[0]] * count

    method = Stuck([])
    found, _ = talk(method, 3, 3)
    assert found.answered == 1
    assert sum(len(archs) for archs, _ in method.told) < REPEATS + 10


def test_a_method_that_asks_for_too_much_is_named():
    class Greedy(Script):
        def ask(self, state, space, count, rng):
            return ALL[: count + 1]

    with pytest.raises(ConfigError, match="gave 3 architectures; accepted: at most the 2 asked"):
        talk(Greedy([]), 5, 2)
