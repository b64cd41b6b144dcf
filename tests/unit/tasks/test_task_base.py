"""A task of any map-style data sets: what it gives equals loops written out."""

import io
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import TensorDataset

from morphogen.core.errors import ConfigError, DataError, SpaceError
from morphogen.tasks import Batch, Metric, Task
from morphogen.tasks.cut import Cut
from morphogen.tasks.metric import added

N = 20
MAE = Metric("mae", "m", higher_is_better=False, of=l1_loss)
X = torch.linspace(-1, 1, 3 * N).view(N, 3)
Y = X.sum(1, keepdim=True) + 0.1


class Items:
    """A map-style data set of any items."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def table(**options) -> Task:
    return Task(train=TensorDataset(X, Y), **{"loss": mse_loss, "metric": MAE, **options})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_two_parts_are_halves_and_depend_on_the_seed_alone():
    one, two, other = table(), table(), table(seed=1)
    rows = torch.cat([one.rows("train"), one.rows("valid")])
    assert torch.equal(rows.sort().values, torch.arange(N))
    assert torch.equal(one.rows("train"), two.rows("train"))
    assert not torch.equal(one.rows("train"), other.rows("train"))
    assert [one.length(part) for part in ("train", "valid", "pool")] == [10, 10, 20]


def test_parts_of_ones_own_are_not_cut():
    task = table(valid=TensorDataset(-X[:5], Y[:5]))
    assert [task.length(part) for part in ("train", "valid", "pool")] == [20, 5, 25]
    assert torch.equal(next(task.once("valid", 9)).x, -X[:5])
    assert torch.equal(next(task.once("pool", 99)).x, torch.cat([X, -X[:5]]))
    assert "20 examples of the train part" in task.parts()["train"]


@pytest.mark.parametrize("tensors", [True, False])
def test_a_stream_is_the_permutation_written_out(tensors):
    data = TensorDataset(X, Y)
    task = Task(train=data if tensors else Items(list(data)), loss=mse_loss, seed=3)
    stream, generator = task.stream("train", 4, seeded(5)), seeded(5)
    for _ in range(3):
        order = task.rows("train")[torch.randperm(10, generator=generator)]
        for start in (0, 4):
            batch = stream.next()
            assert torch.equal(batch.x, X[order[start : start + 4]])
            assert torch.equal(batch.y, Y[order[start : start + 4]])
            assert batch.size == 4
            if not tensors:
                torch.randint(2**31, (4,), generator=generator)  # seeds of the items


def test_measure_is_a_loop_and_adds_up_over_processes():
    task, net = table(), nn.Linear(3, 1)
    rows = task.rows("valid")
    with torch.no_grad():
        errors = net(X[rows]) - Y[rows]
    whole = task.measure(net, task.once("valid", 4))
    assert task.value(whole) == pytest.approx(float(errors.abs().mean()), rel=1e-6)
    assert float(whole["loss"] / whole["size"]) == pytest.approx(float((errors**2).mean()))
    shares = [task.measure(net, task.once("valid", 3, rank=r, world=3)) for r in range(3)]
    together = added(added(shares[0], shares[1]), shares[2])
    assert float(together["size"]) == 10
    for key, value in whole.items():
        torch.testing.assert_close(together[key], value)


def test_without_a_metric_it_is_the_loss_of_which_less_is_better():
    task = table(metric=None)
    sums = task.measure(lambda x: x.sum(1, keepdim=True), task.once("valid", 7))
    assert task.value(sums) == pytest.approx(0.01, rel=1e-4)
    assert task.metric.score(0.01) == -0.01
    assert task.describe()["metric"] == {"name": "loss", "unit": "", "higher_is_better": False}


@pytest.mark.parametrize(
    "loss",
    [
        mse_loss,
        nn.SmoothL1Loss(),
        lambda output, y: (output - y) ** 2,
        lambda output, y: ((output - y) ** 2).mean(1),
    ],
)
def test_the_loss_of_each_example_has_the_loss_as_its_mean(loss):
    task = table(loss=loss)
    output = torch.randn(6, 1, generator=seeded())
    each = task.loss(output, Y[:6], each=True)
    assert each.shape == (6,)
    one = task.loss(output[2:3], Y[2:3])
    torch.testing.assert_close(each[2], one)
    torch.testing.assert_close(each.mean(), task.loss(output, Y[:6]))


def test_weights_are_trained_by_a_loss_of_their_own():
    task = table(train_loss=lambda output, y: 2 * mse_loss(output, y))
    output = torch.zeros(4, 1)
    assert task.loss(output, Y[:4], train=True) == 2 * task.loss(output, Y[:4])


@pytest.mark.parametrize("kind", [tuple, dict])
def test_several_inputs(kind):
    pairs = [(X[i, :1], X[i, 1:]) for i in range(N)]
    inputs = pairs if kind is tuple else [{"a": a, "b": b} for a, b in pairs]
    task = Task(train=Items([(x, float(i)) for i, x in enumerate(inputs)]), loss=mse_loss)
    batch = task.batch("pool", torch.tensor([3, 1]))
    a, b = batch.x if kind is tuple else (batch.x["a"], batch.x["b"])
    assert type(batch.x) is kind
    assert torch.equal(a, X[[3, 1], :1])
    assert torch.equal(b, X[[3, 1], 1:])
    assert torch.equal(batch.y, torch.tensor([3.0, 1.0]))  # float32, as weights are
    assert task.in_channels == 0


def test_sequences_are_padded_by_ones_own_collate():
    def collate(items):
        x, y = zip(*items, strict=True)
        return pad_sequence(list(x), batch_first=True), torch.stack(y)

    items = [(torch.arange(1, 2 + i % 4), torch.tensor(i % 2)) for i in range(N)]
    task = Task(train=Items(items), loss=nn.CrossEntropyLoss(), collate=collate, outputs=2)
    batch = task.batch("pool", torch.tensor([0, 2]))
    assert batch.x.tolist() == [[1, 0, 0], [1, 2, 3]]
    assert task.outputs() == 2


def test_units_are_a_subclass_own():
    class Tokens(Task):
        def units(self, y):
            return int((y != 0).sum())

    y = torch.tensor([[1, 2, 0], [3, 0, 0]])
    task = Tokens(train=TensorDataset(torch.zeros(2, 3), y), loss=mse_loss)
    assert task.batch("pool", torch.arange(2)).size == 3


def test_rows_to_judge_by_are_different_ones():
    rows = table().choose("valid", 4, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 4
    assert sorted(table().choose("valid", 0, np.random.default_rng(0))) == list(range(10))


def test_the_test_part_is_closed_and_openings_are_on_record():
    task = table(test=TensorDataset(X[:3] + 9, Y[:3]))
    with pytest.raises(ConfigError, match="part is 'test'; accepted: train, valid or pool"):
        task.once("test", 8)
    with task.sealed("the search"), pytest.raises(DataError, match="is closed during the search"):
        task.open_test("peeking")
    assert task.test_openings == ()
    (batch,) = task.once(task.open_test("evaluation of run 1"), 8)
    assert torch.equal(batch.x, X[:3] + 9)
    assert task.test_openings == ("evaluation of run 1",)
    with pytest.raises(DataError, match="has no test part"):
        table().open_test("evaluation")


def test_other_data_are_told():
    one = table().contents()
    assert table().changed(one) is None
    changed = Task(train=TensorDataset(X + 1, Y), loss=mse_loss)
    assert changed.changed(one) == "other inputs"
    assert table(seed=1).changed(one) == "other rows in the search parts"
    assert table(seed=1).changed(one, resized=True) is None
    assert Task(train=TensorDataset(X[:9], Y[:9]), loss=mse_loss).changed(one) == (
        "20 examples then, 9 now"
    )


def test_a_task_can_be_sent_to_another_process():
    task = pickle.loads(pickle.dumps(table()))
    stream, other = task.stream("train", 4, seeded()), table().stream("train", 4, seeded())
    assert torch.equal(stream.next().x, other.next().x)
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train": [(1, 2, 3)] * 4}, "an item of data 'data' has 3 values"),
        ({"train": iter(())}, "train is a .*iterator; accepted: a map-style data set"),
        ({"train": []}, "train has no examples"),
        ({"train": [(X[0], Y[0])]}, "train has 1 examples; accepted: two or more, or a valid"),
        ({"train": [("a", X[0])] * 4}, "values that are no tensors"),
        ({"loss": 3}, "loss is 3; accepted: a function"),
        ({"metric": "mae"}, r"metric is 'mae'; accepted: morphogen.Metric\(name, of=function"),
        ({"metric": Metric("mae")}, "metric is Metric.*; accepted: morphogen.Metric"),
        ({"outputs": 0}, "outputs is 0; accepted: 1 or more"),
        ({"seed": -1}, "seed is -1; accepted: 0 or more"),
    ],
)
def test_what_is_no_task_is_refused(options, says):
    with pytest.raises((DataError, ConfigError), match=says):
        next(table(**options).once("train", 2)) if "train" not in options else next(
            Task(**{"loss": mse_loss, **options}).once("train", 2)
        )


def test_a_loss_that_gives_no_tensor_is_refused():
    task = table(loss=lambda output, y: 1.0)
    with pytest.raises(ConfigError, match="gives a float; accepted: a function that gives a ten"):
        task.measure(lambda x: x, [Batch(X, Y, N)])


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (torch.zeros(4), r"your module gives \[4\] for inputs \[4, 3\], which the loss .* targe"),
        (torch.zeros(4, 2), r"gives \[4, 2\] .*do not take: Using a target size"),
        (torch.zeros(3, 1), "gives .*; accepted: an output that the loss takes with targets"),
        ({"a": torch.zeros(4, 1)}, r"gives {a: \[4, 1\]} for inputs"),
    ],
)
def test_an_output_that_the_loss_does_not_take_is_refused(output, says):
    task = table()
    batch = task.batch("train", torch.arange(4))
    assert task.check_output(torch.zeros(4, 1), batch, whose="your module") == ()
    with pytest.raises(SpaceError, match=says):
        task.check_output(output, batch, whose="your module")


def test_a_share_is_held_out_of_a_training_and_sizes_are_ones_own():
    task = table()
    assert task.cut(Cut(3000, 1600, at_most=("train_images", "valid_images"))) is task
    with pytest.raises(ConfigError, match="train_images is 5, and the data are a task"):
        task.cut(Cut(5))
    held = task.cut(Cut(held_out=0.1, seed=2))
    assert [held.length(part) for part in ("train", "valid", "pool")] == [18, 2, 20]
    both = torch.cat([held.rows("train"), held.rows("valid")]).sort().values
    assert torch.equal(both, torch.arange(N))
    assert task.length("train") == 10  # this one did not change
    whole = task.cut(Cut(held_out=0.0))
    assert [whole.length(part) for part in ("train", "valid", "pool")] == [20, 0, 20]
    own = table(valid=TensorDataset(X[:5], Y[:5]))
    assert own.cut(Cut(held_out=0.5)) is own


class Augmented(Items):
    """Items that draw from every global generator."""

    def __getitem__(self, index):
        noise = torch.rand(1) + np.random.random() + random.random()  # noqa: NPY002
        return X[index] + noise, Y[index]


def test_what_a_data_set_draws_is_the_streams_and_resumes_and_is_shared():
    task = Task(train=Augmented(range(N)), loss=mse_loss)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    joint = task.stream("train", 4, seeded())
    shares = [joint.shard(rank, 2) for rank in range(2)]
    first = joint.next()
    assert torch.equal(first.x, torch.cat([s.next().x for s in shares]))
    state = joint.state_dict()
    second = joint.next()
    again = task.stream("train", 4, seeded(9))
    again.load_state_dict(state)
    assert torch.equal(again.next().x, second.x)
    plain = task.batch("train", torch.arange(10)).x  # a row has its own draw
    assert torch.equal(torch.cat([b.x for b in task.once("train", 3)]), plain)
    assert len((plain - X[task.rows("train")])[:, 0].unique()) == 10
    assert task.changed(task.contents()) is None
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("name", ["", "mean error", "1st", "score", "epoch", "a" * 60])
def test_a_metric_has_a_name_that_records_can_have(name):
    with pytest.raises(ConfigError, match=r"name of a metric is .*; accepted"):
        Metric(name, of=mse_loss)


def test_the_metric_of_a_class_stays_and_loss_is_the_loss():
    class Named(Task):
        metric = Metric("f1", "%")

    assert Named(train=TensorDataset(X, Y), loss=mse_loss).metric.name == "f1"
    with pytest.raises(ConfigError, match="metric is named loss, and is another function"):
        table(metric=Metric("loss", of=lambda output, y: mse_loss(output, y)))


def test_what_an_input_is_says_which_sizes_differ():
    texts = [(torch.ones(n, dtype=torch.int64), 0.0) for n in (3, 5)]
    task = Task(
        train=texts,
        loss=mse_loss,
        collate=lambda items: (
            nn.utils.rnn.pad_sequence([x for x, _ in items], batch_first=True),
            torch.tensor([y for _, y in items]),
        ),
    )
    assert task.inputs() == {"kind": "tensors", "example": "int64 [*]"}
    assert table().inputs()["example"] == "float32 [3]"


def test_data_sets_that_draw_are_the_same_data_again():
    class Noisy:
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return torch.full((2,), float(i)) + torch.randn(2), torch.zeros(1)

    before = torch.random.get_rng_state()
    task = Task(train=Noisy(), loss=mse_loss)
    contents = task.contents()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert task.changed(contents) is None
