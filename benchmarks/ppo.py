"""PPO of `tasks/policies` against that of Stable-Baselines3: same environments, networks, numbers.

    python benchmarks/ppo.py          results/ppo.json
    python benchmarks/ppo.py --small  the same for a few thousand frames, no result file

Breakout of MinAtar (sticky actions) and CartPole-v1, in the very environments of the task for both:
an adapter steps them for Stable-Baselines3, which monitors returns before rewards are scaled. The
encoder is shared by policy and value, whose heads are linear; nothing is drawn in common, since the
two libraries draw weights, actions and minibatches in another order. Judged are the last policies,
both by the task's test episodes, and the episodes that ended in the last fifth of the training.
CartPole is judged while it is still being learnt: after four times the frames all reach its 500.
Rows are kept in runs/ppo/rows.jsonl; a run that was cut off goes on after them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphogen.bilevel.optimisers import Adam, gradient_step
from morphogen.core.statistics import interval
from morphogen.tasks.cut import Cut
from morphogen.tasks.policies import PolicyConfig, PolicyTask
from morphogen.tasks.problem import Clock

sys.path.insert(0, str(Path(__file__).parent))
import record

LR, CLIP, EPS = 5e-4, 0.5, 1e-5
GAMES: dict[str, dict[str, Any]] = {
    "env:minatar/breakout": {"envs": 16, "horizon": 128, "passes": 3, "batch": 256, "epochs": 90},
    "env:gymnasium/CartPole-v1": {
        **{"envs": 8, "horizon": 128, "passes": 10, "batch": 128, "epochs": 15}
    },
}
SEEDS = (0, 1, 2)
LIBRARIES = ("morphogen", "stable-baselines3")


def encoder(data: str) -> tuple[nn.Module, int]:
    """The network before the heads, and its features."""
    if "minatar" in data:
        convolved = nn.Sequential(nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Flatten())
        return nn.Sequential(*convolved, nn.Linear(16 * 64, 128), nn.ReLU()), 128
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()), 64


def task_of(data: str, seed: int) -> PolicyTask:
    """The environments and the loss."""
    game = {k: v for k, v in GAMES[data].items() if k in ("envs", "horizon", "passes")}
    return PolicyConfig(**game, episodes=50).make(data, Cut(seed=seed))


def ours(data: str, seed: int, epochs: int) -> dict[str, float]:
    """Trained by the task's stream and the step of every training."""
    task, batch = task_of(data, seed), GAMES[data]["batch"]
    torch.manual_seed(seed)
    body, features = encoder(data)
    net = nn.Sequential(body, nn.Linear(features, task.outputs()))
    optimiser = Adam(lr=LR, betas=(0.9, 0.999), weight_decay=0.0, clip=CLIP, eps=EPS)
    steps, weights = optimiser.make(net.parameters()), list(net.parameters())
    stream = task.stream("train", batch, torch.Generator().manual_seed(seed))
    began, late = time.process_time(), []
    for epoch in range(epochs):
        stream.refresh(net)
        for step in range(stream.steps_per_epoch):
            x, y, _ = stream.next()
            clock = Clock(epoch, epochs, step, stream.steps_per_epoch)
            gradient_step(steps, weights, task.loss(net(x), y, train=True), optimiser, clock)
        if epoch >= 0.8 * epochs and "return" in stream.told:
            late.append((stream.told["return"], stream.told["episodes"]))
    spent = time.process_time() - began
    return judged(task, net, late, spent, epochs)


