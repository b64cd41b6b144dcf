"""Successive halving with a reference in the race: screen, race, decide, train.

Paper: Jamieson, Talwalkar. Non-stochastic best arm identification. AISTATS 2016. arXiv 1502.07943.

    the reference: the space's network made by hand; it is in every round
    1. screen: score many architectures by zero-cost proxies, without training, and add up their
       ranks: one half random ones, the other the reference with a few choices changed; and have
       Zero-Cost-PT choose in an untrained supernet (arXiv 2106.06799);
       candidates are its choices, the best of each band of cost, and some drawn at random
    2. pilot: train the reference for 1/eta of a first training
       race: train every candidate for a short while and measure it on the search-validation
       part; keep the best 1/eta, train them anew for eta times as long, and so on
    3. decide: train the last few and the reference with several seeds, each on all but a fold of
       the train part, and measure them on that fold, which chose nothing so far; the best finalist
       is the result if it is probably better than the reference, by more than half of what its
       interval reaches down; else the reference
    4. train: one long training of the result, on both parts of the search data; its network is
       delivered

Trainings of one round have equally many steps. The long one costs what so many epochs of the
reference would: what is twice as dear has half of them. So scores are compared at equal cost: less
what a doubling of the steps is worth at the length of the long training, for each doubling of cost.
That is read off the reference, which is trained at several lengths: its error, the distance to the
best value that the metric can have, is taken to fall as a power of the steps. (Equal cost in short
trainings would not do: what is cheap learns first.) Candidates of more than `largest` times the
reference's cost are left out. Cost is counted, not timed, so that equal runs are equal: the FLOPs
of a pass and the bytes that it moves, in FLOPs each. The learning rate falls to its end in every
training, whatever its length: a score is that of a finished small training, not of an unfinished
long one.

After each round it is asked whether the rest of the search pays: the best candidate's lead over the
reference, reduced as the reference's error is until the end, against what the steps of the rest
would be worth there. If it does not, the reference has those steps.

Few examples make a search, since many have no time for one; so as many as may be judge: in the
decision, by cross-validation, up to all of the train part. Where data came with a search-validation
part, that is what judges: a third of it in the race, the others in the decision.

An epoch of the screen scores `SCREENED` architectures; in race and decision it is one training.

Departures. The paper's arms go on where they stood, ours begin anew with a schedule of the new
length. Screening, the reference, the seeds of the decision and the long training are not the
paper's, which speaks of the halving alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from morphogen import cost
from morphogen.bilevel.gates import softmax_gates, start_alphas
from morphogen.bilevel.optimisers import SGD, Optimiser
from morphogen.core import Architecture, NumericalError
from morphogen.core.config import Amount, Count, Natural, config
from morphogen.core.statistics import crossed_contrast
from morphogen.evaluators.crossvalidation import CrossValidation
from morphogen.evaluators.learning_curve import LearningCurve
from morphogen.evaluators.ongoing import OngoingTraining
from morphogen.methods._contract import Candidate, Decision, Metrics, Phase, method
from morphogen.proxies import named
from morphogen.scoring import Perturbed, Projection, decide_next, screening
from morphogen.scoring.measures import zero_cost
from morphogen.spaces import Differentiable, Discrete, SearchSpace, reference_within
from morphogen.supernets import Supernet
from morphogen.tasks import Batch
from morphogen.tasks.problem import Clock, Problem

PERTURBED = "nwot_eval"
"""The proxy of Zero-Cost-PT."""

SCREENED = 20
"""Architectures of an epoch of the screen."""

SPARE = 10
"""Architectures drawn for each candidate where none are screened."""

TICKS = 10
"""Steps of the clock in an epoch that is a training."""

RACE = 1 / 3
"""Of a search-validation part that the data came with, for the race; the others are for the
decision."""

BLOCKS = 10
"""Blocks of examples on which the decision compares, so that its interval speaks of others too."""

WORST = screening.UNREAD
"""Score of what could not be trained, either."""


@config
class SuccessiveHalvingConfig:
    """Successive halving; the length of the long training is that of the epochs."""

    screened: Natural = 200
    """architectures that zero-cost proxies rank; 0: candidates are drawn at random"""
    near: Natural = 3
    """changes at most in which one half of them differ from the reference; 0: all are random"""
    proxies: str = "nwot,synflow"
    """the proxies whose ranks are added; `morphogen score --help` lists them"""
    perturbations: Natural = 1
    """searches of Zero-Cost-PT, each of which gives a candidate, in spaces that have a supernet of
    all options; 0: none"""
    bands: Count = 3
    """bands of cost, from cheap to dear, of which each gives its best as candidates"""
    candidates: Natural = 8
    """architectures of the first round, beside the reference; 0: no race, the reference is
    trained"""
    drawn: Natural = 2
    """of these, drawn at random"""
    eta: Count = 3
    """of a round's candidates one in eta goes on, to a training eta times as long (paper: eta = 2,
    3 or 4)"""
    steps: Count = 40
    """steps of a training of the first round"""
    finalists: Count = 1
    """candidates of the decision, beside the reference"""
    seeds: Count = 3
    """trainings of each in the decision"""
    decision: Count = 120
    """steps of a training of the decision"""
    largest: Amount = 2.0
    """times the reference's cost that a candidate may have; 0: any"""
    flops_per_byte: Amount = 25.0
    """FLOPs that take as long as moving one byte between memory and processor; 0: cost is counted
    in FLOPs alone"""
    give_up: bool = True
    """end the race where its rest costs more than it finds; the reference is trained for longer"""
    weights: Optimiser = SGD(lr=0.05, lr_end=0.0)
    """optimiser of every training; Adam where space or data are trained with it"""


