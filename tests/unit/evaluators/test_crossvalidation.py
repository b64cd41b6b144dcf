"""Problems of folds: each trains on what it does not judge on."""

import pytest
import torch

import tiny
from morphogen.evaluators.crossvalidation import CrossValidation
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem


def problem(train: int, valid: int, batch_size: int = 10) -> Problem:
    task = ImageTask.of(tiny.images(), train_images=train, valid_images=valid, size=8, seed=3)
    spec = NetworkSpec(channels=2, depth=1, classes=task.outputs(), in_channels=task.in_channels)
    return Problem(NASBench201(), task, spec, batch_size=batch_size, seed=3)


@pytest.mark.parametrize(
    ("train", "valid", "wanted", "count"), [(120, 40, 2, 3), (120, 40, 5, 5), (100, 90, 2, 2)]
)
def test_folds_are_as_large_as_the_search_validation_part_or_as_many_as_are_wanted(
    train, valid, wanted, count
) -> None:
    whole = problem(train, valid)
    made = CrossValidation(whole, wanted)
    judged, pool = [], set(whole.task.rows("pool").tolist())
    for number in range(count):
        task = made[number].task
        judges, trains = (set(task.rows(part).tolist()) for part in ("valid", "train"))
        assert trains == pool - judges
        assert made.smallest <= len(judges) <= made.smallest + 1
        judged.append(judges)
    assert set.union(*judged) == set(whole.task.rows("train").tolist())
    assert sum(map(len, judged)) == train
    assert set(made[count].task.rows("valid").tolist()) == judged[0]  # from the start again
    assert torch.equal(whole.task.rows("train"), problem(train, valid).task.rows("train"))


def test_there_are_none_where_a_fold_would_have_less_than_a_batch() -> None:
    assert not CrossValidation(problem(30, 30, batch_size=20), 2)
    assert len(CrossValidation(problem(60, 30, batch_size=20), 5)[0].task.rows("valid")) == 20
