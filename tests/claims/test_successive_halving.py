"""Successive halving as the paper's algorithm has it, and what stands around it.

Jamieson, Talwalkar. AISTATS 2016. arXiv 1502.07943, algorithm 1: of the arms of a round the best
1/eta go on, and each is then played eta times as long.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from morphogen import cost
from morphogen.core.statistics import crossed_contrast
from morphogen.engine.search.search import search
from morphogen.evaluators.learning_curve import LearningCurve
from morphogen.methods.successive_halving import (
    BLOCKS,
    SuccessiveHalving,
    SuccessiveHalvingConfig,
)
from morphogen.runs.directory import RunDirectory
from morphogen.scoring import screening
from morphogen.spaces.nasbench201 import RESNET, NASBench201
from morphogen.supernets import NetworkSpec, space_of
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Ahead, Clock, Problem

CONFIG = SuccessiveHalvingConfig(
    screened=12,
    candidates=9,
    drawn=3,
    steps=2,
    decision=3,
    seeds=2,
    finalists=1,
    largest=3.0,
    perturbations=0,
    give_up=False,
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    task = ImageTask.of(tiny.images(), train_images=100, valid_images=90, size=8, seed=3)
    spec = NetworkSpec(channels=2, depth=1, classes=task.outputs(), in_channels=task.in_channels)
    return Problem(NASBench201(), task, spec, batch_size=10, seed=3)


class Played:
    """A search step by step, with what each of its phases has done."""

    def __init__(self, problem: Problem, config: SuccessiveHalvingConfig, epochs: int = 2) -> None:
        self.method = SuccessiveHalving(config)
        self.state = self.method.init(problem)
        self.trained: dict[str, list[tuple[str, int]]] = {}
        self.arms: dict[str, list[str]] = {}
        self.scores: dict[str, list[float]] = {}
        phases = self.method.phases(problem, epochs)
        for phase in phases:
            steps = phase.steps or problem.steps(phase.part)
            for epoch in range(phase.epochs):
                for step in range(steps):
                    ahead = tuple(
                        Ahead(later.name, later.epochs, later.steps or problem.steps(later.part))
                        for later in phases[phases.index(phase) + 1 :]
                    )
                    clock = Clock(epoch, phase.epochs, step, steps, phase.name, ahead)
                    self.method.step(self.state, problem, clock)
                if phase.name != "screen" and self.state.training.now is not None:
                    done = self.state.training.now.text, self.state.training.now.steps
                    self.trained.setdefault(phase.name, []).append(done)
            self.arms[phase.name] = list(self.state.arms)
            self.scores[phase.name] = list(self.state.scores)


@pytest.fixture(scope="module")
def played(problem: Problem) -> Played:
    return Played(problem, CONFIG)


def test_of_a_round_the_best_third_goes_on_and_is_trained_three_times_as_long(played) -> None:
    assert played.method.sizes == [9, 3]
    first, second = played.arms["round 1"], played.arms["round 2"]
    scores = dict(zip(first, played.state.rounds[0][1], strict=True))  # at equal cost
    challengers = sorted(scores.keys() - {RESNET}, key=lambda text: -scores[text])
    assert min(scores[text] for text in second[:-1]) >= scores[challengers[2]]
    assert len(second) == 4
    assert {steps for _, steps in played.trained["round 1"]} == {2}
    assert {steps for _, steps in played.trained["round 2"]} == {6}


def test_the_reference_is_in_every_round_and_in_the_decision(played) -> None:
    for phase in ("round 1", "round 2", "decide"):
        assert played.arms[phase][-1] == played.state.reference
    assert played.state.reference == RESNET


def test_random_architectures_race_with_the_chosen_ones(played) -> None:
    at_random = [text for text in played.state.drawn if text not in played.state.near]
    assert set(at_random[:3]) <= set(played.arms["round 1"])


def test_one_half_of_the_drawn_is_the_reference_with_a_few_changes(problem) -> None:
    def apart(text: str) -> int:
        pairs = zip(text.split("|"), RESNET.split("|"), strict=True)
        return sum(a != b for a, b in pairs)

    for near in (1, 3):
        state = SuccessiveHalving(replace(CONFIG, screened=200, near=near)).init(problem)
        assert len(state.drawn) == 200
        assert set(state.near) < set(state.drawn)
        assert {apart(text) for text in state.near} == set(range(1, near + 1))
        assert RESNET not in state.drawn
        others = [apart(text) for text in state.drawn if text not in state.near]
        # Of six choices with five options each, four fifths differ.
        assert np.mean(others) == pytest.approx(4.8, abs=0.3)
    assert 70 < len(state.near) <= 100  # some come twice
    assert not SuccessiveHalving(replace(CONFIG, near=0)).init(problem).near


def test_a_space_of_the_reference_alone_has_nothing_to_change(problem) -> None:
    arch = problem.space.parse(RESNET)
    alone = problem.space.restrict(dict(arch.items()))
    spec = NetworkSpec(channels=2, depth=1, classes=problem.task.outputs(), in_channels=1)
    lone = Problem(alone, problem.task, spec, batch_size=10, seed=3)
    assert SuccessiveHalving(CONFIG).init(lone).drawn == []


def test_a_step_of_the_clock_is_as_much_work_as_it_has_training_steps(problem) -> None:
    phases = SuccessiveHalving(CONFIG).phases(problem, 2)
    work = {phase.name: phase.work * (phase.steps or 1) for phase in phases}
    steps = {"pilot": CONFIG.steps / CONFIG.eta, "round 1": 2, "round 2": 6, "decide": 3}
    assert {name: work[name] for name in steps} == pytest.approx(steps)
    assert work["train"] == 1


def test_the_decision_trains_both_with_every_seed_equally_long(played) -> None:
    counted = Counter(played.trained["decide"])
    assert set(counted.values()) == {2}
    assert {steps for _, steps in counted} == {3}
    assert {text for text, _ in counted} == set(played.arms["decide"])


def images_of(batches) -> set[bytes]:
    return {x.numpy().tobytes() for batch in batches for x in batch.x}


def test_the_decision_is_by_cross_validation_on_examples_that_the_race_has_not_seen(
    played, problem
) -> None:
    method, state = played.method, played.state
    race = images_of(method._judging(state, problem, "race"))
    folds = [images_of(method._judging(state, problem, "decision", seed)) for seed in (0, 1)]
    assert (len(race), [len(fold) for fold in folds]) == (90, [50, 50])
    assert not folds[0] & folds[1]
    assert not race & (folds[0] | folds[1])
    for seed, fold in enumerate(folds):
        assert len(method._judging(state, problem, "decision", seed)) == BLOCKS
        task = state.training.folds[seed].task
        trains = images_of([task.batch("train", torch.arange(task.length("train")))])
        assert len(trains) == 140  # all others, those of the race among them
        assert race < trains
        assert not trains & fold
    state.training.begin(RESNET, 2, repetition=2, fold=1)
    assert len(state.training.now._stream.examples) == 140


def test_a_part_that_the_data_came_with_judges_alone() -> None:
    """It was chosen to be like what comes later, which folds of the others may not be."""
    every = tiny.images()
    task = ImageTask.of(every, train_images=100, valid_images=90, size=8, seed=3)
    task.own_valid = True
    spec = NetworkSpec(channels=2, depth=1, classes=task.outputs(), in_channels=task.in_channels)
    problem = Problem(NASBench201(), task, spec, batch_size=10, seed=3)
    method = SuccessiveHalving(CONFIG)
    state = method.init(problem)
    assert not state.training.folds
    halves = [images_of(method._judging(state, problem, w)) for w in ("race", "decision")]
    assert [len(half) for half in halves] == [30, 60]
    assert not halves[0] & halves[1]


def test_the_gain_is_that_of_the_decisions_scores(played) -> None:
    decision = played.method.decision(played.state)
    table = np.array(played.state.decided)
    assert table.shape == (2, 2, BLOCKS)
    assert decision.gain == crossed_contrast(table.tolist(), 0, 1)
    assert decision.gain.difference == pytest.approx(table[0].mean() - table[1].mean())
    assert decision.against == "the reference (ResNet)"


@pytest.mark.parametrize("gain", [3.0, 0.2, -3.0])
def test_the_result_is_the_finalist_if_it_is_probably_better(problem, gain) -> None:
    method = SuccessiveHalving(CONFIG)
    state = method.init(problem)
    state.arms = [state.drawn[0], state.reference]
    noise = np.random.default_rng(0).normal(size=(2, 2, BLOCKS))
    state.decided = (noise - noise.mean((1, 2), keepdims=True) + [[[gain]], [[0.0]]]).tolist()
    interval = method.decision(state).gain
    assert interval.difference == pytest.approx(gain)
    probably = gain > (gain - interval.low) / 2
    assert probably is (gain == 3.0)  # twice the standard error is about 1 here
    found = problem.space.format(method.derive(state, problem.space))
    assert found == (state.drawn[0] if gain == 3.0 else RESNET)


def test_the_long_training_costs_what_so_many_epochs_of_the_reference_would(
    played, problem
) -> None:
    ((text, steps), *_) = played.trained["train"]

    def counted(arch: str) -> float:
        found = cost.of(problem.space, problem.space.parse(arch), problem.spec, (1, 8, 8))
        return found.flops + CONFIG.flops_per_byte * found.memory_access

    epochs = 2 * problem.steps("pool")
    assert steps == round(epochs * counted(RESNET) / counted(text))


def test_a_doubling_is_worth_what_a_power_law_says() -> None:
    def score(steps: float) -> float:
        return 100 - 80 * steps**-0.25

    lengths = [(n, score(n)) for n in (100, 300, 900)]
    curve = LearningCurve(lengths, 100.0)
    assert curve.doubling(5000) == pytest.approx(score(10_000) - score(5000))
    assert LearningCurve(lengths[:1], 100.0).doubling(5000) == 0
    assert LearningCurve(lengths, np.inf).doubling(5000) == 0
    assert LearningCurve([(100, 60.0), (300, 60.0)], 100.0).doubling(5000) == 0  # saturated


def test_a_race_whose_rest_costs_more_than_it_finds_ends_and_the_reference_has_its_steps(
    problem,
) -> None:
    """A lead that shrinks with the error, against the steps of the rest, by one power law."""
    config = replace(CONFIG, give_up=True, candidates=3, steps=300, decision=700, seeds=2)
    method = SuccessiveHalving(config)
    last, rest = 3000, 2 * 700 * 2  # of two equally dear architectures
    errors = {steps: 80 * steps**-0.25 for steps in (100, 300, last, last + rest)}
    worth = (errors[last] - errors[last + rest]) * errors[300] / errors[last]
    clock = Clock(3, 4, 9, 10, "round 1", (Ahead("train", 10, 300),))
    for lead, spared in ((1.1 * worth, 0), (0.5 * worth, rest), (-1.0, rest)):
        state = method.init(problem)
        state.lengths = [[steps, 100 - errors[steps]] for steps in (100, 300)]
        arms = [*state.drawn[:3], state.reference]
        state.costs = dict.fromkeys(arms, 1.0)
        now = 100 - errors[300]
        state.rounds = [[arms, [now + lead, now - 5, now - 5, now]]]
        assert method._spared(state, problem, clock) == spared
        state.spared = spared
        said = method.explanation(state)
        by_then, more = lead * errors[last] / errors[300], errors[last] - errors[last + rest]
        assert (said != "") is (spared > 0)
        assert said.startswith("no candidate was ahead") is (lead < 0)
        if spared and lead > 0:
            assert f"the reference, {by_then:.2g} by the end" in said
            assert f"is less than the {more:.2g} that the steps" in said
        assert (method.derived(state) == state.reference) is (spared > 0)
        assert method.ended(state, replace(clock, phase="decide")) is (spared > 0)
        assert not method.ended(state, replace(clock, phase="train"))


def test_scores_are_compared_at_equal_cost(played, problem) -> None:
    """Each is lowered by a doubling's worth for each doubling of the reference's cost."""
    lengths = played.state.lengths
    assert [n for n, _ in lengths] == [1, 2, 6]
    curve = LearningCurve([(n, s) for n, s in lengths[:2]], 100.0)
    slope = curve.doubling(2 * problem.steps("pool"))
    raw = played.scores["round 1"]
    arms, equal = played.state.rounds[0]
    costs = [played.method.cost_of(played.state, problem, text) for text in arms]
    wanted = [s - slope * np.log2(c / costs[-1]) for s, c in zip(raw, costs, strict=True)]
    assert equal == pytest.approx(wanted)
    assert equal[-1] == raw[-1]


def test_candidates_cost_at_most_so_many_times_the_reference(problem) -> None:
    method = SuccessiveHalving(replace(CONFIG, largest=1.0, screened=40))
    state = method.init(problem)
    most = method.cost_of(state, problem, RESNET)
    costs = [method.cost_of(state, problem, text) for text in method.candidates_of(state, problem)]
    assert costs
    assert max(costs) <= most


def test_without_a_screen_the_first_that_are_cheap_enough_race(problem) -> None:
    method = SuccessiveHalving(replace(CONFIG, screened=0, largest=1.0, candidates=5, drawn=2))
    state = method.init(problem)
    most = method.cost_of(state, problem, RESNET)
    cheap = [text for text in state.drawn if method.cost_of(state, problem, text) <= most]
    assert len(cheap) < len(state.drawn) == 50
    at_random = [text for text in cheap if text not in state.near][:2]
    rest = [text for text in cheap if text not in at_random][:3]
    assert method.candidates_of(state, problem) == [*rest, *at_random]


def test_the_screen_takes_the_best_of_each_band_by_the_sum_of_ranks(problem) -> None:
    method = SuccessiveHalving(replace(CONFIG, largest=0.0, bands=2, candidates=4, drawn=0))
    state = method.init(problem)
    values = np.random.default_rng(0).normal(size=(len(state.drawn), 2))
    state.proxies = values.tolist()
    ranks = values.argsort(0).argsort(0).sum(1)
    costs = [method.cost_of(state, problem, text) for text in state.drawn]
    order = np.argsort(costs, kind="stable")
    wanted = set()
    for band in np.array_split(order, 2):
        best = sorted(band, key=lambda i: -ranks[i])[:2]
        wanted |= {state.drawn[i] for i in best}
    found = method.candidates_of(state, problem)
    # Equal sums may stand either way; their ranks may not.
    assert sorted(ranks[state.drawn.index(t)] for t in found) == sorted(
        ranks[state.drawn.index(t)] for t in wanted
    )


def test_what_zero_cost_pt_chooses_races(problem) -> None:
    played = Played(problem, replace(CONFIG, perturbations=2, candidates=3, drawn=0, screened=4))
    chosen = played.state.perturbed
    assert len(chosen) == 2
    assert set(chosen) - {RESNET} <= set(played.arms["round 1"])


def test_what_no_proxy_reads_is_not_screened_by_it() -> None:
    """A network without ReLUs; its proxies are asked for by hand."""
    problem = tiny.problem(space_of(tiny.smooth()))
    assert screening.computable(["nwot", "synflow", "epe_nas"], problem) == ["synflow", "epe_nas"]
    found = Played(problem, replace(CONFIG, candidates=2, drawn=0), epochs=1)
    assert found.state.computable == ["synflow"]
    assert {len(scores) for scores in found.state.proxies} == {1}


def test_without_candidates_the_reference_is_trained(problem) -> None:
    found = Played(problem, replace(CONFIG, candidates=0), epochs=1)
    assert set(found.trained) == {"train"}
    assert problem.space.format(found.method.derive(found.state, problem.space)) == RESNET
    assert found.method.network(found.state, problem.space) is not None
    assert found.method.decision(found.state) is None


def test_a_network_that_cannot_be_trained_loses_and_the_search_goes_on(problem) -> None:
    config = replace(
        CONFIG, screened=0, candidates=2, drawn=1, weights=replace(CONFIG.weights, lr=1e3)
    )
    config = replace(config, weights=replace(config.weights, clip=0.0))
    found = Played(problem, replace(config, steps=20, decision=4), epochs=1)
    assert found.method.derive(found.state, problem.space) is not None


def test_the_run_delivers_the_long_training_and_says_what_it_decided(tmp_path: Path) -> None:
    result = search(
        replace(CONFIG, candidates=2, drawn=1, screened=0, largest=0.0, perturbations=1),
        data=tiny.images(),
        settings=tiny.changed(
            tiny.SETTINGS, epochs=1, train_images=100, valid_images=90, batch_size=10
        ),
        space="nasbench201",
        run=tmp_path / "run",
    )
    written = RunDirectory(tmp_path / "run").result()
    assert result.comparison is not None
    (verdict,) = result.comparison.verdicts
    assert verdict.against == "the reference (ResNet)"
    assert verdict.seeds == 2
    assert written["comparison"]["verdicts"][0]["difference"] == verdict.difference
    rows = {row["phase"]: row for row in result.history}
    assert rows["train"]["trained"] == result.text
    assert rows["train"]["examples"]["pool"] > 0
    x = torch.randn(2, 1, 16, 16)
    assert result.network()(x).shape == (2, tiny.CLASSES)
