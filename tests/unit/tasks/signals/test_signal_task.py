"""Signals: how files are read, what is refused, normalisation, augmentation, the task."""

import numpy as np
import pytest
import torch

from morphogen.core import ConfigError, DataError
from morphogen.tasks.signals import SignalAugment, SignalTask
from morphogen.tasks.signals.readers import find


def wave(n=40, channels=3, time=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(5, 2, (n, channels, time)), np.arange(n) % 4


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def read(tmp_path, x, name="x", **more):
    return find(saved(tmp_path / "a.npz", **{name: x, "y": np.arange(len(x)) % 2, **more}))


# -- what is a signal ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "signals"),
    [
        ("x", np.zeros((4, 3, 20)), True),
        ("x", np.zeros((4, 20), np.float32), True),
        ("x", np.zeros((4, 20), np.int16), True),
        ("x", np.full((4, 8, 8), -1.0), True),  # no values of pixels
        ("x", np.full((4, 8, 8), 0.5), False),  # grey pictures, as ever
        ("x", np.full((4, 8, 8), 255.0), False),
        ("signals", np.full((4, 8, 8), 0.5), True),
        ("series", np.zeros((4, 20, 3)), True),
        ("x", np.zeros((4, 3, 20), np.uint8), False),
        ("x", np.zeros((4, 20), np.uint8), False),
        ("x", np.zeros((4, 3, 8, 8)), False),
        ("images", np.full((4, 3, 20), -1.0), False),
    ],
)
def test_the_rule_that_tells_signals_from_images(tmp_path, name, x, signals):
    assert (read(tmp_path, x, name) is not None) == signals


def test_axes_that_are_not_clear_are_refused_unless_the_name_says_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 20, 3))
    with pytest.raises(DataError, match=r"more channels than points of time.*`signals`"):
        read(tmp_path, x)
    assert read(tmp_path, x, "signals").read("train").channels == 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_row(tmp_path, value):
    x, _ = wave()
    x[7, 1, 3] = x[9, 0, 0] = value
    with pytest.raises(DataError, match=r"(NaN|infinite).* in row 7, and 2 such rows"):
        read(tmp_path, x).read("train")


def test_one_channel_any_type_and_range(tmp_path):
    x = np.random.default_rng(0).integers(-30000, 30000, (6, 50)).astype(np.int16)
    found = read(tmp_path, x).read("train").values
    assert found.dtype == torch.float32
    assert torch.equal(found[:, 0], torch.tensor(x).float())
    large = 1e300 * np.random.default_rng(0).normal(size=(6, 2, 9))
    assert read(tmp_path, large).read("train").values.dtype == torch.float64


def test_parquet_of_lists(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = wave(12)
    split = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    table = {"signal": x.tolist(), "label": [f"c{v}" for v in y], "group": np.arange(12) // 2}
    pq.write_table(pa.table({**table, "split": split}), tmp_path / "a.parquet")
    source = find(tmp_path / "a.parquet")
    assert source.parts == ("train", "valid", "test")
    train = source.read("train")
    assert torch.equal(train.values, torch.tensor(x[:8]))
    assert train.classes == ("c0", "c1", "c2", "c3")
    assert train.groups.tolist() == ["0", "0", "1", "1", "2", "2", "3", "3"]
    ragged = {"signal": [[1.0, 2.0], [1.0]], "label": [0, 1]}
    pq.write_table(pa.table(ragged), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"\[1\] in row 1, and \[2\] in row 0"):
        find(tmp_path / "b.parquet").read("train")


# -- the task --------------------------------------------------------------------------------------


def test_batches_are_normalised_by_the_train_part(tmp_path):
    x, y = wave(200)
    x[:, 1] *= 1e6
    x[:, 2] = 3.0  # a channel of one value
    task = SignalTask.of(saved(tmp_path / "a.npz", x=x, y=y))
    train = x[task.train_rows.numpy()]
    mean, std = train.mean((0, 2)), train.std((0, 2))
    std[2] = 1
    got, labels, size = task.batch("valid", torch.arange(5))
    rows = task.valid_rows[:5].numpy()
    assert np.allclose(got.numpy(), (x[rows] - mean[:, None]) / std[:, None], atol=1e-5)
    assert (labels.tolist(), size) == (y[rows].tolist(), 5)
    assert got.dtype == torch.float32


def test_an_offset_that_float32_would_swallow_is_taken_away_before(tmp_path):
    x, y = wave(40)
    x += 1e9
    task = SignalTask.of(saved(tmp_path / "a.npz", x=x, y=y))
    assert task.batch("train", torch.arange(10)).x.std() == pytest.approx(1, abs=0.2)


def test_jitter_and_scaling_have_the_deviations_that_are_asked_for():
    x = torch.ones(400, 3, 50)
    noisy = SignalAugment(jitter=0.2).apply(x, slice(None), 400, torch.Generator().manual_seed(0))
    assert float((noisy - x).std()) == pytest.approx(0.2, rel=0.02)
    gains = SignalAugment(scaling=0.3).apply(x, slice(None), 400, torch.Generator().manual_seed(0))
    assert torch.equal(gains, gains[..., :1].expand_as(gains))  # one for each channel
    assert float(gains[..., 0].std()) == pytest.approx(0.3, rel=0.1)
    with pytest.raises(ConfigError, match="jitter is -1"):
        SignalAugment(jitter=-1)


def test_processes_see_the_joint_batch_and_a_stream_resumes(tmp_path):
    x, y = wave(40)
    task = SignalTask.of(saved(tmp_path / "a.npz", x=x, y=y),
                         augment=SignalAugment(jitter=0.1, scaling=0.1))  # fmt: skip

    def stream(rank=0, world=1):
        return task.stream("train", 8, torch.Generator().manual_seed(1), rank=rank, world=world)

    whole, halves = stream(), [stream(0, 2), stream(1, 2)]
    whole.next(), [h.next() for h in halves]
    state = whole.state_dict()
    wanted = whole.next()
    assert torch.equal(torch.cat([h.next().x for h in halves]), wanted.x)
    again = stream()
    again.load_state_dict(state)
    assert torch.equal(again.next().x, wanted.x)


def test_other_channels_than_a_network_has_are_refused(tmp_path):
    x, y = wave(40)
    with pytest.raises(DataError, match="have 3 channels; accepted: 2"):
        SignalTask.of(saved(tmp_path / "a.npz", x=x, y=y), channels=2)


def test_groups_never_straddle_and_the_test_part_is_checked(tmp_path):
    x, y = wave(80)
    groups = np.arange(80) // 8
    path = saved(tmp_path / "a.npz", x_train=x, y_train=y, groups_train=groups,
                 x_test=x[:8], y_test=y[:8], groups_test=[100] * 8)  # fmt: skip
    task = SignalTask.of(path, held_out=0.25)
    assert not set(task.train.groups) & set(task.valid.groups)
    assert len(task.valid) in (16, 24)
    task.check_test(open=True)
    assert len(task.open_test("to see")) == 8
    short = saved(tmp_path / "b.npz", x_train=x, y_train=y, x_test=x[:8, :, :-1], y_test=y[:8])
    with pytest.raises(DataError, match=r"signals \[3, 19\], the training data \[3, 20\]"):
        SignalTask.of(short).check_test(open=True)
