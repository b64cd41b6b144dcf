"""Streams resume bit for bit, shards add up to the joint batch, and epochs are permutations."""

import io

import pytest
import torch

from morphogen.core.errors import CheckpointError, ConfigError, DataError
from morphogen.tasks import Augment, Images, Stream
from morphogen.tasks.names import numbered
from morphogen.tasks.streams import sequential

N = 50
STATS = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}


def images(n: int = N) -> Images:
    """Every image has its own number in its labels, so that draws can be followed."""
    pixels = torch.randint(0, 256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    return Images(pixels.to(torch.uint8), torch.arange(n), numbered(n))


def stream(seed: int = 0, batch: int = 8, **options) -> Stream:
    options = {"augment": Augment(cutout=4), **STATS, **options}
    return Stream(images(), batch, torch.Generator().manual_seed(seed), **options)


def equal(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_an_epoch_shows_no_image_twice_and_epochs_differ():
    s = stream()
    assert s.steps_per_epoch == 6
    epochs = [torch.cat([s.next()[1] for _ in range(6)]) for _ in range(3)]
    for epoch in epochs:
        assert len(epoch.unique()) == 48
    assert not torch.equal(epochs[0], epochs[1])
    assert s.images_seen == 144


def test_the_first_epoch_is_the_generators_permutation():
    order = torch.randperm(N, generator=torch.Generator().manual_seed(7))
    assert torch.equal(stream(7).next()[1], order[:8])


def test_replacement_draws_uniformly():
    s = Stream(images(10), 10, torch.Generator().manual_seed(0), replacement=True, **STATS)
    counts = torch.bincount(torch.cat([s.next()[1] for _ in range(1000)]), minlength=10)
    assert (counts - 1000).abs().max() < 5 * 1000**0.5
    assert any(len(s.next()[1].unique()) < 10 for _ in range(5))


def test_without_augmentation_pixels_are_the_normalised_images():
    s = stream(augment=Augment(padding=0, flip=False))
    x, y = s.next()
    data = images().pixels[y].double() / 255
    mean, std = (torch.tensor(STATS[k]).double().view(1, 3, 1, 1) for k in ("mean", "std"))
    torch.testing.assert_close(x.double(), (data - mean) / std, atol=2e-6, rtol=0)
    assert x.is_contiguous(memory_format=torch.channels_last)


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
    assert resumed.images_seen == whole.images_seen
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
        together = [torch.cat(p) for p in zip(*parts, strict=True)]
        assert equal(joint.next(), together)
    assert {s.images_seen for s in shards} == {joint.images_seen}


def test_shard_starts_where_the_stream_stands_and_leaves_it_there():
    one, other = stream(), stream()
    for s in (one, other):
        s.next()
    shards = [one.shard(r, 2) for r in range(2)]
    together = [torch.cat(p) for p in zip(*(s.next() for s in shards), strict=True)]
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
    together = [torch.cat(p) for p in zip(*(s.next() for s in shards), strict=True)]
    assert equal(joint.next(), together)


def test_batch_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match=r"^batch_size is 51, but the train part has 50 images"):
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
        ({"images": 49}, "has images 49, this run has 50"),
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
        stream().load_state_dict({"generator": 0, "order": 0, "position": 0, "images": 0})


def test_sequential_is_every_image_once_in_order():
    batches = list(sequential(images(), 8, **STATS))
    assert [len(y) for _, y in batches] == [8] * 6 + [2]
    assert torch.equal(torch.cat([y for _, y in batches]), torch.arange(N))
    assert batches[0][0].is_contiguous(memory_format=torch.channels_last)
    assert len(list(sequential(images(), 1000, **STATS))) == 1


def test_sequential_shards_are_disjoint_and_complete():
    seen = [
        torch.cat([y for _, y in sequential(images(), 8, **STATS, rank=r, world=3)])
        for r in range(3)
    ]
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(N))


def test_sequential_refuses_before_the_first_batch():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        sequential(images(), 0, **STATS)
