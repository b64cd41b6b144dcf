"""RL-DARTS on two games of MinAtar and on Procgen's StarPilot, beside what asks for no search.

    python benchmarks/rl_darts.py                     runs what is missing under --runs
    python benchmarks/rl_darts.py --games breakout    of some games only
    python benchmarks/rl_darts.py --report            results/rl-darts.json
    python benchmarks/rl_darts.py --small             that it works, in some minutes

For each game and seed one search; then trainings from scratch, by the same PPO and for as many
frames as the search had, of the cell that it found, of the IMPALA-CNN, and of three cells that the
seed draws at random (never with `none`). MinAtar has sticky actions, StarPilot easy mode, 200
levels to train on and others to test on, and pictures averaged to 32 x 32. What is compared is the
mean return of the episodes that ended in the last tenth of the frames, and that of 100 episodes of
the test part with the policy as it is then, actions drawn. Beside it a search with an operation
that gives noise, judged by its weights.

One thread; runs can be cut off at any time, the same command goes on; two commands of different
`--games` and `--runs`, one core each (`--report` reads several: `--runs A B`). 20 to 45 CPU minutes
for each game of MinAtar (204,800 frames a run), some 2 CPU hours for StarPilot (327,680).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record

import morphogen
from morphogen import Settings, Training
from morphogen.core.config import to_mapping
from morphogen.methods.rl_darts import RLDARTSConfig
from morphogen.spaces import SearchSpace
from morphogen.spaces.impala_cnn import ImpalaCNN
from morphogen.spaces.rl_darts import MICRO, RLDARTS

CONFIG = RLDARTSConfig()
SUPERNET, CELL, IMPALA, POISONED = "supernet", "cell", "impala-cnn", "poisoned"
RANDOM = ("random 1", "random 2", "random 3")
PPO = {"name": "policies", "gae_lambda": 0.95, "entropy_bonus": 0.01, "episodes": 100}


@dataclass(frozen=True)
class Game:
    """What is searched, and how it is trained."""

    data: str
    space: RLDARTS
    impala: ImpalaCNN
    channels: int
    batch_size: int
    task: dict[str, Any]
    epochs: int
    """Each of envs x horizon frames."""

    @property
    def frames(self) -> int:
        """Of an epoch."""
        return int(self.task["envs"] * self.task["horizon"])


def _minatar(game: str) -> Game:
    return Game(
        f"env:minatar/{game}",
        RLDARTS("rl-darts-minatar", nodes=3, stages=(1, 1), normals=1, side=10),
        ImpalaCNN("impala-cnn-minatar", stages=(1, 1), side=10),
        channels=16,
        batch_size=256,
        task={**PPO, "envs": 16, "horizon": 128, "passes": 3, "discount": 0.99},
        epochs=100,
    )


GAMES = {
    "breakout": _minatar("breakout"),
    "space_invaders": _minatar("space_invaders"),
    "starpilot": Game(
        "env:procgen/starpilot",
        RLDARTS("rl-darts-32", nodes=2, normals=1, side=32),
        ImpalaCNN("impala-cnn-32", side=32),
        channels=8,
        batch_size=1024,
        task={**PPO, "side": 32, "envs": 32, "horizon": 256, "passes": 2, "discount": 0.999},
        epochs=40,
    ),
}

Row = dict[str, Any]


def game_of(name: str, options: argparse.Namespace) -> Game:
    """A game; with `--small` of few frames."""
    game = GAMES[name]
    if not options.small:
        return game
    few = {"envs": 8, "horizon": 32, "passes": 1, "episodes": 4}
    return replace(game, task={**game.task, **few}, batch_size=64, epochs=2)


def settings_of(game: Game, seed: int, epochs: int) -> Settings:
    """Of a search."""
    return Settings(
        seed=seed,
        epochs=epochs,
        batch_size=game.batch_size,
        task=game.task,
        network={"channels": game.channels, "depth": len(game.space.stages)},
        hardware={"threads": 1},
        diagnostics={"images": 0},
    )


def searched(name: str, variant: str, seed: int, options: argparse.Namespace) -> Row:
    """A search: what was found, and its curves."""
    game, space = game_of(name, options), GAMES[name].space
    epochs = options.epochs or game.epochs
    if variant == POISONED:  # noise is drawn anew for acting and learning: no return is expected
        space = RLDARTS(
            "poisoned", (*MICRO[:-1], "noise", "none"), nodes=3, stages=(1, 1), normals=1, side=10
        )
        epochs = min(epochs, 40)
    path = Path(options.runs) / f"{name}-{variant}-seed{seed}"
    settings = settings_of(game, seed, epochs)
    found = (
        morphogen.resume(path)
        if (path / "config.yaml").exists()
        else morphogen.search(CONFIG, space=space, data=game.data, settings=settings, run=path)
    )
    rows = found.history
    weights = [key for key in rows[-1] if key.startswith("weight_")]
    return {
        "game": name,
        "variant": variant,
        "seed": seed,
        "architecture": found.text,
        **curves(rows),
        "entropy": [row["entropy"] for row in rows],
        "margin": [row["margin"] for row in rows],
        "weights": {key: [row[key] for row in rows] for key in weights},
        "frames": len(rows) * game.frames,
        "cpu_seconds": found.cost["cpu_seconds"],
    }


def trained(name: str, variant: str, seed: int, text: str, options: argparse.Namespace) -> Row:
    """A network trained from scratch for as many frames as the search had."""
    game = game_of(name, options)
    space: SearchSpace = game.impala if variant == IMPALA else game.space
    path = Path(options.runs) / f"{name}-{variant.replace(' ', '-')}-seed{seed}"
    c = CONFIG.weights
    training = Training(
        seed=seed,
        epochs=options.epochs or game.epochs,
        batch_size=game.batch_size,
        held_out=0.0,
        optimiser="adam",
        lr=c.lr,
        betas=c.betas,
        eps=c.eps,
        weight_decay=c.weight_decay,
        clip=c.clip,
        task=game.task,
        network={"channels": game.channels, "depth": len(game.space.stages)},
        hardware={"threads": 1},
    )
    found = (
        morphogen.resume(path)
        if (path / "config.yaml").exists()
        else morphogen.train(text, space=space, data=game.data, training=training, run=path)
    )
    return {
        "game": name,
        "variant": variant,
        "seed": seed,
        "architecture": text,
        **curves(found.history),
        "test": found.test["mean"],
        "params": found.cost["params"],
        "macs": found.cost["macs"],
        "frames": len(found.history) * game.frames,
        "cpu_seconds": found.cost["cpu_seconds"],
    }


def curves(rows: Sequence[dict[str, Any]]) -> Row:
    """The mean return of each epoch's episodes, of the last tenth's, and of the first epochs'."""
    told = [(row.get("train_return"), row.get("train_episodes", 0)) for row in rows]

    def mean(some: Sequence[tuple[float | None, float]]) -> float:
        pairs = [(value, count) for value, count in some if value is not None and count]
        total = sum(count for _, count in pairs)
        return sum(value * count for value, count in pairs) / total if total else 0.0

    tenth = max(1, len(rows) // 10)
    return {
        "curve": [value for value, _ in told],
        "late": mean(told[-tenth:]),
        "first": mean(told[:2]),
    }


def random_cells(name: str, seed: int) -> list[str]:
    """The three cells that a seed draws."""
    space, rng = GAMES[name].space, np.random.default_rng(1000 + seed)
    return [space.format(space.sample(rng)) for _ in RANDOM]


def run(name: str, seed: int, options: argparse.Namespace) -> None:
    """Make the rows of a game and seed that are missing."""
    file = Path(options.runs) / "rows.jsonl"

    def held(variant: str) -> Row | None:
        key = (name, variant, seed)
        rows = record.rows(file)
        return next((r for r in rows if (r["game"], r["variant"], r["seed"]) == key), None)

    def made(row: Row) -> Row:
        record.keep(file, row)
        speed = row["frames"] / row["cpu_seconds"]
        what = f"{name}, {row['variant']}, seed {seed}"
        print(f"{what}: return {row['late']:.2f}, {speed:.0f} frames a CPU second", flush=True)
        return row

    row = held(SUPERNET) or made(searched(name, SUPERNET, seed, options))
    texts = {CELL: row["architecture"], IMPALA: "blocks=2"}
    texts |= dict(zip(RANDOM, random_cells(name, seed), strict=True))
    for variant, text in texts.items():
        if held(variant) is None:
            made(trained(name, variant, seed, text, options))
    if name == "breakout" and held(POISONED) is None:
        made(searched(name, POISONED, seed, options))


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of a game: means over seeds with their intervals."""
    figures: dict[str, Any] = {}
    for variant in (SUPERNET, CELL, IMPALA, *RANDOM):
        mine = [r for r in rows if r["variant"] == variant]
        if not mine:
            continue
        numbers = [n for n in ("late", "test", "params", "macs") if n in mine[0]]
        figures[variant] = {n: record.interval([float(r[n]) for r in mine]) for n in numbers}
        speed = [r["frames"] / r["cpu_seconds"] for r in mine]
        figures[variant]["frames per CPU second"] = record.interval(speed)
        figures[variant]["frames"] = mine[0]["frames"]
        every = max(1, len(mine[0]["curve"]) // 50)
        figures[variant][f"return by {every} epochs, each seed"] = [
            [None if v is None else round(v, 2) for v in r["curve"][::every]] for r in mine
        ]
        if variant in (SUPERNET, CELL):
            figures[variant]["architectures"] = [r["architecture"] for r in mine]
    of_supernet = [r for r in rows if r["variant"] == SUPERNET]
    if of_supernet:
        figures[SUPERNET]["entropy at the end, 1: all alike"] = [
            r["entropy"][-1] for r in of_supernet
        ]
        figures[SUPERNET]["margin at the end"] = [r["margin"][-1] for r in of_supernet]
        figures[SUPERNET]["weights at the end"] = [
            {key: curve[-1] for key, curve in r["weights"].items()} for r in of_supernet
        ]
    return figures


def differences(rows: Sequence[Row]) -> dict[str, Any]:
    """Of the cell, seed by seed, from the median random cell and from the IMPALA-CNN."""
    by = {(r["variant"], r["seed"]): r for r in rows}
    found: dict[str, Any] = {}
    for number in ("late", "test"):
        beside: dict[str, list[float]] = {"the median random cell": [], "the IMPALA-CNN": []}
        for seed in sorted({r["seed"] for r in rows}):
            if any((v, seed) not in by for v in (CELL, IMPALA, *RANDOM)):
                continue
            cell = by[CELL, seed][number]
            drawn = statistics.median(by[v, seed][number] for v in RANDOM)
            beside["the median random cell"].append(cell - drawn)
            beside["the IMPALA-CNN"].append(cell - by[IMPALA, seed][number])
        for name, values in beside.items():
            if values:
                found[f"{number}: cell minus {name}"] = record.interval(values)
    return found


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What must hold at this size."""
    of_supernet = [r for r in rows if r["variant"] == SUPERNET]
    minatar = [r for r in of_supernet if r["game"] != "starpilot"]
    breakout = [r for r in of_supernet if r["game"] == "breakout"]
    starpilot = [r for r in of_supernet if r["game"] == "starpilot"]
    poisoned = [r for r in rows if r["variant"] == POISONED]
    by = {(r["game"], r["variant"], r["seed"]): r for r in rows}
    cells = [(by.get((r["game"], CELL, r["seed"])), r) for r in of_supernet]
    tests: dict[str, bool] = {}
    if breakout:
        frames = GAMES["breakout"].frames
        reached = [[v for v in r["curve"][: 150_000 // frames] if v is not None] for r in breakout]
        tests["the supernet's return on Breakout is above 3 within 150,000 frames"] = all(
            max(curve, default=0.0) > 3 for curve in reached
        )
    if minatar:
        tests["none has the smallest mean weight on MinAtar"] = all(
            min(r["weights"], key=lambda k, r=r: r["weights"][k][-1]) == "weight_none"
            for r in minatar
        )
    if of_supernet:
        tests["the entropy of the gates falls"] = all(
            r["entropy"][-1] < min(1.0, r["entropy"][0]) for r in of_supernet
        )
    if starpilot:
        gains = [r["late"] - r["first"] for r in starpilot]
        error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        tests["StarPilot: the supernet is 3 standard errors above where it began"] = (
            statistics.mean(gains) > 3 * error
        )
    if any(cell for cell, _ in cells):
        tests["the cell trains to 80 % of the supernet's return, on average of each game"] = all(
            statistics.mean(
                c["late"] / max(r["late"], 1e-9) for c, r in cells if c and r["game"] == g
            )
            >= 0.8
            for g in {r["game"] for c, r in cells if c}
        )
    if poisoned:
        tests["noise among the operations has the smallest weight of all"] = all(
            min(r["weights"], key=lambda k, r=r: r["weights"][k][-1]) == "weight_noise"
            for r in poisoned
        )
    return tests


def report(rows: Sequence[Row]) -> None:
    games = [g for g in GAMES if any(r["game"] == g for r in rows)]
    of = {g: [r for r in rows if r["game"] == g] for g in games}
    figures = {g: {**summary(of[g]), **differences(of[g])} for g in games}
    tests = claims(rows)
    poisoned = [r for r in rows if r["variant"] == POISONED]
    if poisoned:
        figures["weights with noise among the operations, each seed"] = {
            str(r["seed"]): {key: round(curve[-1], 4) for key, curve in r["weights"].items()}
            for r in poisoned
        }
    parts = []
    for g in games:
        means = [
            f"{v} {figures[g][v]['late']['mean']:.1f}"
            for v in (SUPERNET, CELL, IMPALA)
            if v in figures[g]
        ]
        drawn = [r["late"] for r in of[g] if r["variant"] in RANDOM]
        if drawn:
            means.append(f"median random cell {statistics.median(drawn):.1f}")
        parts.append(f"{g}: {', '.join(means)}")
    held = sum(tests.values())
    ahead = {g: figures[g].get("test: cell minus the median random cell") for g in games}
    record.write(
        "rl-darts",
        claim=(
            "A supernet that is an agent's encoder learns with the agent's own loss, weights and "
            "architecture at once; useless operations lose weight, and the cell that is derived "
            "of it learns as well as networks made by hand and better than random cells."
        ),
        system="rl-darts, policies",
        command="python benchmarks/rl_darts.py",
        seeds=sorted({r["seed"] for r in rows}),
        split=(
            "episodes of the training part (StarPilot: 200 levels); test returns are of 100 "
            "episodes of other seeds (StarPilot: other levels)"
        ),
        figures={
            "unit": "mean return of an episode; late: of those that ended in the last tenth",
            "settings": {g: {**GAMES[g].task, "epochs": GAMES[g].epochs} for g in games},
            "optimiser": to_mapping(CONFIG.weights),
            "what must hold": tests,
            **figures,
        },
        published={
            "figure": "derived cells up to 250 % of the performance of designs by hand (a maximum "
            "over games), about 3 times the computation, up to 30 times more efficient than random "
            "search; Procgen at full size",
            "source": "arXiv 2106.02229, abstract; PMLR 188:20",
        },
        cost={
            "cpu_seconds": round(sum(r["cpu_seconds"] for r in rows)),
            "frames": sum(r["frames"] for r in rows),
            "threads": 1,
        },
        headline="; ".join(parts),
        verdict="shown"
        if held == len(tests) and all(d and d["mean"] > 0 for d in ahead.values())
        else "partly"
        if held > len(tests) / 2
        else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + "; "
        + "; ".join(
            f"{g}, test: the cell {d['mean']:+.2f} beside the median random cell"
            for g, d in ahead.items()
            if d
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/rl-darts")])
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--epochs", type=int, default=0, help="100, StarPilot 40; --small: 2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    folder, *others = options.runs
    options.runs = folder
    file = Path(folder) / "rows.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        for seed in options.seeds:
            for name in options.games:
                run(name, seed, options)
    rows = [row for other in (folder, *others) for row in record.rows(other / "rows.jsonl")]
    if options.small:
        print(json.dumps([{k: v for k, v in r.items() if k != "weights"} for r in rows], indent=1))
        print(json.dumps(claims(rows), indent=1))
    elif rows:
        report(rows)


if __name__ == "__main__":
    main()