def theirs(data: str, seed: int, epochs: int) -> dict[str, float]:
    """Trained by Stable-Baselines3."""
    from gymnasium import spaces
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

    task, game = task_of(data, seed), GAMES[data]

    class Adapter(VecEnv):
        """Environments of the task as that library takes them."""

        def __init__(self) -> None:
            self.render_mode = None
            drawn = torch.Generator().manual_seed(seed)
            seeds = torch.randint(2**29, (game["envs"],), generator=drawn).tolist()
            self.inner = task.source.make(seeds)
            high = np.inf if len(task.source.shape) == 1 else 1.0
            seen = spaces.Box(-high, high, task.source.shape, np.float32)
            super().__init__(game["envs"], seen, spaces.Discrete(task.source.actions))

        def reset(self) -> Any:
            return self.inner.reset().astype(np.float32)

        def step_async(self, actions: Any) -> None:
            self.taken = actions

        def step_wait(self) -> Any:
            step = self.inner.step(np.asarray(self.taken))
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            for row, env in enumerate(np.flatnonzero(step.cut)):
                infos[env] = {
                    "TimeLimit.truncated": True,
                    "terminal_observation": step.final[row].astype(np.float32),
                }
            return step.observations.astype(np.float32), step.rewards, step.ended, infos

        def close(self) -> None: ...

        def get_attr(self, name: str, indices: Any = None) -> Any:
            return [getattr(self, name)] * self.num_envs

        def set_attr(self, name: str, value: Any, indices: Any = None) -> None: ...

        def env_method(self, *args: Any, **kwargs: Any) -> Any: ...

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Any:
            return [False] * self.num_envs

    class Extractor(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            body, features = encoder(data)
            super().__init__(space, features)
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    late: list[tuple[float, float]] = []
    frames = epochs * game["envs"] * game["horizon"]

    class Late(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps > 0.8 * frames:
                ends = (i["episode"]["r"] for i in self.locals["infos"] if "episode" in i)
                late.extend((float(r), 1.0) for r in ends)
            return True

    made = VecNormalize(VecMonitor(Adapter()), norm_obs=False, clip_reward=10, gamma=0.99)
    began = time.process_time()
    agent = PPO(
        "MlpPolicy",
        made,
        learning_rate=LR,
        n_steps=game["horizon"],
        batch_size=game["batch"],
        n_epochs=game["passes"],
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.01,
        vf_coef=0.5,
        max_grad_norm=CLIP,
        seed=seed,
        policy_kwargs={
            "features_extractor_class": Extractor,
            "net_arch": [],
            "ortho_init": False,
            "optimizer_kwargs": {"eps": EPS},
        },
    )
    agent.learn(frames, callback=Late())
    spent = time.process_time() - began

    def forward(x: Tensor) -> Tensor:
        features = agent.policy.extract_features(x)
        return torch.cat(
            [agent.policy.action_net(features), agent.policy.value_net(features)], dim=1
        )

    return judged(task, forward, late, spent, epochs)


def judged(
    task: PolicyTask, forward: Any, late: list[tuple[float, float]], spent: float, epochs: int
) -> dict[str, float]:
    """The last policy on the test episodes, the last fifth of the training, frames a second."""
    test = task.open_test("to compare two implementations")
    with torch.no_grad():
        sums = task.measure(forward, task.once(test, 50))
    ended = sum(count for _, count in late)
    return {
        "test_return": round(task.value(sums), 3),
        "late_return": round(sum(r * count for r, count in late) / max(ended, 1), 3),
        "cpu_seconds": round(spent, 1),
        "frames_per_cpu_second": round(epochs * task.drawn("train") / spent),
    }


def difference(rows: list[dict[str, Any]], data: str, figure: str) -> dict[str, Any]:
    """Means of both libraries and of the difference, with 95 % intervals over seeds."""
    each = {
        name: [r[figure] for r in rows if (r["data"], r["library"]) == (data, name)]
        for name in LIBRARIES
    }
    one, other = (np.array(each[name]) for name in LIBRARIES)
    from scipy.stats import t

    variances = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    freedom = variances.sum() ** 2 / max((variances**2 / (len(one) - 1)).sum(), 1e-12)
    reach = float(t.ppf(0.975, max(freedom, 1.0)) * np.sqrt(variances.sum()))
    gap = float(one.mean() - other.mean())
    return {
        **{name: {**interval(values), "values": values} for name, values in each.items()},
        "difference": {"mean": gap, "low": gap - reach, "high": gap + reach},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--small", action="store_true", help="a few thousand frames, no result file"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs") / "ppo")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.runs / ("small.jsonl" if options.small else "rows.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[:1] if options.small else SEEDS:
        for data, game in GAMES.items():
            for name, run in zip(LIBRARIES, (ours, theirs), strict=True):
                key = {"data": data, "library": name, "seed": seed}
                if any(key.items() <= row.items() for row in record.rows(file)):
                    continue
                found = run(data, seed, 3 if options.small else game["epochs"])
                record.keep(file, key | found)
                print(key, found, flush=True)
    if options.small:
        return
    rows = record.rows(file)
    figures = {
        data: {
            "frames": game["epochs"] * game["envs"] * game["horizon"],
            **{f: difference(rows, data, f) for f in ("test_return", "late_return")},
            "frames_per_cpu_second": {
                name: round(
                    float(
                        np.mean(
                            [
                                r["frames_per_cpu_second"]
                                for r in rows
                                if (r["data"], r["library"]) == (data, name)
                            ]
                        )
                    )
                )
                for name in LIBRARIES
            },
        }
        for data, game in GAMES.items()
    }
    gaps = [figures[d][f]["difference"] for d in GAMES for f in ("test_return", "late_return")]
    alike = sum(gap["low"] <= 0 <= gap["high"] for gap in gaps)
    said = "; ".join(
        f"{data.rpartition('/')[2]}: "
        + " against ".join(f"{figures[data]['late_return'][n]['mean']:.3g}" for n in LIBRARIES)
        for data in GAMES
    )
    record.write(
        "ppo",
        claim="PPO of policies reaches the returns of Stable-Baselines3 within the spread of "
        "seeds, in the same environments with the same network and numbers.",
        system="tasks.policies",
        command="python benchmarks/ppo.py",
        seeds=list(SEEDS),
        split="episodes on seeds of their own: those of the test part are in no training",
        figures=figures,
        published={
            "figure": "none: another implementation, run here",
            "source": "Stable-Baselines3, Raffin and others, JMLR 22 (2021)",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows)), "threads": 1},
        headline=f"mean return of the last fifth, ours against theirs: {said}",
        verdict="shown" if alike == len(gaps) else "partly" if alike else "not shown",
        why=f"{alike} of {len(gaps)} differences of means have 0 in their 95 % interval over three "
        "seeds each, which is wide; advantages, loss and gradients on one rollout are the same up "
        "to 1e-6 (tests/unit/tasks/policies/test_ppo.py)",
    )


if __name__ == "__main__":
    main()