@dataclass
class SuccessiveHalvingState:
    """What is known of which architecture; architectures are in the space's notation."""

    reference: str
    """Of the space, or an architecture drawn at random where it has none within the limits."""
    against: str
    """What that is called."""
    drawn: list[str]
    """In the order in which they are screened."""
    near: list[str]
    """Those of them that are the reference with a few changes."""
    training: OngoingTraining
    """Under way, or the one whose network is delivered."""
    best: OngoingTraining
    """The best of the stage's trainings so far."""
    alphas: list[Tensor]
    """Of the perturbation search under way; without one, empty, as the next two."""
    projection: Projection
    """What it has decided."""
    untrained: Supernet | None = field(metadata={"checkpoint": False})
    """In which it decides."""
    perturbed: list[str] = field(default_factory=list)
    """What each finished one chose."""
    computable: list[str] = field(default_factory=list)
    """The proxies that can be had of such data and networks."""
    proxies: list[list[float]] = field(default_factory=list)
    """Of each architecture screened so far, in that order, the score by each proxy."""
    arms: list[str] = field(default_factory=list)
    """Candidates of the round, the reference last."""
    scores: list[float] = field(default_factory=list)
    """Of those arms that the round has trained so far."""
    rounds: list[list[Any]] = field(default_factory=list)
    """Finished rounds: their arms and the scores, at equal cost."""
    lengths: list[list[float]] = field(default_factory=list)
    """Of the reference: steps of each training so far, and its score on the race's examples."""
    decided: list[list[list[float]]] = field(default_factory=list)
    """[finalists, seeds so far, blocks], scores at equal cost; the reference last."""
    worth: dict[str, float] = field(default_factory=dict)
    """Of an arm of the decision: what its cost is worth in steps, in points of score."""
    spared: int = 0
    """Steps of the reference that the rest of the search would have taken, which did not pay."""
    stakes: list[float] = field(default_factory=list)
    """What was asked of that rest: the lead of the best candidate by the end of the long training,
    and what the steps of the rest are worth there."""
    best_score: float = WORST
    best_phase: str = ""
    costs: dict[str, float] = field(default_factory=dict, metadata={"checkpoint": False})
    """Of those that were asked for."""


