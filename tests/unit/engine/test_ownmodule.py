"""A built-in space on a task of one's own: it fits, or a sentence says what does not."""

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

from morphogen.core import ConfigError, SpaceError
from morphogen.engine.ownmodule import try_space
from morphogen.spaces import make
from morphogen.tasks import Task

X, Y = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def tried(space, x=X, y=Y, loss=cross_entropy, outputs=3):
    task = Task(train=TensorDataset(x, y), loss=loss, outputs=outputs)
    return try_space(make(space), task, "train", batch_size=4, seed=0)


@pytest.mark.parametrize(
    ("space", "x", "y", "loss"),
    [
        ("nasbench201", X, Y, cross_entropy),
        ("nasbench201", X, torch.randn(8, 3), mse_loss),
        ("signal201", X.flatten(2), Y, cross_entropy),
    ],
)
def test_what_fits_is_left_alone(space, x, y, loss):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert tried(space, x, y, loss) == (make(space), ())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("space", "options", "kind", "says"),
    [
        ("nasbench201", {"outputs": None}, ConfigError, "outputs of the task is None; accepted f"),
        ("nasbench201", {"x": X[:, 0]}, SpaceError, r"takes one tensor \[n, channels, height, wi"),
        ("nasbench201", {"x": X.long()}, SpaceError, "of floating-point numbers, and the inputs"),
        ("signal201", {"x": X}, SpaceError, r"takes one tensor \[n, channels, time\] of"),
        ("nasbench201", {"outputs": 2}, SpaceError, "gives .*, which the loss and the metric do n"),
        ("nasbench201", {"y": Y.float(), "loss": mse_loss}, SpaceError, "Using a target size"),
    ],
)
def test_what_does_not_fit_is_one_sentence(space, options, kind, says):
    with pytest.raises(kind, match=says):
        tried(space, **options)
