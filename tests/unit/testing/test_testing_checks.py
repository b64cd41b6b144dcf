"""The suites find faults: methods, spaces and tasks with one each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

from morphogen.core import Choice
from morphogen.methods import _contract, find
from morphogen.methods.darts import DARTS
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.tasks import Task
from morphogen.testing import Checks, MethodChecks, SpaceChecks, TaskChecks
from morphogen.testing.checks import require


class DrawsGlobally(DARTS):
    def step(self, state: Any, *rest: Any) -> Any:
        found = super().step(state, *rest)
        with torch.no_grad():
            state.alphas[0] += 0.01 * torch.rand(())
        return found


class Remembers(DARTS):
    """What it knows is not all in its state."""

    seen = 0

    def step(self, state: Any, *rest: Any) -> Any:
        found = super().step(state, *rest)
        self.seen += 1
        with torch.no_grad():
            state.alphas[0] += 0.01 * self.seen
        return found


class Trespasses(DARTS):
    def step(self, state: Any, problem: Any, *rest: Any) -> Any:
        with torch.no_grad():
            problem.space.module.classifier.bias += 1
        return super().step(state, problem, *rest)


class Cheats(DARTS):
    def init(self, problem: Any) -> Any:
        problem.task._sealed_by = ""
        problem.task.open_test("to cheat")
        return super().init(problem)


@pytest.mark.parametrize(
    ("broken", "promise", "message"),
    [
        (DrawsGlobally, "a_step_uses_only_the_problems_streams", "draws from elsewhere"),
        (Remembers, "resume_after_an_epoch", "history differs"),
        (Trespasses, "space_and_module_are_unchanged", "module's weights have changed"),
        (Cheats, "the_test_part_stays_closed", "has been opened"),
    ],
)
def test_a_method_with_a_fault(broken, promise, message, monkeypatch, tmp_path):
    info = replace(find("darts"), name="broken", build=broken)
    monkeypatch.setitem(_contract._REGISTRY, "broken", info)
    with pytest.raises(AssertionError, match=message):
        MethodChecks("broken", tmp_path).check(promise)


class Three(SearchSpace, Differentiable):
    def __init__(self) -> None:
        super().__init__("three", [Choice(n, ("x", "y", "z"), "all") for n in ("a", "b")])


class Forgets(Three):
    def read(self, text: str) -> Any:
        return super().read(text.replace("y", "x"))


class Idle(Three):
    def mutate(self, arch: Any, rng: Any) -> Any:
        return arch


class Contrary(Three):
    def derive(self, scores: Any) -> Any:
        return super().derive({group: -matrix for group, matrix in scores.items()})


class Counts(Three):
    def size(self) -> int:
        return 8


@pytest.mark.parametrize(
    ("broken", "promise", "message"),
    [
        (Forgets, "text_is_read_as_it_was_written", "read as another"),
        (Idle, "a_mutant_is_a_neighbour", "a mutant of"),
        (Contrary, "derive_finds_what_the_scores_say", "the scores of"),
        (Counts, "size_counts_the_architectures", "9 are listed, and the size is 8"),
    ],
)
def test_a_space_with_a_fault(broken, promise, message):
    SpaceChecks(Three(), supernet=False).check(promise)
    with pytest.raises(AssertionError, match=message):
        SpaceChecks(broken(), supernet=False).check(promise)


X = torch.arange(40.0)[:, None]


class Overlaps(Task):
    def rows(self, part: str) -> Any:
        return super().rows("train" if part == "valid" else part)


class NotAdditive(Task):
    def counts(self, output: Any, y: Any) -> Any:
        return {"metric": super().counts(output, y)["metric"] ** 2}


class OpensInASearch(Task):
    def open_test(self, reason: str, **options: Any) -> Any:
        self._sealed_by = ""
        return super().open_test(reason, **options)


@pytest.mark.parametrize(
    ("broken", "promise", "message"),
    [
        (Overlaps, "parts_do_not_meet", "in both search parts"),
        (NotAdditive, "sums_add_up", "in one pass"),
        (OpensInASearch, "the_test_part_is_closed", "opened in a search"),
    ],
)
def test_a_task_with_a_fault(broken, promise, message):
    def make(cls: type[Task]) -> Task:
        data = TensorDataset(X, X)
        return cls(train=data, test=data, loss=mse_loss)

    TaskChecks(lambda: make(Task), lambda: nn.Linear(1, 1)).check(promise)
    with pytest.raises(AssertionError, match=message):
        TaskChecks(lambda: make(broken), lambda: nn.Linear(1, 1)).check(promise)


class Two(Checks):
    def check_first(self) -> None:
        """Kept."""

    def check_second(self) -> None:
        """Not kept."""
        require(False, "2 is not 1")


def test_a_suite_says_which_promise_is_not_kept():
    assert Two.promises() == ("first", "second")
    Two().check("first")
    with pytest.raises(AssertionError, match="second: 2 is not 1"):
        Two().check_all()
    with pytest.raises(ValueError, match="accepted: first, second"):
        Two().check("third")
