"""Neural architecture search using progressive evolution: pEvoNAS.

Paper: Sinha, Chen. GECCO 2022. arXiv 2203.01559.

The fewer options an edge has, the less they disturb one another in a supernet, and the better it
ranks. So the space shrinks towards where a genetic algorithm finds good architectures.

    all options are allowed
    for K in the progression, after a first stage with all options
        1. train the supernet of the allowed options, for each batch as a random mixture of them; a
           later stage begins with the weights of the one before
        2. a random population of P, then generations of a genetic algorithm, with the weights held
           a. accuracy of each architecture on search-validation examples, of each only once
           b. stop if the best has been the same for so many generations (`patience`)
           c. the next population: the best one as it is, and children of two parents, each the
              best of S drawn; for each choice the row of either parent, and with probability p_m a
              random row instead
        3. allow for each choice the K options with the largest entries in the best one's row
    return the best of the last stage

An architecture is a row of reals between 0 and 1 for each choice, one for each allowed option, from
which the space's rule derives it. It is scored as the softmax of its one-hot rows (`soft`): the
chosen one of K weighs e / (e + K - 1), 0.40 of five and 0.73 of two. With `path` only what is
chosen runs, in the scores and in training, where paths are then drawn uniformly; it is less work.

A stage is a mask on one supernet, with an optimiser of its own. Only the largest entry of a row
matters to fitness, so that the companions that `best` keeps are nearly arbitrary; `vote` counts in
whose K largest an option is, over the population, and `marginal` takes the mean fitness of what was
evaluated with it.

Departures. The paper's body was not to be had; this is the authors' code, with inheritance, which
their configuration for NAS-Bench-201 switches off. Norms use the statistics of each validation
batch, as the code does in NAS-Bench-201. Validation examples are not augmented; in the DARTS space
the code crops, flips and cuts them, so that the one score it keeps of an architecture is a chance
draw. Equal accuracies are ordered by loss. Choices that may keep more than K options keep as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from morphogen.bilevel.gates import mixed_path, relaxed_gates
from morphogen.bilevel.optimisers import SGD
from morphogen.bilevel.state import SupernetState, new_supernet, weight_step
from morphogen.core import Architecture, ConfigError, SpaceError
from morphogen.core.config import Count, Natural, Positive, Probability, SomeImages, config
from morphogen.core.ranges import COUNT
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.evolution import RealCode, tournament
from morphogen.evolution.operators import RETRIES
from morphogen.evolution.reals import Reals
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.spaces import Differentiable, SearchSpace, SubspaceMask
from morphogen.supernets import Gates
from morphogen.supernets.gates import live_masks
from morphogen.supernets.relaxations import softmax
from morphogen.tasks.problem import Clock, Problem, trainable

TOGETHER = 2048
"""Validation examples of a batch, whose statistics norms use (authors' code: 2048)."""

OFFERED = 10
"""Architectures of the last stage that stand beside the best."""

SUPERNET, EVOLUTION = "supernet", "evolution"
"""First words of phases; the second is the stage, from 1."""


@config
class PEvoNASConfig:
    """pEvoNAS, as its authors run it in NAS-Bench-201."""

    progression: str = "3,2"
    """K, options of a choice in the stages after the first, with commas (code: 3,2; DARTS space
    5,2)"""
    rule: Literal["best", "vote", "marginal"] = "best"
    """what decides which options stay (code: best)"""
    inherit: bool = True
    """begin a stage with the weights of the one before (paper: yes)"""
    seed_best: bool = False
    """begin a stage's population with the best of the one before (code: no)"""
    forward: Literal["soft", "path"] = "soft"
    """random mixtures and the softmax of one-hot rows (code), or what is chosen and nothing else"""
    scale: Positive = 1.0
    """largest entry of a training mixture's random alphas, soft only (code: 1; DARTS: 0.001)"""
    population: Annotated[int, Field(ge=2, le=COUNT.most)] = 20
    """P (paper: 20)"""
    generations: Count = 100
    """generations of a stage at most (code: 100; DARTS space 200)"""
    patience: Natural = 10
    """generations without another best one that end a stage (code: 10)"""
    contestants: Count = 5
    """S, of whom a parent is the best (code: 5)"""
    mutation: Probability = 0.1
    """p_m, probability of a random row, for each choice (code: 0.1)"""
    fitness_images: SomeImages = 0
    """search-validation examples an architecture is scored on; 0: all (paper: all)"""
    weights: SGD = SGD(weight_decay=3e-4)


def progression_of(text: str) -> tuple[int, ...]:
    """The numbers in `3,2`; none in an empty text.

    Raises:
        ConfigError: one is no whole number of 2 or more, or larger than the one before.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    numbers = tuple(int(part) if part.isdecimal() and len(part) < 5 else 0 for part in parts)
    if any(n < 2 for n in numbers) or list(numbers) != sorted(numbers, reverse=True):
        raise ConfigError(
            f"progression is {text!r}; accepted: whole numbers of 2 or more, none larger than the "
            "one before, with commas"
        )
    return numbers


@dataclass
class ProgressiveEvolution:
    """Which options are allowed, and how far the genetic algorithm of this stage is."""

    allowed: dict[str, list[str]]
    """Of each choice."""
    stage: int = 0
    """Stages that are over."""
    genes: list[list[float]] = field(default_factory=list)
    """The population: a real for each allowed option; sorted, best first, after a generation."""
    texts: list[str] = field(default_factory=list)
    """Their architectures, in the space's notation."""
    fitness: dict[str, list[float]] = field(default_factory=dict)
    """Of all that was evaluated in this stage, compared from left to right."""
    bests: list[str] = field(default_factory=list)
    """The best of each generation of this stage."""
    seed: list[float] = field(default_factory=list)
    """What the population is to begin with; empty: nothing."""
    found: str = ""
    """The best of the last generation of all; empty before the first."""
    _mask: tuple[int, SubspaceMask] | None = field(
        default=None, repr=False, metadata={"checkpoint": False}
    )

    def mask(self, space: SearchSpace) -> SubspaceMask:
        """What is allowed, of the whole space."""
        if self._mask is None or self._mask[0] != self.stage:
            self._mask = self.stage, SubspaceMask.of(space, self.allowed)
        return self._mask[1]


@dataclass
class PEvoNASState(SupernetState):
    """A supernet, and how far evolution is."""

    search: ProgressiveEvolution
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})


