"""RL-DARTS: one step moves weights and alpha together, and what is useless loses weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from morphogen import Settings
from morphogen.bilevel.optimisers import Adam
from morphogen.core.config import altered
from morphogen.engine.search.presets import paper_preset
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.timetable import timetable
from morphogen.engine.train.training import own_descent, paper_training
from morphogen.methods.rl_darts import RLDARTS, RLDARTSConfig, RLDARTSState, standing
from morphogen.spaces.rl_darts import MICRO, CellNorm
from morphogen.spaces.rl_darts import RLDARTS as Cells
from morphogen.supernets import Gates, NetworkSpec
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.cut import Cut
from morphogen.tasks.policies import PolicyConfig
from morphogen.tasks.policies.heads import log_probs, split
from morphogen.tasks.problem import Clock, Problem
from morphogen.testing import toys
from morphogen.testing.runs import Interrupt, require_same_run

CLOCK = Clock(0, 1, 0, 100)
CELLS = Cells("small", nodes=2, stages=(1,), normals=1, side=8)


def policy_problem(space: Cells, **task: Any) -> Problem:
    numbers: dict[str, Any] = {"envs": 4, "horizon": 16, "passes": 1, "episodes": 4, **task}
    made = PolicyConfig(**numbers)
    held = made.make("env:minatar/breakout", Cut())
    spec = NetworkSpec(channels=4, depth=1, classes=held.outputs(), in_channels=held.in_channels)
    return Problem(space, held, spec, batch_size=32)


def first_step(clip: float) -> tuple[RLDARTSState, list[Tensor]]:
    """A state after one update of PPO, and the gradient that moved each tensor."""
    held = policy_problem(CELLS)
    method = RLDARTS(altered(RLDARTSConfig(), {"weights.clip": clip}))
    state = method.init(held)
    assert all(bool((alpha == 0).all()) for alpha in state.alphas)
    held.gather(state.net, method.gates(state, CELLS))
    method.step(state, held, CLOCK)
    # The first moment after one step is (1 - beta) times the gradient.
    return state, [state.optimiser.state[t]["exp_avg"] / 0.1 for t in state.learned]


def test_one_update_of_ppo_moves_every_weight_and_every_alpha_under_one_norm() -> None:
    state, free = first_step(clip=0.0)
    assert all(bool((alpha != 0).all()) for alpha in state.alphas)
    (together,) = state.optimiser.param_groups
    assert {id(t) for t in together["params"]} == {id(t) for t in state.learned}
    assert {id(a) for a in state.alphas} <= {id(t) for t in state.learned}
    norm = torch.cat([g.flatten() for g in free]).norm()
    _, clipped = first_step(clip=0.1)
    assert norm > 0.1
    for gradient, one in zip(free, clipped, strict=True):
        assert torch.allclose(one, gradient * 0.1 / norm, rtol=1e-3, atol=1e-7)


def test_alphas_that_are_held_fixed_stay_and_weights_go_on() -> None:
    held = toys.problem(CELLS)
    method = RLDARTS(RLDARTSConfig())
    state = method.init(held)
    for alpha in state.alphas:
        alpha.requires_grad_(False)
    weights = [w.detach().clone() for w in state.net.parameters()]
    method.step(state, held, CLOCK)
    assert all(bool((alpha == 0).all()) for alpha in state.alphas)
    now = list(state.net.parameters())
    assert not any(torch.equal(w, old) for w, old in zip(now, weights, strict=True))


@pytest.mark.parametrize(("cell_norm", "same"), [("none", True), ("batch_stats", False)])
def test_what_acts_is_what_is_trained_unless_norms_look_at_the_batch(
    cell_norm: CellNorm, same: bool
) -> None:
    """The ratio of probabilities is 1 before the first update, to 1e-5."""
    space = Cells("normed", nodes=2, stages=(1,), normals=1, side=8, cell_norm=cell_norm)
    held = policy_problem(space)
    method = RLDARTS(RLDARTSConfig())
    state = method.init(held)
    head: Any = state.net.get_submodule("frame.head.outputs")
    with torch.no_grad():
        head.weight.mul_(20)  # so that there is a policy to differ from
    held.gather(state.net, method.gates(state, space))
    batch = held.batch("train")
    with torch.no_grad():
        logits, _ = split(held.forward(state.net, method.gates(state, space), batch.x))
    ratio = (log_probs(logits, batch.y["actions"]) - batch.y["log_probs"]).exp()
    assert bool(((ratio - 1).abs() < 1e-5).all()) is same


def test_the_temperature_divides_alpha_in_gates_and_in_the_cell() -> None:
    held = toys.problem(CELLS)
    method = RLDARTS(RLDARTSConfig(temperature=0.25))
    state = method.init(held)
    with torch.no_grad():
        for alpha in state.alphas:
            alpha.copy_(torch.randn(alpha.shape, generator=torch.Generator().manual_seed(0)))
    gates = method.gates(state, CELLS)
    for group, alpha in zip(CELLS.groups, state.alphas, strict=True):
        assert torch.allclose(gates.weights[group], (alpha / 0.25).softmax(-1))
    arch = method.derive(state, CELLS)
    hot = {
        g: (a.detach() / 0.25).softmax(-1).numpy()
        for g, a in zip(CELLS.groups, state.alphas, strict=True)
    }
    assert arch == CELLS.derive(hot)


def test_what_is_told_of_the_gates_is_counted_by_hand() -> None:
    """`none` has a weight, and no part in the margin."""
    rows = torch.tensor([[0.3, 0.1, 0.2, 0.0, 0.4], [0.2] * 5, [0.5, 0.25, 0.25, 0.0, 0.0]])
    told = standing(CELLS, Gates.dense(CELLS, {"normal": rows, "reduce": rows}))
    assert told["weight_none"] == pytest.approx(0.2)
    assert told["weight_conv_3x3"] == pytest.approx(1 / 3)
    assert told["margin"] == pytest.approx((0.1 + 0.0 + 0.25) / 3)
    assert sum(v for k, v in told.items() if k != "margin") == pytest.approx(1)


def test_the_paper_s_search_is_that_of_its_code() -> None:
    """64 x 1,024 frames an iteration, 2 passes in minibatches of 2,048; 25 million frames."""
    preset = paper_preset("rl-darts", "rl-darts")
    settings, c = preset.settings, preset.options.weights
    assert (c.lr, c.eps, c.clip, c.weight_decay) == (5e-4, 1e-5, 0.5, 0.0)
    assert settings.network.channels == 16
    task = settings.task
    assert isinstance(task, PolicyConfig)
    assert settings.epochs * task.envs * task.horizon == pytest.approx(25e6, rel=2e-3)
    held = policy_problem(CELLS, envs=64, horizon=1024, passes=2)
    held.batch_size = settings.batch_size
    (phase,) = timetable(RLDARTS(RLDARTSConfig()), held, settings.epochs, 0).phases
    assert (phase.name, phase.epochs, phase.steps) == ("search", 382, 64)
    assert (task.discount, task.gae_lambda, task.ratio_clip, task.value_clip) == (
        0.999,
        0.95,
        0.2,
        0.2,
    )
    assert (task.value_weight, task.entropy_bonus, task.reward_clip) == (0.5, 0.01, 10.0)
    for space in ("rl-darts", "rl-darts-classic", "impala-cnn"):
        training = paper_training(space)
        found = training.descent
        assert isinstance(found, Adam)
        assert (found.lr, found.eps, found.clip, found.weight_decay) == (5e-4, 1e-5, 0.5, 0.0)
        assert (training.epochs, training.batch_size, training.task) == (382, 2048, task)


POISONED = (*MICRO[:-1], "noise", "none")


def test_noise_among_the_operations_loses_weight_on_images() -> None:
    """At alpha's own, slow rate it is the last of all operations after a few passes."""
    space = Cells("poisoned", POISONED, nodes=2, stages=(1,), normals=1, side=8)
    held = toys.problem(space, channels=4)
    method = RLDARTS(altered(RLDARTSConfig(), {"weights.lr": 0.003}))
    state = method.init(held)
    torch.manual_seed(0)
    for step in range(120):
        method.step(state, held, replace(CLOCK, step=step % 100))
    told = standing(space, method.gates(state, space).detach())
    weights = {k: v for k, v in told.items() if k != "margin"}
    assert min(weights, key=weights.__getitem__) == "weight_noise"


