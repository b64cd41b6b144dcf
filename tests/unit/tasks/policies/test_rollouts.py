"""What is gathered: the network's own play, the same again, and from a checkpoint on."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from morphogen import spaces
from morphogen.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from morphogen.supernets import NetworkSpec
from morphogen.tasks import Batch, Stream
from morphogen.tasks.cut import Cut
from morphogen.tasks.policies import PolicyConfig, PolicyTask
from morphogen.tasks.policies.environments import find, kept
from morphogen.tasks.policies.environments.base import part_of
from morphogen.tasks.policies.environments.minatar import GAMES
from morphogen.tasks.policies.environments.missing import needed
from morphogen.tasks.policies.heads import log_probs, split
from morphogen.tasks.problem import Problem

BREAKOUT, STARPILOT, CARTPOLE = (
    "env:minatar/breakout",
    "env:procgen/starpilot",
    "env:gymnasium/CartPole-v1",
)


def task_of(data: str, **asked: object) -> PolicyTask:
    return PolicyConfig(envs=3, horizon=32, passes=2, episodes=4, **asked).make(data, Cut())


def network(task: PolicyTask) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(int(np.prod(task.source.shape)), 8), nn.Tanh(),
        nn.Linear(8, task.outputs()),
    )  # fmt: skip


def stream_of(task: PolicyTask, seed: int = 0) -> Stream:
    return task.stream("train", 24, torch.Generator().manual_seed(seed))


def same(one: Batch, two: Batch) -> bool:
    return torch.equal(one.x, two.x) and all(torch.equal(one.y[k], two.y[k]) for k in one.y)


def through_a_file(state: dict) -> dict:
    held = io.BytesIO()
    torch.save(state, held)
    held.seek(0)
    return torch.load(held, weights_only=True)


@pytest.mark.parametrize("data", [BREAKOUT, STARPILOT, CARTPOLE])
def test_before_the_first_update_the_ratio_is_one(data: str) -> None:
    task = task_of(data)
    net, stream = network(task), stream_of(task)
    stream.refresh(net)
    for _ in range(stream.steps_per_epoch):
        x, y, _ = stream.next()
        logits, values = split(net(x))
        ratio = (log_probs(logits, y["actions"]) - y["log_probs"]).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)
        torch.testing.assert_close(values, y["values"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("game", ["minatar/" + game for game in GAMES] + ["procgen/starpilot"])
def test_from_a_checkpoint_it_goes_on_to_the_same_bits(game: str) -> None:
    task = task_of("env:" + game)
    net, stream = network(task), stream_of(task)
    for epoch in range(2):
        stream.refresh(net)
        for _ in range(stream.steps_per_epoch):
            stream.next()
        with torch.no_grad():
            net[1].weight += 0.1 * epoch
    state = through_a_file(stream.state_dict())
    assert state["gathering"]["frames"] is None, "what was used need not be kept"
    again = stream_of(task, seed=7)
    again.load_state_dict(state)
    for one in (stream, again):
        one.refresh(net)
    assert all(same(stream.next(), again.next()) for _ in range(5))
    assert stream.told == again.told
    assert stream.seen == again.seen == 3 * 96


def test_from_the_middle_of_a_pass_it_goes_on_too() -> None:
    task = task_of(BREAKOUT)
    stream, again = stream_of(task), stream_of(task, seed=7)
    stream.refresh(network(task))
    stream.next()
    again.load_state_dict(through_a_file(stream.state_dict()))
    assert all(same(stream.next(), again.next()) for _ in range(7))


def test_without_a_refresh_the_frames_stay_and_with_one_play_goes_on() -> None:
    task = task_of(BREAKOUT)
    net, stream = network(task), stream_of(task)
    stream.refresh(net)
    first = {tuple(x.flatten().tolist()) for x in stream.next().x}
    assert stream.seen == 96
    for _ in range(stream.steps_per_epoch - 1):
        stream.next()
    assert stream.seen == 96
    stream.refresh(net)
    assert not stream.told
    assert first != {tuple(x.flatten().tolist()) for x in stream.next().x}
    assert stream.seen == 192
    assert stream.told["episodes"] > 0


def test_environments_that_cannot_be_stored_are_renewed_before_the_log_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "LONGEST_LOG", 100)
    task = task_of(CARTPOLE)
    net, stream = network(task), stream_of(task)
    logged = []
    for _ in range(4):
        stream.refresh(net)
        stream.next()
        logged.append(len(stream.state_dict()["gathering"]["environments"]["actions"]))
    assert logged == [32, 64, 32, 64]


def test_other_environments_than_those_of_the_checkpoint_are_refused() -> None:
    task = task_of(CARTPOLE)
    stream, again = stream_of(task), stream_of(task)
    stream.refresh(network(task))
    stream.next()
    state = stream.state_dict()
    state["gathering"]["environments"]["actions"][5:] ^= 1
    with pytest.raises(CheckpointError, match="show something else"):
        again.load_state_dict(state)


def test_levels_of_the_parts_are_apart() -> None:
    task = task_of(STARPILOT, train_levels=5, first_level=3)
    levels = {}
    for part in ("train", "valid", "test"):
        seeds = task.seeds(part)
        assert {part_of(seed) for seed in seeds.tolist()} == {part}
        made = task.source.make(seeds.tolist())
        made.reset()
        levels[part] = set(made._made.reset()[1]["level_seed"].tolist())
    assert levels["train"] <= {3, 4, 5, 6, 7}
    assert not levels["valid"] & levels["test"]
    assert all(min(levels[one]) >= 2**29 for one in ("valid", "test"))


def test_an_episode_is_the_same_whatever_is_played_beside_it() -> None:
    for data in (BREAKOUT, STARPILOT):
        task = task_of(data)
        net = network(task)
        whole = task.measure(net, task.once("valid", 4))
        parts = [task.measure(net, task.once("valid", n)) for n in (1, 3)]
        assert all(part["frames"] == whole["frames"] for part in parts)
        assert all(part["squares"] == whole["squares"] for part in parts)


def test_an_episode_that_is_cut_is_worth_what_comes_after() -> None:
    """CartPole pushed from side to side stands for long: its limit of time is no failure."""
    source = find(CARTPOLE, sticky=0, train_levels=1, first_level=0)
    made = source.make([0])
    made._made[0]._max_episode_steps = 5
    made.reset()
    steps = [made.step(np.array([t % 2])) for t in range(6)]
    assert [bool(s.cut[0]) for s in steps] == [False] * 4 + [True, False]
    assert [bool(s.ended[0]) for s in steps] == [False] * 4 + [True, False]
    assert steps[4].final.shape == (1, 4)
    assert not np.array_equal(steps[4].final[0], steps[4].observations[0])
    assert all(len(s.final) == 0 for s in steps if not s.cut[0])


def test_procgen_begins_a_level_at_once_when_one_has_ended() -> None:
    source = find(STARPILOT, sticky=0, train_levels=200, first_level=0)
    made = source.make([5, 6])
    seen, ends = made.reset(), 0
    for _ in range(250):
        before, step = seen, made.step(np.zeros(2, dtype=np.int64))
        seen = step.observations
        moved = [float((a != b).mean()) for a, b in zip(before, seen, strict=True)]
        assert min(moved) > 0, "a step that plays nothing"
        ends += int(step.ended.sum())
    assert ends >= 2


def test_pictures_are_averaged_to_fewer_pixels() -> None:
    wide = find(STARPILOT, sticky=0, train_levels=1, first_level=0)
    small = find(STARPILOT, sticky=0, train_levels=1, first_level=0, side=32)
    assert small.shape == (3, 32, 32)
    assert small.prepared[0] == "pictures are averaged to 32 x 32 pixels"
    pictures = wide.make([5]).reset()
    means = torch.nn.functional.avg_pool2d(torch.from_numpy(pictures).double(), 2).numpy()
    seen = small.make([5]).reset()
    assert seen.dtype == np.uint8
    assert np.array_equal(seen, np.floor(means + 0.5))
    with pytest.raises(ConfigError, match="side is 48; accepted"):
        find(STARPILOT, sticky=0, train_levels=1, first_level=0, side=48)


def test_returns_have_an_interval_over_episodes() -> None:
    from scipy import stats

    task = task_of(BREAKOUT)
    values = torch.tensor([1.0, 4.0, 2.0, 0.0], dtype=torch.float64)
    sums = {"return": values.sum(), "squares": values.square().sum(), "size": torch.tensor(4.0)}
    expected = stats.ttest_1samp(values.numpy(), 0).confidence_interval()
    assert task.interval(sums) == pytest.approx(tuple(expected))


def test_what_is_no_environment_is_said() -> None:
    for name, kind, said in (
        ("env:minatar/brakout", UnknownNameError, "breakout"),
        ("env:atari/pong", DataError, "env:procgen/GAME"),
        ("env:gymnasium/Nothing-v0", DataError, "CartPole-v1"),
        ("env:gymnasium/MountainCarContinuous-v0", DataError, "discrete"),
    ):
        with pytest.raises(kind, match=said):
            task_of(name)
    assert all(a < b for a, b in pairwise(task_of(BREAKOUT).seeds("test").sort().values.tolist()))


def test_where_levels_are_trained_on_the_return_on_them_is_told_too() -> None:
    for data, known in ((STARPILOT, True), (BREAKOUT, False)):
        task = task_of(data)
        net = network(task)
        test = task.open_test("to check")
        figures = task.finished(net, test)
        values = [task.value(task.measure(net, task.once("train", 4)))]
        assert [figure.value for figure in figures] == (values if known else [])


def test_what_is_gathered_has_no_rows_to_be_drawn_by() -> None:
    task = task_of(BREAKOUT)
    spec = NetworkSpec(channels=2, depth=1, classes=7, in_channels=4)
    problem = Problem(spaces.make("rl-darts-minatar"), task, spec, batch_size=24)
    assert problem.steps("train") == 2 * 4
    with pytest.raises(ConfigError, match="fixed split"):
        problem.drawn(torch.arange(4), "split/train", 0, 0)


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    with pytest.raises(DataError, match=r"no_such_games.*pip install 'morphogen\[rl\]'"):
        needed("no_such_games")