@method(
    "pevonas",
    config=PEvoNASConfig,
    needs=[Differentiable],
    epochs=50,
    limits=True,
    quick={"epochs": 11, "generations": 6, "fitness_images": 500, "forward": "path"},
    published={
        "nasbench201": {"batch_size": 256},
        "darts": {
            "network.depth": 20,
            "task.cutout": 16,
            "progression": "5,2",
            "generations": 200,
            "scale": 1e-3,
            "weights.nesterov": False,
        },
    },
)
class PEvoNAS:
    """A supernet that shrinks towards the best of a genetic algorithm, stage by stage."""

    def __init__(self, config: PEvoNASConfig) -> None:
        self.config = config
        self.progression = progression_of(config.progression)

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Per stage: training, then a generation an epoch.

        The first training is left out if the supernet is trained on these data.
        """
        c = self.config
        trained = problem.start is not None and problem.start.other_outputs is None
        return [
            phase
            for stage in range(len(self.progression) + 1)
            for phase in (
                Phase(
                    f"{SUPERNET} {stage + 1}", 0 if trained and not stage else epochs, part="train"
                ),
                Phase(f"{EVOLUTION} {stage + 1}", c.generations, c.population),
            )
        ]

    def init(self, problem: Problem) -> PEvoNASState:
        """A supernet of all options."""
        net = new_supernet(problem)
        evaluator = SupernetEvaluator(
            problem, norms="batch", examples=self.config.fitness_images, batch_size=TOGETHER
        )
        optimiser = self.config.weights.make(trainable(net).values())
        return PEvoNASState(net, optimiser, self.start(problem.space), evaluator)

    def start(self, space: SearchSpace) -> ProgressiveEvolution:
        """All options allowed."""
        return ProgressiveEvolution({c.name: list(c.options) for c in space.choices})

    def step(self, state: PEvoNASState, problem: Problem, clock: Clock) -> Metrics:
        """A step of the supernet's weights, or the score of an architecture."""
        word, number = clock.phase.split()
        if int(number) - 1 > state.search.stage:
            self._next_stage(state, problem)  # 3
        if word == SUPERNET:
            return {"train_loss": self._train(state, problem, clock)}  # 1
        return self._evolve(state, problem, clock)  # 2

    def _next_stage(self, state: PEvoNASState, problem: Problem) -> None:
        self.shrink(state.search, problem.space)
        if not self.config.inherit:
            state.net.load_state_dict(problem.supernet().state_dict())
        state.weight_optimiser = self.config.weights.make(state.weights)

    def _train(self, state: PEvoNASState, problem: Problem, clock: Clock) -> Tensor:
        c, space, device = self.config, problem.space, problem.devices.device
        mask = state.search.mask(space)
        if c.forward == "path":
            gates = Gates.of(space, mask.sample(problem.numpy_rng), device)
        else:
            alphas = [
                c.scale * torch.rand(rows.shape, generator=problem.search_rng).to(device)
                for rows in space.masks.values()
            ]
            gates = relaxed_gates(space, alphas, softmax, live_masks(space, mask.allowed))
        return weight_step(state, problem, problem.batch("train"), gates, c.weights, clock)

    def _evolve(self, state: PEvoNASState, problem: Problem, clock: Clock) -> dict[str, float]:
        space, search = problem.space, state.search
        if clock.step == 0:
            self.breed(search, space, problem.numpy_rng)  # c
        told: dict[str, float] = {}
        text = search.texts[clock.step]
        if text not in search.fitness:
            gates = self.gates_of(space.parse(text), problem, search)
            found = state.evaluator.under(state.net, gates)  # a
            search.fitness[text] = list(found.key)
            told |= state.evaluator.row(found)
        if clock.last:
            self.rank(search)
            metric = problem.task.metric
            told[f"best_{metric.name}"] = metric.score(search.fitness[search.found][0])
            told["evaluated"] = float(len(search.fitness))
        return told

    def gates_of(self, arch: Architecture, problem: Problem, search: ProgressiveEvolution) -> Gates:
        """How an architecture is shown to the supernet of a stage."""
        space, device = problem.space, problem.devices.device
        if self.config.forward == "path":
            return Gates.of(space, arch, device)
        live = live_masks(space, search.mask(space).allowed)
        return mixed_path(space, arch, live, device)

    def ended(self, state: PEvoNASState, clock: Clock) -> bool:
        """Evolution is over when the best of a generation is that of the generations before it."""
        return clock.phase.startswith(EVOLUTION) and self.settled(state.search)  # b

    # -- evolution, which knows of no supernet -----------------------------------------------

    def breed(
        self, search: ProgressiveEvolution, space: SearchSpace, rng: np.random.Generator
    ) -> None:
        """The next population; the first one of a stage is random."""
        c, code = self.config, RealCode(search.mask(space).space)
        sorted_genes = [np.array(genes) for genes in search.genes]
        search.genes, search.texts = [], []

        def accept(x: Reals) -> bool:
            arch = code.decode(x)
            if not space.allows(arch):
                return False
            search.genes.append(x.tolist())
            search.texts.append(space.format(arch))
            return True

        if sorted_genes:
            accept(sorted_genes[0])
        elif search.seed:
            accept(np.array(search.seed))
        order = [-float(place) for place in range(len(sorted_genes))]

        def parent() -> Reals:
            return sorted_genes[tournament(order, c.contestants, rng, replacement=False)]

        def child() -> Reals:
            if not sorted_genes:
                return code.random(rng)
            return code.reset_rows(code.cross_rows(parent(), parent(), rng), c.mutation, rng)

        while len(search.genes) < c.population:
            if any(accept(child()) for _ in range(RETRIES)):
                continue
            if not search.genes:
                raise SpaceError(
                    f"space {space.name!r}: none of {RETRIES} random architectures is within its "
                    "limits; accepted: a limit that more architectures keep"
                )
            accept(np.array(search.genes[0]))

    def rank(self, search: ProgressiveEvolution) -> None:
        """Sort a population whose fitness is known, and note its best."""
        pairs = zip(search.texts, search.genes, strict=True)
        # Sorting is stable: of equals the elite stays first.
        ordered = sorted(pairs, key=lambda pair: search.fitness[pair[0]], reverse=True)
        search.texts = [text for text, _ in ordered]
        search.genes = [genes for _, genes in ordered]
        search.found = search.texts[0]
        search.bests.append(search.found)

    def settled(self, search: ProgressiveEvolution) -> bool:
        """Whether the last generation's best is that of `patience` generations before it, too."""
        last = search.bests[-self.config.patience - 1 :]
        return len(last) > self.config.patience and len(set(last)) == 1

    def shrink(self, search: ProgressiveEvolution, space: SearchSpace) -> None:
        """The next stage: fewer options of each choice, and no population yet."""
        size = self.progression[search.stage]
        code = RealCode(search.mask(space).space)
        choices = [c for several in space.groups.values() for c in several]
        scores = self._option_scores(search, space, code, size)
        kept: list[NDArray[np.intp]] = []
        allowed: dict[str, list[str]] = {}
        for choice, row in zip(choices, scores, strict=True):
            stay = max(size, choice.least, choice.most)
            places = np.sort(np.argsort(-row, kind="stable")[:stay])
            allowed[choice.name] = [search.allowed[choice.name][i] for i in places]
            kept.append(places)
        best = np.array(search.genes[0])
        seed = [best[row][places] for row, places in zip(code.rows, kept, strict=True)]
        search.seed = np.concatenate(seed).tolist() if self.config.seed_best else []
        search.allowed = {c.name: allowed[c.name] for c in space.choices}
        search.stage += 1
        search.genes, search.texts, search.bests, search.fitness = [], [], [], {}

    def _option_scores(
        self, search: ProgressiveEvolution, space: SearchSpace, code: RealCode, size: int
    ) -> list[Reals]:
        """A row for each choice, group after group: what speaks for each allowed option."""
        if self.config.rule == "best":
            best = np.array(search.genes[0])
            return [best[row] for row in code.rows]
        if self.config.rule == "vote":
            votes = np.zeros(code.length)
            for genes in map(np.array, search.genes):
                for row in code.rows:
                    votes[row.start + np.argsort(-genes[row], kind="stable")[:size]] += 1
            return [votes[row] for row in code.rows]
        archs = {space.parse(text): key[0] for text, key in search.fitness.items()}
        return [
            np.array([_mean_with(archs, choice.name, option) for option in choice.options])
            for several in code.space.groups.values()
            for choice in several
        ]

    # -- what is told ------------------------------------------------------------------------

    def candidates(self, state: PEvoNASState, space: SearchSpace) -> list[Candidate]:
        """The best few that the last stage evaluated."""
        metric, fitness = state.evaluator.problem.task.metric, state.search.fitness
        texts = sorted(fitness, key=lambda text: fitness[text], reverse=True)[:OFFERED]
        return [
            Candidate(space.parse(text), {metric.name: metric.score(fitness[text][0])})
            for text in texts
        ]

    def derive(self, state: PEvoNASState, space: SearchSpace) -> Architecture | None:
        """The best of the last generation; None before the first."""
        return space.parse(state.search.found) if state.search.found else None


def _mean_with(fitness: Mapping[Architecture, float], choice: str, option: str) -> float:
    """The mean over architectures that keep an option; minus infinity if none does."""
    found = [value for arch, value in fitness.items() if option in arch[choice]]
    return float(np.mean(found)) if found else -np.inf
