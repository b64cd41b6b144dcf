"""Single-stage search: no gap at the freeze, weights that go on, removal at no loss."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scenes
from morphogen import Settings, space_of, spaces
from morphogen.core.config import altered
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.timetable import timetable
from morphogen.methods import find
from morphogen.methods.single_stage import (
    FINISH,
    SEARCH,
    SingleStage,
    SingleStageConfig,
    SingleStageState,
    of_all_phases,
)
from morphogen.runs.directory import RunDirectory
from morphogen.runs.weights import read_weights
from morphogen.spaces import SearchSpace, Weighing
from morphogen.supernets import Gates, NetworkSpec, build, frozen_statistics
from morphogen.tasks.problem import Problem
from morphogen.tasks.segmentation import Scenes, SegmentationTask
from morphogen.testing import toys
from morphogen.testing.runs import Interrupt, require_same_run

SPACE = spaces.make("short-connections")
SPEC = NetworkSpec(channels=4, depth=4, classes=3)
X = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))


def problem(seed: int = 0) -> Problem:
    held = Scenes.of(*scenes.scenes(24, 16, 24))
    task = SegmentationTask.of(held, train_images=12, valid_images=12, seed=seed)
    return Problem(SPACE, task, SPEC, batch_size=4, seed=seed)


def stepped(
    config: SingleStageConfig, epochs: int, places: int, steps: int = 3
) -> tuple[SingleStage, SingleStageState, Problem]:
    """The method and its state after the first `places` epochs of so many."""
    method, held = SingleStage(config), problem()
    state = method.init(held)
    for clock in timetable(method, held, epochs, steps)[:places]:
        for step in range(steps):
            method.step(state, held, replace(clock, step=step))
    return method, state, held


KEEPING = SingleStageConfig(smallest=0.0)


def test_phases_share_the_epochs_and_one_schedule() -> None:
    """20 epochs: 2 of weights alone, frozen after 10; the rate falls as if there were one phase."""
    method, state, held = SingleStage(KEEPING), None, problem()
    plan = timetable(method, held, 20, 0)
    assert [(p.name, p.epochs, p.steps) for p in plan.phases] == [
        ("weights", 2, 3),
        (SEARCH, 8, 3),
        (FINISH, 10, 6),  # passes over all data
    ]
    state = method.init(held)
    rates = []
    for number, clock in enumerate(plan):
        state.epoch = number
        whole = of_all_phases(state, clock)
        assert (whole.epoch, whole.epochs) == (number, 20)
        rates.append(KEEPING.weights.at(whole))
    cosine = 0.001 + 0.024 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    assert rates == pytest.approx(cosine.tolist())
    for epochs in (1, 2, 3):
        names = [p.name for p in timetable(method, held, epochs, 0).phases]
        assert names == [SEARCH, FINISH]


def test_the_frozen_network_is_the_supernet_bit_for_bit() -> None:
    method, state, _ = stepped(KEEPING, 4, 2)
    for training in (True, False):
        state.net.train(training)
        with torch.no_grad(), frozen_statistics(state.net):
            before = state.net(X, method.gates(state, SPACE))
            frozen = copy.deepcopy(state)
            assert method.freeze(frozen, SPACE) == 0
            after = frozen.net(X, method.gates(frozen, SPACE))
            assert torch.equal(before, after)
            delivered = method.network(frozen, SPACE)
            assert delivered is not None
            assert torch.equal(delivered(X), after)


@pytest.mark.slow
def test_what_is_frozen_stays_and_weights_go_on() -> None:
    method, state, held = stepped(KEEPING, 4, 2)
    assert state.alpha_optimiser.state
    momenta = [b.clone() for b in state.momentum_buffers if b is not None]
    first = timetable(method, held, 4, 100)[2]
    assert first.phase == FINISH
    copied = copy.deepcopy(state)
    method.freeze(copied, SPACE)
    kept = [b for b in copied.momentum_buffers if b is not None]
    assert all(torch.equal(a, b) for a, b in zip(momenta, kept, strict=True))
    alphas = [a.detach().clone() for a in state.alphas]
    shares = None
    for step in range(100):
        method.step(state, held, replace(first, step=step))
        shares = shares or [c.clone() for c in state.shares]
    assert shares is not None
    assert all(torch.equal(a, b) for a, b in zip(shares, state.shares, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alphas, state.alphas, strict=True))
    assert all(a.grad is None for a in state.alphas)
    assert not state.alpha_optimiser.state


def test_all_data_train_weights_in_the_end_and_parts_before() -> None:
    _, _, held = stepped(KEEPING, 4, 2)
    assert held.seen == {"train": 0, "valid": 0, "pool": 4 * (3 + 3 + 3 + 3)}
    _, _, fixed = stepped(altered(KEEPING, {"data_split": "fixed"}), 4, 3)
    assert fixed.seen == {"train": 24, "valid": 24, "pool": 12}


def test_the_penalty_is_the_normalised_entropy() -> None:
    """dH/dtheta_i = -c_i (ln c_i + H), and H / ln O is 1 at uniform, 0 at one-hot."""
    method = SingleStage(KEEPING)
    space = SearchSpace("two", [spaces.make("short-connections").choice("l1s4")])
    theta = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    value = method.mean_entropy([theta], space)
    (gradient,) = torch.autograd.grad(value, theta)
    c = theta.detach().softmax(1)
    h = -(c * c.log()).sum()
    assert value.item() == pytest.approx(float(h / np.log(5)))
    assert torch.allclose(gradient, -c * (c.log() + h) / np.log(5), rtol=1e-9)
    assert method.mean_entropy([torch.zeros(1, 5)], space).item() == pytest.approx(1)
    decided = torch.tensor([[0.0, 200.0, 0.0, 0.0, 0.0]])
    assert method.mean_entropy([decided], space).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_a_larger_penalty_leaves_less_entropy() -> None:
    """Study B; alpha's rate is such that coefficients move within a few epochs."""
    left = []
    for strength in (0.0, 1.0, 10.0):
        config = altered(KEEPING, {"penalty": strength, "alpha.lr": 0.1, "alpha.weight_decay": 0.0})
        method, state, _ = stepped(config, 12, 6)
        with torch.no_grad():
            left.append(float(method.mean_entropy(state.alphas, SPACE)))
    assert left[0] > left[1] > left[2]


