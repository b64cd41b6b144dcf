"""Streams resume bit for bit, shards add up to the joint batch, and epochs are permutations."""

import io

import pytest
import torch

from morphogen.core.errors import CheckpointError, ConfigError, DataError
from morphogen.tasks import Batch, Examples, Stream
from morphogen.tasks.streams import once

N = 50


class Numbers(Examples):
    """Every example is its row number, and what augmentation draws for it."""

    def __init__(self, count: int = N) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def batch(self, rows, *, mine=slice(None), generator=None):
        drawn = torch.zeros(len(rows))
        if generator is not None:
            drawn = torch.rand(len(rows), generator=generator)
        return Batch(drawn[mine], rows[mine], len(rows[mine]))


def stream(seed: int = 0, batch: int = 8, **options) -> Stream:
    return Stream(Numbers(), batch, torch.Generator().manual_seed(seed), **options)


def equal(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one[:2], two[:2], strict=True))


def together_of(parts) -> list[torch.Tensor]:
    """The joint batch of the processes' shares."""
    return [torch.cat([getattr(part, half) for part in parts]) for half in ("x", "y")]


def test_an_epoch_shows_no_example_twice_and_epochs_differ():
    s = stream()
    assert s.steps_per_epoch == 6
    epochs = [torch.cat([s.next()[1] for _ in range(6)]) for _ in range(3)]
    for epoch in epochs:
        assert len(epoch.unique()) == 48
    assert not torch.equal(epochs[0], epochs[1])
    assert s.seen == 144


def test_an_epoch_is_the_generators_permutation_between_the_draws_of_augmentation():
    s, g = stream(7), torch.Generator().manual_seed(7)
    for _ in range(2):
        order = torch.randperm(N, generator=g)
        for start in range(0, 48, 8):
            x, y, size = s.next()
            assert torch.equal(y, order[start : start + 8])
            assert torch.equal(x, torch.rand(8, generator=g))
            assert size == 8


def test_replacement_draws_uniformly():
    s = Stream(Numbers(10), 10, torch.Generator().manual_seed(0), replacement=True)
    counts = torch.bincount(torch.cat([s.next().y for _ in range(1000)]), minlength=10)
    assert (counts - 1000).abs().max() < 5 * 1000**0.5
    assert any(len(s.next().y.unique()) < 10 for _ in range(5))


@pytest.mark.parametrize("steps", [0, 1, 3, 6, 7, 20])
@pytest.mark.parametrize("replacement", [False, True])
def test_resume_continues_bit_for_bit(steps, replacement):
    whole = stream(replacement=replacement)
    for _ in range(steps):
        whole.next()
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = stream(seed=99, replacement=replacement)
    resumed.next()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.seen == whole.seen
    for _ in range(9):
        assert equal(resumed.next(), whole.next())


def test_state_is_only_tensors_and_integers_and_a_snapshot():
    s = stream()
    s.next()
    state = s.state_dict()
    assert {type(v) for v in state.values()} == {torch.Tensor, int}
    order = state["order"].clone()
    for _ in range(8):
        s.next()
    assert torch.equal(state["order"], order)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("replacement", [False, True])
def test_shards_together_are_the_joint_batch(world, replacement):
    joint = stream(replacement=replacement)
    shards = [stream(replacement=replacement, rank=r, world=world) for r in range(world)]
    for _ in range(8):
        parts = [s.next() for s in shards]
        assert parts[0][0].shape[0] == 8 // world
        together = together_of(parts)
        assert equal(joint.next(), together)
    assert {s.seen for s in shards} == {joint.seen}


def test_shard_starts_where_the_stream_stands_and_leaves_it_there():
    one, other = stream(), stream()
    for s in (one, other):
        s.next()
    shards = [one.shard(r, 2) for r in range(2)]
    together = together_of([s.next() for s in shards])
    expected = other.next()
    assert equal(expected, together)
    assert equal(expected, one.next())


def test_a_state_fits_any_number_of_processes():
    joint = stream()
    joint.next()
    state = joint.state_dict()
    shards = [stream(3, rank=r, world=2) for r in range(2)]
    for s in shards:
        s.load_state_dict(state)
    together = together_of([s.next() for s in shards])
    assert equal(joint.next(), together)


def test_batch_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match=r"^batch_size is 51, but the train part has 50 examples"):
        stream(batch=51)
    assert stream(batch=50).next()[0].shape[0] == 50


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch_size is 0"),
        ({"world": 3}, "batch_size is 8, which 3 processes cannot share"),
        ({"rank": 2, "world": 2}, "rank is 2 of 2"),
    ],
)
def test_impossible_sizes_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        stream(**options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"examples": 49}, "has examples 49, this run has 50"),
        ({"batch_size": 4}, "has batch_size 4, this run has 8"),
        ({"order": torch.full((N,), N)}, "is corrupt"),
        ({"order": torch.zeros(3)}, "is corrupt"),
        ({"position": 51}, "is corrupt"),
        ({"position": "1"}, "is corrupt"),
        ({"generator": torch.zeros(3)}, "no valid generator state"),
        ({"generator": None}, "no valid generator state"),
    ],
)
def test_a_foreign_or_corrupt_state_is_refused_and_changes_nothing(change, says):
    s, same = stream(), stream()
    s.next(), same.next()
    with pytest.raises(CheckpointError, match=says):
        s.load_state_dict({**s.state_dict(), **change})
    assert equal(s.next(), same.next())


def test_an_incomplete_state_is_refused():
    with pytest.raises(CheckpointError, match="lacks batch_size, batches"):
        stream().load_state_dict({"generator": 0, "order": 0, "position": 0, "examples": 0})


def test_once_is_every_example_in_order_without_augmentation():
    batches = list(once(Numbers(), 8))
    assert [b.size for b in batches] == [8] * 6 + [2]
    assert torch.equal(torch.cat([b.y for b in batches]), torch.arange(N))
    assert not torch.cat([b.x for b in batches]).any()
    assert len(list(once(Numbers(), 1000))) == 1
    assert torch.equal(torch.cat([b.y for b in once(Numbers(), 8, limit=11)]), torch.arange(11))


@pytest.mark.parametrize("count", [N, 2])
def test_shards_of_one_pass_are_disjoint_and_complete(count):
    seen = [b.y for r in range(3) for b in once(Numbers(count), 8, rank=r, world=3)]
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(count))


def test_one_pass_refuses_before_the_first_batch():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        once(Numbers(), 0)
