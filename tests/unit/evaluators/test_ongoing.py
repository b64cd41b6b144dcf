"""Short trainings of other lengths, repetitions and parts, and those that a state keeps."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch.nn import functional as F

import tiny
from morphogen.bilevel.optimisers import SGD
from morphogen.core import CheckpointError
from morphogen.evaluators.crossvalidation import CrossValidation
from morphogen.evaluators.ongoing import OngoingTraining
from morphogen.evaluators.short import ShortTraining
from morphogen.spaces.nasbench201 import RESNET, NASBench201
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem

RATE = SGD(lr=0.1, lr_end=0.0)


@pytest.fixture(scope="module")
def problem() -> Problem:
    task = ImageTask.of(tiny.images(), train_images=24, valid_images=16, size=8, seed=3)
    spec = NetworkSpec(channels=4, depth=1, classes=task.outputs(), in_channels=task.in_channels)
    return Problem(NASBench201(), task, spec, batch_size=8, seed=3)


def training(problem: Problem, **changed) -> ShortTraining:
    arch = problem.space.parse(RESNET)
    return ShortTraining(problem, arch, batch_size=8, descent=RATE, **changed)


def weights(one: ShortTraining) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in one.net.parameters()])


def test_a_length_in_steps_falls_along_the_cosine_from_step_to_step(problem, monkeypatch) -> None:
    seen = []
    made = training(problem, steps=4)
    step = made._optimiser.step

    def stepped() -> None:
        seen.append(made._optimiser.param_groups[0]["lr"])
        step()

    monkeypatch.setattr(made._optimiser, "step", stepped)
    assert made.steps == 4
    made.advance(4)
    assert seen == pytest.approx([0.05 * (1 + math.cos(math.pi * i / 4)) for i in range(4)])


def test_an_epoch_of_steps_is_the_epoch(problem) -> None:
    assert training(problem, epochs=2).steps == 2 * 24 // 8


def test_repetitions_differ_in_weights_and_batches_and_not_in_anything_else(problem) -> None:
    first, again = training(problem, steps=2), training(problem, steps=2)
    other = training(problem, steps=2, repetition=1)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert [s.shape for s in first.net.state_dict().values()] == [
        s.shape for s in other.net.state_dict().values()
    ]
    rows = [one._stream._draw().tolist() for one in (first, again, other)]
    assert rows[0] == rows[1] != rows[2]


def test_the_pool_is_both_search_parts(problem) -> None:
    assert len(training(problem, steps=1, part="pool")._stream.examples) == 24 + 16
    assert len(training(problem, steps=1)._stream.examples) == 24


def test_scores_of_parts_are_those_of_their_examples(problem) -> None:
    made = training(problem, steps=3)
    made.advance(3)
    examples = problem.task.examples("valid")
    parts = [[examples.batch(rows)] for rows in torch.arange(16).tensor_split(4)]
    each, whole = made.scores(parts), made.score()
    made.net.eval()
    with torch.no_grad():
        right = [
            (made.net(part[0].x).argmax(1) == part[0].y).double().mean().item() * 100
            for part in parts
        ]
    assert each == pytest.approx(right)
    assert whole == pytest.approx(sum(right) / 4)


@pytest.mark.parametrize("asked", [{"part": "pool"}, {"fold": 1}], ids=str)
def test_a_kept_training_goes_on_to_the_same_bits(problem, asked) -> None:
    whole = OngoingTraining(problem, 8, RATE, CrossValidation(problem, 2))
    whole.begin(RESNET, 5, repetition=2, **asked)
    whole.advance(2, 5)
    kept = torch.load(_written(whole.state_dict()), weights_only=True)
    whole.advance(5, 5)
    again = OngoingTraining(problem, 8, RATE, CrossValidation(problem, 2))
    again.load_state_dict(kept)
    assert again.now is not None
    assert again.now.done == 2
    again.advance(5, 5)
    assert torch.equal(weights(again.now), weights(whole.now))


def test_a_training_of_another_architecture_is_refused(problem) -> None:
    other = RESNET.replace("none~0", "avg_pool_3x3~0", 1)
    kept = training(problem, steps=2).state_dict()
    strange = ShortTraining(
        problem, problem.space.parse(other), batch_size=8, descent=RATE, steps=2
    )
    with pytest.raises(CheckpointError, match="is of"):
        strange.load_state_dict(kept)


def test_the_loss_on_the_way_is_the_mean_of_the_batches(problem) -> None:
    one = training(problem, steps=6)
    drawn = one._stream.next
    batches = []

    def kept():
        batches.append(drawn())
        return batches[-1]

    one._stream.next = kept
    one.advance(2)
    before = copy.deepcopy(one.net)
    loss = one.advance(3)
    x, y, _ = batches[2]
    assert loss is not None
    assert loss.item() == pytest.approx(F.cross_entropy(before(x), y).item(), rel=1e-5)
    each = [one.advance(to).item() for to in (4, 5)]
    again = training(problem, steps=6)
    again.advance(3)
    assert again.advance(5).item() == pytest.approx(sum(each) / 2, rel=1e-6)
    assert again.advance(5) is None


def test_what_is_trained_is_counted(problem) -> None:
    before = problem.seen["train"]
    one = OngoingTraining(problem, 8, RATE)
    one.begin(RESNET, 3)
    one.advance(2, 3)
    assert problem.seen["train"] - before == 16


def _written(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file