def uniform(**of_choice: list[float]) -> dict[str, torch.Tensor]:
    """Equal weights of all options, but of the choices that are named."""
    found = {
        g: torch.from_numpy(m / m.sum(1, keepdims=True)).float() for g, m in SPACE.masks.items()
    }
    for group, members in SPACE.groups.items():
        for row, choice in enumerate(members):
            if choice.name in of_choice:
                found[group][row, : len(choice.options)] = torch.tensor(of_choice[choice.name])
    return found


def without(weights: dict[str, torch.Tensor], smallest: float) -> Gates:
    masks = [torch.from_numpy(SPACE.masks[g]) & (w > smallest) for g, w in weights.items()]
    return Gates.dense(SPACE, weights, masks)


def test_what_has_no_weight_is_removed_at_no_loss() -> None:
    torch.manual_seed(0)
    net = build(SPACE, SPEC)
    for of_choice in (
        {"l3s8": [0.5, 0.0, 0.5, 0.0, 0.0]},
        {"l4s4_from": [0.0, 1.0]},
        {"head": [0.5, 0.5, 0, 0]},
    ):
        weights = uniform(**of_choice)
        with torch.no_grad(), frozen_statistics(net):
            whole = net(X, Gates.dense(SPACE, weights))
            assert whole.std() > 0.1
            assert (net(X, without(weights, 0.0)) - whole).abs().max() < 1e-6


def test_a_small_coefficient_moves_a_sum_by_little() -> None:
    """Of operations that end in batch norms: at most 2 eps O of the site's size."""
    torch.manual_seed(0)
    net, eps = build(SPACE, SPEC), 0.01
    operations = net.grid.cells["l2s8"].operations
    names = [n for n in operations if n != "skip_connect"]
    rest = (1 - eps) / (len(names) - 1)
    for _ in range(25):
        x = torch.randn(4, 8, 12, 12)
        terms = [operations[n](x) for n in names]
        left = sum(rest * t for t in terms[1:])
        change = (eps * terms[0]).norm() / (left + eps * terms[0]).norm()
        assert change <= 2 * eps * len(names)