@method(
    "successive-halving",
    config=SuccessiveHalvingConfig,
    needs=[Discrete],
    epochs=12,
    limits=True,
    anytime=True,
    quick={"epochs": 6},
    descent="weights",
)
class SuccessiveHalving:
    """Screens by proxies, races by short trainings, decides by seeds, and trains the result."""

    def __init__(self, config: SuccessiveHalvingConfig) -> None:
        self.config = config
        named(self._proxies)

    @property
    def _proxies(self) -> list[str]:
        return [name.strip() for name in self.config.proxies.split(",")]

    @property
    def sizes(self) -> list[int]:
        """Candidates of each round, the reference not among them."""
        c = self.config
        if not c.candidates:
            return []
        sizes = [c.candidates]
        while sizes[-1] // c.eta > c.finalists:
            sizes.append(sizes[-1] // c.eta)
        return sizes

    def phases(self, problem: Problem, epochs: int) -> list[Phase]:
        """One for each stage; of the race and of the decision an epoch is a training."""
        c = self.config
        rounds = [(size, c.steps * c.eta**i / TICKS) for i, size in enumerate(self.sizes)]
        return [
            Phase("screen", math.ceil(c.screened / SCREENED) if c.candidates else 0, SCREENED),
            *self._perturbations(problem),
            Phase("pilot", int(c.candidates > 0), TICKS, work=c.steps / c.eta / TICKS),
            *(
                Phase(f"round {number}", size + 1, TICKS, work=work)
                for number, (size, work) in enumerate(rounds, start=1)
            ),
            Phase(
                "decide",
                (c.finalists + 1) * c.seeds if c.candidates else 0,
                TICKS,
                work=c.decision / TICKS,
            ),
            Phase("train", epochs, part="pool"),
        ]

    def _perturbations(self, problem: Problem) -> list[Phase]:
        """The phase of Zero-Cost-PT, where there are networks with all options at once."""
        c = self.config
        fit = c.candidates and c.perturbations and self.perturbs(problem)
        steps = Projection(problem.space).steps() if fit else 0
        return [Phase("perturb", self.config.perturbations if steps else 0, steps)]

    def perturbs(self, problem: Problem) -> bool:
        """Whether Zero-Cost-PT can be run: in the space, and on such data."""
        fit = isinstance(problem.space, Differentiable)
        return fit and bool(screening.computable([PERTURBED], problem))

    def init(self, problem: Problem) -> SuccessiveHalvingState:
        """The reference, and architectures drawn at random; nothing trained."""
        c, space, rng = self.config, problem.space, problem.numpy_rng
        reference, against = _reference(space, rng)
        known = reference_within(space)
        # Of those that are not screened some are too dear to race.
        wanted = max(c.screened, c.candidates) if c.screened else SPARE * c.candidates
        around = known.architecture if known else None
        drawn = screening.drawn(space, wanted, rng, around=around, near=c.near)
        rest = problem, problem.batch_size, c.weights, CrossValidation(problem, c.seeds)
        perturbs = self._perturbations(problem)[0].epochs > 0
        return SuccessiveHalvingState(
            reference,
            against,
            [text for text in drawn if text != reference],
            [text for text, near in drawn.items() if near],
            OngoingTraining(*rest),
            OngoingTraining(*rest),
            start_alphas(space, problem.search_rng, problem.devices.device) if perturbs else [],
            Projection(space),
            problem.supernet().eval() if perturbs else None,
            computable=screening.computable(self._proxies, problem) if c.screened else [],
        )

    def step(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        """One architecture screened, or a stretch of one training."""
        if clock.phase == "screen":
            return self._screen(state, problem, clock)
        if clock.phase == "perturb" and state.untrained is not None:
            return self._perturb(state, state.untrained, problem, clock)
        if clock.phase == "pilot":
            return self._pilot(state, problem, clock)
        if clock.phase == "decide":
            return self._decide(state, problem, clock)
        if clock.phase == "train":
            return self._train(state, problem, clock)
        return self._race(state, problem, clock)

    def ended(self, state: SuccessiveHalvingState, clock: Clock) -> bool:
        """A small space has fewer architectures than there were to be; or the rest did not pay."""
        if clock.phase == "screen":
            return len(state.proxies) == len(state.drawn)
        if state.spared:
            return clock.phase != "train"
        return clock.phase.startswith("round") and len(state.scores) == len(state.arms)

    # -- 1 -----------------------------------------------------------------------------------

    def _screen(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        place = clock.epoch * clock.steps + clock.step
        if place >= len(state.drawn):
            return {}
        arch = problem.space.parse(state.drawn[place])
        scores = screening.scores(state.computable, problem, arch)
        state.proxies.append(list(scores.values()))
        return {name: score for name, score in scores.items() if WORST < score < math.inf}

    def _perturb(
        self, state: SuccessiveHalvingState, net: Supernet, problem: Problem, clock: Clock
    ) -> Metrics:
        """One decision: the operation stays without which the proxy of the network is lowest."""
        space = problem.space
        if clock.step == 0 and clock.epoch:  # the first search's are drawn in `init`
            state.alphas = start_alphas(space, problem.search_rng, problem.devices.device)
            state.projection = Projection(space)
        decide_next(
            state.projection,
            lambda: state.projection.gates(state.alphas),
            Perturbed(zero_cost(problem, net, PERTURBED, screening.examined(problem))),
            "random",
            problem.numpy_rng,
        )
        if clock.last:
            found = state.projection.derive(softmax_gates(space, state.alphas))
            state.perturbed.append(space.format(found))
        return {}

    def candidates_of(self, state: SuccessiveHalvingState, problem: Problem) -> list[str]:
        """Those of the first round: the best of each band of cost, and some at random."""
        c, drawn = self.config, state.drawn
        costs = [self.cost_of(state, problem, text) for text in drawn]
        most = c.largest * self.cost_of(state, problem, state.reference) if c.largest else math.inf
        within = [i for i, one in enumerate(costs) if one <= most] or list(range(len(costs)))
        at_random = [i for i in within if drawn[i] not in state.near] or within
        at_random = at_random[: min(c.drawn, c.candidates)]
        chosen = within
        if state.proxies and state.proxies[0]:
            sums = screening.ranks(state.proxies)
            chosen = screening.best_of_bands({i: costs[i] for i in within}, sums, c.bands)
        ranked = [*state.perturbed, *(drawn[i] for i in chosen)]
        rest = [drawn[i] for i in at_random]
        best = [text for text in dict.fromkeys(ranked) if text not in (*rest, state.reference)]
        return [*best[: c.candidates - len(rest)], *rest]

    # -- 2 -----------------------------------------------------------------------------------

    def _pilot(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        steps = max(1, self.config.steps // self.config.eta)
        scores = self._trained(state, problem, clock, state.reference, steps)
        if scores is None:
            return {}
        state.lengths.append([steps, scores[0]])
        return self._figures(problem, state.reference, scores)

    def _race(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        if state.spared:
            return {}
        number = int(clock.phase.split()[1]) - 1
        if clock.epoch == clock.step == 0:
            kept = self._kept(state, problem, self.sizes[number])
            state.arms, state.scores = [*kept, state.reference], []
        text = state.arms[clock.epoch]
        steps = self.config.steps * self.config.eta**number
        scores = self._trained(state, problem, clock, text, steps)
        if scores is None:
            return {}
        state.scores.append(scores[0])
        if clock.epoch == len(state.arms) - 1:
            state.lengths.append([steps, scores[0]])
            worth = self._worth(state, problem, clock)
            equal = [s - worth[t] for t, s in zip(state.arms, state.scores, strict=True)]
            state.rounds.append([state.arms, equal])
            state.spared = self._spared(state, problem, clock)
        return self._figures(problem, text, scores)

    def _kept(self, state: SuccessiveHalvingState, problem: Problem, count: int) -> list[str]:
        """The best of the round before, without the reference; before the first, candidates."""
        if not state.rounds:
            return self.candidates_of(state, problem)[:count]
        names, scores = state.rounds[-1]
        order = sorted(range(len(names) - 1), key=lambda i: -scores[i])
        return [names[i] for i in order[:count]]

    def _worth(
        self, state: SuccessiveHalvingState, problem: Problem, clock: Clock
    ) -> dict[str, float]:
        """What each arm's score is to be lowered by, for its cost: 0 for the reference's."""
        slope = self._curve(state, problem).doubling(_last(clock))
        reference = self.cost_of(state, problem, state.reference)
        return {
            text: slope * math.log2(self.cost_of(state, problem, text) / reference)
            for text in state.arms
        }

    def _spared(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> int:
        """The steps of the rest of the search, if they are worth more in the long training."""
        c, done = self.config, len(state.rounds)
        names, scores = state.rounds[-1]
        order = sorted(range(len(names) - 1), key=lambda i: -scores[i])
        whole = self.cost_of(state, problem, state.reference)
        shares = [self.cost_of(state, problem, names[i]) / whole for i in order]
        rounds = enumerate(self.sizes[done:], start=done)
        rest = sum((sum(shares[:size]) + 1) * c.steps * c.eta**number for number, size in rounds)
        rest += (sum(shares[: c.finalists]) + 1) * c.seeds * c.decision
        last, curve = _last(clock), self._curve(state, problem)
        now, then = curve.error(state.lengths[-1][0]), curve.error(last)
        lead = (scores[order[0]] - scores[-1]) * (then / now if now else 1.0)
        state.stakes = [lead, curve.doubling(last) * math.log2(1 + rest / last)]
        return 0 if not c.give_up or lead > state.stakes[1] else round(rest)

    def _curve(self, state: SuccessiveHalvingState, problem: Problem) -> LearningCurve:
        """The reference's, as far as it is known."""
        metric = problem.task.metric
        low, high = metric.bounds
        best = float(metric.score(high if metric.higher_is_better else low))
        return LearningCurve([(n, s) for n, s in state.lengths if s > WORST], best)

    # -- 3 -----------------------------------------------------------------------------------

    def _decide(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        c = self.config
        if state.spared:
            return {}
        if clock.epoch == clock.step == 0:
            kept = self._kept(state, problem, c.finalists)
            state.arms = [*kept, state.reference]
            state.decided = [[] for _ in state.arms]
        seed, place = divmod(clock.epoch, len(state.arms))
        if seed >= c.seeds:
            return {}
        text = state.arms[place]
        if clock.epoch == clock.step == 0:
            state.worth = self._worth(state, problem, clock)
        scores = self._trained(state, problem, clock, text, c.decision, seed + 1)
        if scores is None:
            return {}
        state.decided[place].append([score - state.worth[text] for score in scores])
        return self._figures(problem, text, scores)

    def notes(self, state: SuccessiveHalvingState) -> dict[str, str]:
        """Which architecture the epoch has trained."""
        text = state.training.asked.get("text")
        return {"trained": text} if text else {}

    def decision(self, state: SuccessiveHalvingState) -> Decision | None:
        """By how much the best finalist's scores are above the reference's; None before the end."""
        table = state.decided
        if not self._complete(state) or min(len(table[0]), len(table[0][0])) < 2:
            return None
        best = self._best(state)
        gain = crossed_contrast(table, best, len(table) - 1, comparisons=len(table) - 1)
        scores = [float(np.mean(row)) for row in table[best]]
        conditions = f"at equal cost and after {self.config.decision:,} steps each"
        return Decision(state.against, gain, scores, conditions, bool(state.training.folds))

    def explanation(self, state: SuccessiveHalvingState) -> str:
        """Why the reference is the result without a decision."""
        if not self.config.candidates:
            return "there was no race, and the reference was trained for all of the time"
        if not state.spared:
            return ""
        lead, worth = state.stakes
        if lead <= 0:
            return (
                f"no candidate was ahead of the reference after round {len(state.rounds)}, which "
                "ended the race, and the reference had its time"
            )
        return (
            f"the race was ended after round {len(state.rounds)}: the best candidate's lead over "
            f"the reference, {lead:.2g} by the end of the last training, is less than the "
            f"{worth:.2g} that the steps of the rest of the search are worth there, and the "
            "reference had these"
        )

    def _best(self, state: SuccessiveHalvingState) -> int:
        return max(range(len(state.arms) - 1), key=lambda i: float(np.mean(state.decided[i])))

    def _complete(self, state: SuccessiveHalvingState) -> bool:
        return bool(state.decided) and all(len(row) == self.config.seeds for row in state.decided)

    # -- 4 -----------------------------------------------------------------------------------

    def _train(self, state: SuccessiveHalvingState, problem: Problem, clock: Clock) -> Metrics:
        if clock.epoch == clock.step == 0:
            text = self.derived(state)
            planned = clock.epochs * clock.steps + state.spared
            steps = self._steps(state, problem, text, planned)
            state.training.begin(text, steps, part="pool")
        done = clock.epoch * clock.steps + clock.step + 1
        loss = state.training.advance(done, clock.epochs * clock.steps)
        return {} if loss is None else {"train_loss": loss}

    def network(self, state: SuccessiveHalvingState, space: SearchSpace) -> nn.Module | None:
        """That of the long training; before it, the best of the longest so far, if it is it."""
        held = state.training if state.training.asked.get("part") == "pool" else state.best
        if held.now is None or held.now.text != self.derived(state):
            return None
        return held.now.net

    # -- any time ----------------------------------------------------------------------------

    def derive(self, state: SuccessiveHalvingState, space: SearchSpace) -> Architecture:
        """The best so far; the reference, as long as nothing was trained."""
        return space.parse(self.derived(state))

    def derived(self, state: SuccessiveHalvingState) -> str:
        """The text of the best so far."""
        if self._complete(state):
            best, decision = self._best(state), self.decision(state)
            gain = float(np.mean(state.decided[best]) - np.mean(state.decided[-1]))
            low = gain if decision is None else decision.gain.low
            probably = gain > 0 and gain > (gain - (low or 0.0)) / 2
            return state.arms[best] if probably else state.reference
        if not state.rounds or state.spared:
            return state.reference
        names, scores = state.rounds[-1]
        return str(names[scores.index(max(scores))])

    def candidates(self, state: SuccessiveHalvingState, space: SearchSpace) -> list[Candidate]:
        """The arms of the decision, or of the last round, the best first."""
        if self._complete(state):
            means = [float(np.mean(row)) for row in state.decided]
            pairs = list(zip(state.arms, means, strict=True))
        elif state.rounds:
            pairs = list(zip(*state.rounds[-1], strict=True))
        else:
            return []
        pairs.sort(key=lambda pair: -pair[1])
        return [Candidate(space.parse(text), {"score": score}) for text, score in pairs]

    # -- trainings ---------------------------------------------------------------------------

    def _trained(
        self,
        state: SuccessiveHalvingState,
        problem: Problem,
        clock: Clock,
        text: str,
        steps: int,
        repetition: int = 0,
    ) -> list[float] | None:
        """A stretch of a training; at its end, its score in the race, or those of the blocks.

        Args:
            state: to be changed.
            problem: of the search.
            clock: where it is.
            text: the architecture.
            steps: of the whole training.
            repetition: 0 in the race; in the decision, which of the seeds, from 1.
        """
        last = clock.step == clock.steps - 1
        fold = repetition - 1 if repetition and state.training.folds else None
        try:
            if clock.step == 0:
                state.training.begin(text, steps, repetition=repetition, fold=fold)
            state.training.advance(clock.step + 1, clock.steps)
        except NumericalError:  # that is its score
            state.training.now = None
        if not last:
            return None
        if repetition:
            parts = [[block] for block in self._judging(state, problem, "decision", repetition - 1)]
        else:
            parts = [self._judging(state, problem, "race")]
        if state.training.now is None:
            return [WORST] * len(parts)
        judged = sum(batch.size for part in parts for batch in part)
        problem.count_measured("valid" if fold is None else "train", judged)
        scores = state.training.now.scores(parts)
        mean = float(np.mean(scores))
        if clock.phase != state.best_phase or mean > state.best_score:
            state.best_phase, state.best_score = clock.phase, mean
            state.best.load_state_dict(state.training.state_dict())
        return scores

    def _steps(self, state: SuccessiveHalvingState, problem: Problem, text: str, steps: int) -> int:
        """Steps of an architecture that cost as much as so many of the reference."""
        share = self.cost_of(state, problem, state.reference) / self.cost_of(state, problem, text)
        return max(1, round(steps * share))

    def cost_of(self, state: SuccessiveHalvingState, problem: Problem, text: str) -> float:
        """Of a pass of one input, in FLOPs."""
        if text not in state.costs:
            arch, example = problem.space.parse(text), problem.task.example()
            counted = cost.of(problem.space, arch, problem.spec, example)
            moved = self.config.flops_per_byte * counted.memory_access
            state.costs[text] = counted.flops + moved
        return state.costs[text]

    def _judging(
        self,
        state: SuccessiveHalvingState,
        problem: Problem,
        which: Literal["race", "decision"],
        seed: int = 0,
    ) -> list[Batch]:
        """The examples that judge in the race, or with a seed in the decision, of this process."""
        folds, devices = state.training.folds, problem.devices
        if folds and which == "decision":
            problem = folds[seed]
        rows = problem.chosen("valid", 0, "race")
        if not folds:
            middle = max(1, round(len(rows) * RACE))
            rows = rows[:middle] if which == "race" else rows[middle:]
        fewest = folds.smallest if folds and which == "decision" else len(rows)
        examples = problem.task.examples("valid", device=devices.device)
        pieces = rows.tensor_split(max(1, min(BLOCKS, fewest // devices.world)))
        return [examples.batch(piece[devices.rank :: devices.world]) for piece in pieces]

    def _figures(self, problem: Problem, text: str, scores: Sequence[float]) -> Metrics:
        metric = problem.task.metric
        return {f"trained_{metric.name}": metric.score(float(np.mean(scores)))}


def _reference(space: SearchSpace, rng: np.random.Generator) -> tuple[str, str]:
    """What candidates are compared with, and what it is called."""
    known = reference_within(space)
    if known is not None:
        return space.format(known.architecture), f"the reference ({known.name})"
    return space.format(space.sample(rng)), "a random architecture"


def _last(clock: Clock) -> int:
    """Steps of the long training, as planned."""
    return sum(phase.epochs * phase.steps for phase in clock.ahead if phase.phase == "train")
