"""Advantages, loss, gradients and the scale of rewards, as others compute them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from morphogen.tasks.policies.heads import chosen, entropies, log_probs, split
from morphogen.tasks.policies.ppo import Loss, advantages, normalised
from morphogen.tasks.policies.rewards import RewardScale

STEPS, ENVS, ACTIONS = 24, 3, 4


def rollout(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shape = (STEPS, ENVS)
    return {
        "rewards": torch.randn(shape, generator=g),
        "values": torch.randn(shape, generator=g),
        "ended": torch.rand(shape, generator=g) < 0.15,
        "last": torch.randn(ENVS, generator=g),
    }


def test_advantages_are_the_sums_of_their_definition() -> None:
    held, discount, trace = rollout(), 0.9, 0.7
    found = advantages(**held, discount=discount, trace=trace)
    after = torch.cat([held["values"][1:], held["last"][None]])
    for env in range(ENVS):
        for t in range(STEPS):
            total, weight = 0.0, 1.0
            for k in range(t, STEPS):
                over = bool(held["ended"][k, env])
                worth = 0.0 if over else float(after[k, env])
                delta = float(held["rewards"][k, env]) + discount * worth
                total += weight * (delta - float(held["values"][k, env]))
                weight *= discount * trace
                if over:
                    break
            assert found[t, env].item() == pytest.approx(total, abs=1e-5)


def test_advantages_targets_loss_and_gradients_are_those_of_stable_baselines() -> None:
    from gymnasium import spaces
    from stable_baselines3.common.buffers import RolloutBuffer

    held = rollout(1)
    seen = spaces.Box(-1, 1, (5,), np.float32)
    buffer = RolloutBuffer(
        STEPS, seen, spaces.Discrete(ACTIONS), gae_lambda=0.95, gamma=0.99, n_envs=ENVS
    )
    buffer.reset()
    begins = np.zeros(ENVS, dtype=bool)
    for t in range(STEPS):
        buffer.add(
            np.zeros((ENVS, 5)), np.zeros((ENVS, 1)), held["rewards"][t].numpy(), begins,
            held["values"][t], torch.zeros(ENVS),
        )  # fmt: skip
        begins = held["ended"][t].numpy()
    buffer.compute_returns_and_advantage(held["last"], begins)
    found = advantages(**held, discount=0.99, trace=0.95)
    np.testing.assert_allclose(found.numpy(), buffer.advantages, atol=1e-6, rtol=1e-6)
    targets = found + held["values"]
    np.testing.assert_allclose(targets.numpy(), buffer.returns, atol=1e-6, rtol=1e-6)

    g = torch.Generator().manual_seed(2)
    n = STEPS * ENVS
    x = torch.randn(n, 5, generator=g)
    y = {
        "actions": torch.randint(ACTIONS, (n,), generator=g),
        "log_probs": torch.randn(n, generator=g) * 0.2 - np.log(ACTIONS),
        "returns": targets.flatten(),
        "values": held["values"].flatten(),
    }
    torch.manual_seed(3)
    ours = nn.Linear(5, ACTIONS + 1)
    loss = Loss(ratio_clip=0.2, value_clip=0.0, value_weight=0.5, entropy_bonus=0.01)
    value = loss(ours(x), y | {"advantages": normalised(found.flatten())}).mean()
    grads = torch.autograd.grad(value, list(ours.parameters()))

    # The update of PPO.train, written with the distributions of that library.
    from stable_baselines3.common.distributions import CategoricalDistribution

    logits, values = ours(x)[:, :-1], ours(x)[:, -1]
    policy = CategoricalDistribution(ACTIONS).proba_distribution(action_logits=logits)
    scaled = found.flatten()
    scaled = (scaled - scaled.mean()) / (scaled.std() + 1e-8)
    ratio = torch.exp(policy.log_prob(y["actions"]) - y["log_probs"])
    first, second = scaled * ratio, scaled * torch.clamp(ratio, 0.8, 1.2)
    theirs = -torch.min(first, second).mean() + 0.5 * F.mse_loss(y["returns"], values)
    theirs = theirs - 0.01 * policy.entropy().mean()
    assert value.item() == pytest.approx(theirs.item(), abs=1e-6)
    for a, b in zip(grads, torch.autograd.grad(theirs, list(ours.parameters())), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_values_are_clipped_around_those_of_the_rollout() -> None:
    output = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -1.0]])
    y = {
        "actions": torch.tensor([0, 1]),
        "log_probs": torch.full((2,), -np.log(2.0)),
        "advantages": torch.zeros(2),
        "returns": torch.tensor([4.0, 0.0]),
        "values": torch.tensor([1.0, 1.0]),
    }
    loss = Loss(ratio_clip=0.2, value_clip=0.5, value_weight=1.0, entropy_bonus=0.0)
    # 3 counts as 1.5: (1.5 - 4)^2 > (3 - 4)^2; -1 counts as 0.5: (-1 - 0)^2 > 0.5^2
    torch.testing.assert_close(loss(output, y), torch.tensor([6.25, 1.0]))


def test_rewards_are_scaled_as_in_stable_baselines() -> None:
    from stable_baselines3.common.running_mean_std import RunningMeanStd

    rng = np.random.default_rng(0)
    scale, theirs = RewardScale(ENVS, 0.99, 2.0), RunningMeanStd(shape=())
    returns = np.zeros(ENVS)
    for step in range(200):
        rewards, ended = rng.normal(1, 3, ENVS), rng.random(ENVS) < 0.1
        returns = returns * 0.99 + rewards
        theirs.update(returns)
        expected = np.clip(rewards / np.sqrt(theirs.var + 1e-8), -2, 2)
        returns[ended] = 0
        np.testing.assert_allclose(scale(rewards, ended), expected, rtol=1e-12)
        if step == 100:
            state, scale = scale.state_dict(), RewardScale(ENVS, 0.99, 2.0)
            scale.load_state_dict(state)


def test_actions_are_drawn_with_the_probabilities_of_the_policy() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    counts = chosen(logits.expand(20_000, 3), uniform).bincount(minlength=3) / 20_000
    torch.testing.assert_close(counts, logits[0].softmax(0), atol=1e-4, rtol=0)
    assert chosen(torch.tensor([[0.0, 0.0]]), torch.tensor([1.0])).item() == 1
    output = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    known = torch.distributions.Categorical(logits=split(output)[0])
    actions = torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(log_probs(split(output)[0], actions), known.log_prob(actions))
    torch.testing.assert_close(entropies(split(output)[0]), known.entropy())
