"""DC-NAS: the idea in a toy with known answers, the reductions, and a search that is resumed.

Toy: networks of four hidden speeds of convergence, slow ones slightly better in the end; early
accuracy orders by speed, and is right among networks of one speed. Figures: 100 seeds of an
independent script gave purity 0.999, Kendall's tau 0.85 within groups and -0.05 over all, regret
0.0035 (one winner a group) against 0.068 (the four best early).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

import tiny
from morphogen.core import Choice, ConfigError
from morphogen.core.rng import numpy_stream
from morphogen.engine.judge.trials import asking
from morphogen.engine.search.rounds import ask_and_tell
from morphogen.engine.search.search import resume, search
from morphogen.evaluators.clusters import divide, winners
from morphogen.methods.dcnas import DCNAS, DCNASConfig
from morphogen.runs import store
from morphogen.spaces import SearchSpace

N, K, LAYERS = 120, 4, 10


def toy(seed: int):
    """Speed group, final quality, early accuracy, traces [N, LAYERS]."""
    g = np.random.default_rng(seed)
    group = g.integers(4, size=N)
    tau = np.array([2.0, 5.0, 10.0, 20.0])[group]
    final = g.normal(0.7, 0.05, N) + 0.02 * (group - 1.5)
    early = final * (1 - np.exp(-5 / tau)) + 0.005 * g.normal(size=N)
    noise = 1 + 0.1 * g.normal(size=(N, LAYERS))
    traces = np.abs(np.exp(-5 / tau)[:, None] * np.linspace(1, 0.3, LAYERS) * noise)
    return group, final, early, traces


def within(labels, early, final) -> float:
    """Kendall's tau inside the groups, weighted by size."""
    parts = [labels == c for c in np.unique(labels)]
    taus = [(p.sum(), kendalltau(early[p], final[p]).statistic) for p in parts if p.sum() > 2]
    return sum(n * t for n, t in taus) / sum(n for n, _ in taus)


def test_groups_of_networks_that_train_alike_make_early_accuracy_fair():
    purity, inside, regret, plain, chance = [], [], [], [], []
    for seed in range(30):
        group, final, early, traces = toy(seed)
        labels = divide(traces, K, seed, smallest=3)
        purity.append(sum(np.bincount(group[labels == c]).max() for c in np.unique(labels)) / N)
        inside.append(within(labels, early, final))
        regret.append(final.max() - final[winners(early, labels)].max())
        plain.append(final.max() - final[np.argsort(-early)[:K]].max())
        shuffled = np.random.default_rng(seed).permutation(labels)
        chance.append(final.max() - final[winners(early, shuffled)].max())
    assert np.mean(purity) > 0.97
    assert np.mean(inside) > 0.75
    assert np.mean(regret) < 0.2 * np.mean(plain)
    assert np.mean(plain) == pytest.approx(0.068, abs=0.015)
    assert np.mean(chance) > 0.8 * np.mean(plain)  # the gain is similarity's, not variety's


# -- the method, answered by the toy ---------------------------------------------------------------

SPACE = SearchSpace("toy", [Choice(f"c{i}", ("0", "1", "2", "3"), "c") for i in range(4)])


class World:
    """Answers for the toy's networks, one for each architecture, and counts what it costs."""

    def __init__(self, seed: int = 0) -> None:
        self.group, self.final, self.early, self.traces = toy(seed)
        self.place: dict = {}
        self.trained = 0.0

    def at(self, archs):
        return [self.place.setdefault(arch, len(self.place)) for arch in archs]

    def answer(self, archs, stage):
        self.trained += stage.budget * len(archs)
        rows = self.at(archs)
        return (self.final if stage.budget == 1 else self.early)[rows]

    def recorded(self, archs, stage):
        return [self.traces[i][None] if stage.trace else None for i in self.at(archs)]


def play(world: World, round_size: int = 7, budget: int = 10_000, **changes):
    settings = {"pool": N, "clusters": K, "normalize": False, "early": 0.1, **changes}
    method = DCNAS(DCNASConfig(**settings))
    talk = ask_and_tell(
        method,
        SPACE,
        numpy_stream(0, "search"),
        world.answer,
        budget=budget,
        round_size=round_size,
        traces=world.recorded,
    )
    return world.at([method.derive(talk.state, SPACE)])[0], talk


def test_it_finds_what_plain_early_stopping_misses():
    world = World()
    found, talk = play(world)
    labels = talk.state.groups
    assert np.array_equal(labels, divide_toy(world))
    assert found == max(winners(world.early, labels), key=lambda i: world.final[i])
    assert talk.answered == N + K
    assert world.trained == pytest.approx(0.1 * N + K)


def divide_toy(world: World):
    from morphogen.evaluators.clusters import represent

    seed = int(after_sampling().integers(2**31))
    rows = represent([t[None] for t in world.traces], normalize=False)
    return divide(rows, K, seed, smallest=3)


def after_sampling() -> np.random.Generator:
    rng, seen = numpy_stream(0, "search"), set()
    while len(seen) < N:
        seen.add(SPACE.sample(rng))
    return rng