@pytest.mark.slow
def test_noise_among_the_operations_loses_weight_in_an_environment() -> None:
    """MinAtar's Breakout, the card's own run: below 1/6 and below every other operation."""
    space = Cells("poisoned", POISONED, nodes=3, stages=(1, 1), normals=1, side=10)
    held = policy_problem(space, envs=16, horizon=128, passes=3)
    held = Problem(space, held.task, replace(held.spec, channels=16), batch_size=256)
    method = RLDARTS(RLDARTSConfig())
    state = method.init(held)
    torch.manual_seed(0)
    plan = timetable(method, held, 20, 0)
    for clock in plan:
        held.gather(state.net, method.gates(state, space))
        for step in range(clock.steps):
            method.step(state, held, replace(clock, step=step))
    told = standing(space, method.gates(state, space).detach())
    weights = {k: v for k, v in told.items() if k != "margin"}
    assert min(weights, key=weights.__getitem__) == "weight_noise"
    assert weights["weight_noise"] < 1 / 6 - 1e-3


@pytest.mark.slow
def test_a_search_that_is_killed_plays_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """On Breakout, in cells with noise: games, weights and alphas end in the same bits."""
    space = Cells("poisoned", POISONED, nodes=2, stages=(1,), normals=1, side=10)
    numbers: dict[str, Any] = {
        "task": {"name": "policies", "envs": 4, "horizon": 16, "passes": 2, "episodes": 3},
        "network": {"channels": 4, "depth": 1},
        "hardware": {"threads": 1},
    }
    settings = Settings(epochs=3, batch_size=32, **numbers)
    config = altered(RLDARTSConfig(), {"weights.lr": 0.01})
    given: dict[str, Any] = {"space": space, "data": "env:minatar/breakout", "settings": settings}
    whole = search(config, run=tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        search(config, run=tmp_path / "cut", watcher=Interrupt(epochs=2), **given)
    again = resume(tmp_path / "cut")
    assert again.text == whole.text
    require_same_run(tmp_path / "cut", tmp_path / "whole")
    assert whole.history[-1]["examples"]["train"] == 3 * 4 * 16
    assert {"margin", "weight_noise", "entropy", "train_loss"} <= set(whole.history[-1])


def test_random_cells_are_trained_as_agents_are(tmp_path: Path) -> None:
    adam = own_descent(CELLS, PolicyConfig())
    assert isinstance(adam, Adam)
    assert (adam.lr, adam.eps, adam.clip) == (5e-4, 1e-5, 0.5)
    assert own_descent("nasbench201", ImageConfig()) is own_descent(None) is None
    numbers: dict[str, Any] = {
        "task": {"name": "policies", "envs": 4, "horizon": 8, "passes": 1, "episodes": 2},
        "network": {"channels": 4, "depth": 1},
        "hardware": {"threads": 1},
        "evaluation": {"budget": 2, "epochs": 1},
    }
    settings = Settings(batch_size=16, **numbers)
    found = search(
        "random", space=CELLS, data="env:minatar/breakout", settings=settings, run=tmp_path / "run"
    )
    assert "none" not in found.text
    assert len(found.history) == 2
