"""Checkpoints: what is captured comes back to the bit; files are whole or refused."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from morphogen.core import Architecture, CheckpointError, NumericalError, RunError
from morphogen.runs import checkpoint


@dataclass
class State:
    net: nn.Module
    alphas: list[Tensor]
    optimiser: torch.optim.Optimizer
    single: Tensor
    count: int
    names: list[str]
    nested: dict[str, Any]


def made(seed: int, steps: int) -> State:
    """A state after some steps."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    alphas = [torch.randn(2, 3, requires_grad=True)]
    optimiser = torch.optim.Adam([*net.parameters(), *alphas], lr=0.1)
    state = State(net, alphas, optimiser, torch.randn(2), seed, ["a"], {"x": torch.ones(1), "y": 2})
    for _ in range(steps):
        step(state)
    return state


def step(state: State) -> None:
    x = torch.linspace(-1, 1, 12).view(4, 3)
    loss = (state.net(x) ** 3).mean() + (state.alphas[0] ** 2).sum()
    state.optimiser.zero_grad()
    loss.backward()
    state.optimiser.step()


@pytest.fixture(autouse=True)
def _generator():
    with torch.random.fork_rng(devices=[]):
        yield


def test_a_restored_state_goes_on_as_the_captured_one_did(tmp_path):
    first = made(0, 3)
    checkpoint.write(tmp_path / "c.pt", checkpoint.capture(first))
    second = made(1, 0)
    kept = (second.alphas[0], second.net[0].weight)
    checkpoint.restore(second, checkpoint.read(tmp_path / "c.pt"))
    assert (second.alphas[0], second.net[0].weight) == kept  # in place: optimisers still hold them
    for state in (first, second):
        step(state)
        step(state)
    assert tiny.same(checkpoint.capture(first), checkpoint.capture(second))
    assert (second.count, second.names, second.nested["y"]) == (0, ["a"], 2)


def test_a_file_keeps_dtypes_and_shares_nothing_with_the_state(tmp_path):
    content = {
        "half": torch.randn(3).bfloat16(),
        "whole": torch.arange(3),
        "truth": torch.tensor([True]),
        "bytes": torch.get_rng_state(),
        "plain": [1, 2.5, "x", None, True, {"y": (1, 2)}],
    }
    checkpoint.write(tmp_path / "c.pt", content)
    expected = copy.deepcopy(content)
    content["whole"].zero_()
    assert tiny.same(checkpoint.read(tmp_path / "c.pt"), expected)


def test_the_checkpoint_before_stays_beside_the_last(tmp_path):
    path = tmp_path / "c.pt"
    for epoch in range(3):
        checkpoint.write(path, {"epoch": epoch})
    assert checkpoint.read(path) == {"epoch": 2}
    assert checkpoint.read(checkpoint.previous(path)) == {"epoch": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.previous", "c.pt"]


def test_the_checksum_is_written_before_the_old_file_is_touched(tmp_path, monkeypatch):
    """At every system call that changes a name, some whole checkpoint is there to be read."""
    path = tmp_path / "c.pt"
    checkpoint.write(path, {"epoch": 0})
    checkpoint.write(path, {"epoch": 1})
    seen = []

    def readable() -> list[int]:
        found = []
        for file in (path, checkpoint.previous(path)):
            try:
                found.append(checkpoint.read(file)["epoch"])
            except CheckpointError:
                continue
        return found

    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)

        def noted(*args, real=real, **kwargs):
            seen.append(readable())
            result = real(*args, **kwargs)
            seen.append(readable())
            return result

        monkeypatch.setattr(os, name, noted)
    checkpoint.write(path, {"epoch": 2})
    assert len(seen) >= 6
    assert all(seen)
    assert readable() == [2, 1]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda c: c.pop("count"), "the checkpoint holds "),
        (lambda c: c.update(more=1), "the checkpoint holds "),
        (lambda c: c["net"].pop("0.weight"), "net does not fit"),
        (lambda c: c.update(net=[]), "net does not fit"),
        (lambda c: c.update(alphas=[torch.ones(3, 3)]), "alphas does not fit"),
        (lambda c: c.update(alphas=[]), "alphas does not fit"),
        (lambda c: c.update(single="text"), "single does not fit"),
        (lambda c: c.update(optimiser={}), "optimiser does not fit"),
    ],
)
def test_content_of_another_shape_is_refused(change, part):
    content = checkpoint.capture(made(0, 1))
    change(content)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.restore(made(0, 0), content)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_none_is_found_wherever_it_is(value):
    state = made(0, 1)
    checkpoint.require_finite(checkpoint.capture(state), 4)
    state.optimiser.state[state.alphas[0]]["exp_avg"][1, 2] = value
    with pytest.raises(NumericalError, match=r"^optimiser\.state\.4\.exp_avg is not finite .* 4;"):
        checkpoint.require_finite(checkpoint.capture(state), 4)


def test_a_directory_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*No such file or directory; what was"):
        checkpoint.write(tmp_path / "gone" / "c.pt", {})
    with pytest.raises(CheckpointError, match=r"c\.pt: no such file"):
        checkpoint.read(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"cannot read .*: a folder, not a file"):
        checkpoint.read(tmp_path)


def test_an_architecture_in_a_state_is_refused_when_it_is_captured():
    @dataclass
    class Held:
        found: list[Any]

    with pytest.raises(CheckpointError, match="accepted: its text"):
        checkpoint.capture(Held([Architecture({"edge": "skip"})]))