def test_one_group_is_plain_early_stopping_and_a_group_each_is_exhaustive():
    world = World()
    assert play(world, clusters=1)[0] == int(np.argmax(world.early))
    top = np.argsort(-world.early)[:K]
    world = World()
    assert play(world, clusters=1, winners=K)[0] == max(top, key=lambda i: world.final[i])
    world = World()
    found, talk = play(world, clusters=N, smallest=1)
    assert found == int(np.argmax(world.final))
    assert talk.answered == 2 * N


@pytest.mark.parametrize("round_size", [1, 50, 1000])
def test_the_result_depends_on_no_round_size(round_size):
    found, talk = play(World(), round_size)
    reference = play(World())
    assert found == reference[0]
    assert talk.answered == reference[1].answered
    assert np.array_equal(talk.state.groups, reference[1].state.groups)


def test_halving_triples_the_budget_and_drops_the_weaker_half():
    asked: list[tuple[float, int]] = []

    class Ladder(World):
        def answer(self, archs, stage):
            asked.append((round(stage.budget, 3), len(archs)))
            return super().answer(archs, stage)

    play(Ladder(), 1000, merge="halving", winners=2)
    assert asked == [(0.1, N), (0.3, 8), (0.9, 4), (1.0, 2)]


def test_failures_are_in_no_group():
    class Broken(World):
        def answer(self, archs, stage):
            scores = super().answer(archs, stage).copy()
            rows = np.array(self.at(archs))
            scores[rows % 3 == 0] = -np.inf
            return scores

        def recorded(self, archs, stage):
            found = zip(self.at(archs), super().recorded(archs, stage), strict=True)
            return [None if i % 3 == 0 else trace for i, trace in found]

    found, talk = play(Broken())
    assert found % 3 != 0
    assert (talk.state.groups[::3] == -1).all()
    assert (talk.state.groups[1::3] >= 0).all()


@pytest.mark.parametrize(("budget", "pool"), [(50, 46), (N + K - 1, N - 1), (5, 3), (1, 1)])
def test_the_pool_leaves_evaluations_for_the_finalists(budget, pool):
    found, talk = play(World(), budget=budget)
    assert len(talk.state.pool) == pool
    assert talk.answered <= budget
    assert (talk.state.judged[talk.state.pool[found]][0] == 1) == (budget > 1)


@pytest.mark.parametrize("similarity", ["encoding", "random"])
def test_controls_need_no_traces(similarity):
    world = World()
    found, talk = play(world, similarity=similarity)
    assert not any(t is not None for t in talk.state.traces)
    assert found == max(winners(world.early, talk.state.groups), key=lambda i: world.final[i])
    assert np.bincount(talk.state.groups).min() >= 3


def test_the_number_of_groups_can_be_left_to_the_silhouette():
    groups = len(np.unique(play(World(), clusters=0)[1].state.groups))
    assert groups in (3, 4)  # the two slow ones lie close together


# -- real trainings --------------------------------------------------------------------------------


def run(path: Path, similarity: str, **changes):
    return search(
        DCNASConfig(pool=5, clusters=2, smallest=1, early=0.5, similarity=similarity),
        space=tiny.own(),
        data=tiny.images(),
        settings=tiny.changed(tiny.SETTINGS, evaluations=8, round_size=3),
        run=path,
        **changes,
    )


@pytest.mark.parametrize(
    ("similarity", "steps"), [("params", 2), ("features", 6)], ids=["in-pool", "in-merger"]
)
def test_a_search_trains_a_pool_early_and_winners_in_full_and_resumes(similarity, steps, tmp_path):
    whole = run(tmp_path / "whole", similarity)
    rows = store.rows(tmp_path / "whole" / store.FILE)
    assert [row.get("budget", 1) for row in rows] == [0.5] * 5 + [1] * 2
    pool, finalists = rows[:5], rows[5:]
    assert {r["candidate"] for r in finalists} <= {r["candidate"] for r in pool}
    best = max(finalists, key=lambda r: r["score"])
    assert whole.text == best["candidate"] == rows[-1]["architecture"]
    assert whole.cost["early_epochs"] == 0.5 * 5
    assert whole.cost["full_epochs"] == 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", similarity, watcher=tiny.Stop(steps=steps))
    assert len(store.rows(tmp_path / "cut" / store.FILE)) < 7
    again = resume(tmp_path / "cut", space=tiny.own(), data=tiny.images())
    assert again.text == whole.text
    assert tiny.timeless(again.history) == tiny.timeless(whole.history)


def test_a_table_is_refused(tmp_path):
    settings = tiny.changed(tiny.SETTINGS, evaluator="table")
    with pytest.raises(ConfigError, match="accepted: evaluator training"):
        search(
            "dc-nas", space="nasbench201", data=tiny.images(), settings=settings, run=tmp_path / "r"
        )
    with pytest.raises(Exception, match="asks for trainings of several lengths"):
        asking("dc-nas")