def test_dead_nodes_are_not_in_what_is_delivered_and_nothing_changes() -> None:
    torch.manual_seed(0)
    net, rng = build(SPACE, SPEC), np.random.default_rng(0)
    dropped = 0
    x = X[:, :, :16, :16]
    for _ in range(50):
        arch = SPACE.sample(rng)
        weights = {g: torch.rand(m.shape) for g, m in SPACE.masks.items()}
        gates = Gates(weights, Gates.of(SPACE, arch).live)
        alone = net.alone(arch, gates)
        with torch.no_grad(), frozen_statistics(net), frozen_statistics(alone):
            assert torch.allclose(alone(x), net(x, gates), atol=1e-6)
        assert len(alone.grid.cells) == len(SPACE.live(arch))
        dropped += len(SPACE.nodes) - len(alone.grid.cells)
    assert dropped > 20


def test_options_below_eps_are_removed_and_the_others_not_rescaled() -> None:
    method, state, _ = stepped(SingleStageConfig(smallest=0.3), 4, 2)
    before = [w.clone() for w in method.gates(state, SPACE).detach().weights.values()]
    assert method.freeze(state, SPACE) > 50  # of five options about a fifth each
    for c, now in zip(before, method.gates(state, SPACE).weights.values(), strict=True):
        assert torch.equal(c, now)
    for choice in SPACE.choices:
        assert len(method.derive(state, SPACE)[choice.name]) >= 1


def settings(**numbers: Any) -> Settings:
    return Settings(
        batch_size=4, network={"channels": 4, "depth": 4}, hardware={"threads": 1}, **numbers
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search of a folder of scenes, and the folder."""
    folder = tmp_path_factory.mktemp("single")
    data = scenes.written(folder / "data", {"train": 12, "val": 8, "test": 8}, high=16, wide=24)
    config = SingleStageConfig(smallest=0.19)
    found = search(config, data=str(data), settings=settings(epochs=4), run=folder / "whole")
    return found, data, config


def test_the_network_is_delivered_as_it_is_and_measured_once(run: Any) -> None:
    found, _, _ = run
    assert found.weights is not None
    assert found.test["examples"] == 8
    last = found.history[-1]
    assert last["discrete_loss"] == last["supernet_loss"]  # there is no gap
    tensors, signature = read_weights(found.weights)
    assert signature.architecture == found.text
    kept = sum(len(found.architecture[c.name]) for c in SPACE.choices)
    assert kept == sum(len(c.options) for c in SPACE.choices) - found.history[2]["removed"]
    assert tensors["shares.head"].sum() <= 1
    net = found.network()
    assert net(X).shape == (2, 3, 24, 32)
    shown, _ = RunDirectory(found.run).inspect_examples()
    assert shown is not None
    assert "training images" in shown["text"]  # all of them trained weights in the end
    found.export("safetensors")
    card = (found.run / "export" / "README.md").read_text()
    drawn = sum(n for name, n in found.cost.items() if name.endswith("_examples"))
    assert drawn > 0
    assert f"| Images drawn | {drawn:,} |" in card
    assert f"| Parameters | {sum(p.numel() for p in net.parameters()):,} |" in card


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_to_the_bit(run: Any, tmp_path: Path) -> None:
    found, data, config = run
    for epochs in (1, 3):  # in the search, and after the freeze
        where = tmp_path / str(epochs)
        with pytest.raises(KeyboardInterrupt):
            search(
                config,
                data=str(data),
                settings=settings(epochs=4),
                run=where,
                watcher=Interrupt(epochs=epochs),
            )
        again = resume(where)
        assert again.text == found.text
        require_same_run(where, found.run)


def test_elsewhere_it_ends_with_an_architecture(tmp_path: Path) -> None:
    assert find("single-stage").delivers_in(SPACE)
    assert isinstance(SPACE, Weighing)
    space = space_of(toys.own())
    assert not find("single-stage").delivers_in(space)
    found = search(
        SingleStageConfig(),
        space=space,
        data=toys.images(),
        settings=toys.SETTINGS,
        run=tmp_path / "r",
    )
    assert found.weights is None
    assert all(len(kept) == 1 for kept in found.architecture.values())
