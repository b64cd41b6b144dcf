"""Novelty driven evolutionary neural architecture search: NEvoNAS.

Paper: Sinha, Chen. GECCO 2022 Companion. arXiv 2204.00188.

A supernet's accuracies are noisy, and a population that follows them alone ends in a local optimum.
So novelty is an objective beside them, and NSGA-II looks for the front of both.

    archive A = {}; a supernet with random weights W; no population yet
    repeat for G generations, each an epoch
        1. P children: at first random ones; then parents by binary tournaments, simulated binary
           crossover with probability p_c, polynomial mutation; no child twice, none of the parents
        2. an epoch of SGD on W over the training part: batch t with the architecture of child
           t mod P
        3. accuracy of each child with W on search-validation examples
        4. novelty of each child: the mean distance to its k nearest among the other children and
           A; afterwards, A takes up all that it has not yet
        5. the best P of parents and children by both objectives are the next parents: whole fronts,
           the last one cut by crowding
    6. score the front once more with the final W; return it, and of it the most accurate one

The distance of two architectures is that of Jaccard between the sets of what they keep: where m
choices keep one option each, c of them the same, it is 1 - c / (2 m - c).

An architecture is a matrix of reals as alphas are, from which the space's rule derives it (`real`),
and trains and is scored as the softmax of its one-hot rows (`soft`): all options run, the chosen
one of m weighs e / (e + m - 1). That is the paper's. Since many matrices are one architecture, a
population of them repeats itself; with `categorical` the space's own mutations and crossovers breed
architectures, none twice, and with `path` only what is chosen runs. Both are the better choice for
searches that are to repeat nothing.

Objectives of parents are those of the generation in which they were scored (`refresh none`, the
paper's), although W and A have moved on; the oldest, scored against a small archive, then look
novel for ever. `criteria` may name more objectives: costs of networks, or a function of your own
(`morphogen.objective`).

Departures. The paper's body was not to be had; this is the authors' code, except where it keeps the
member of the front with the best test accuracy: here validation decides, by the final weights.
Tournaments compare ranks of fronts, then crowding (pymoo: dominance of the two, then crowding).
Norms use the statistics of each validation batch, as the code does in NAS-Bench-201; its running
statistics in the DARTS space are those of a mixture. Validation examples are not augmented. There
is no warm-up and no local competition, which the authors' scripts leave out too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from morphogen.bilevel.gates import mixed_path
from morphogen.bilevel.optimisers import SGD
from morphogen.bilevel.state import SupernetState, new_supernet, weight_step
from morphogen.core import Architecture, ConfigError, SpaceError
from morphogen.core.config import Count, Positive, Probability, SomeImages, config
from morphogen.core.ranges import COUNT
from morphogen.evaluators.objectives import Costs, Objective, beside_the_metric
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.evolution import (
    NoveltyArchive,
    RealCode,
    binary_tournament,
    bred,
    front,
    polynomial_mutation,
    simulated_binary,
    survivors,
)
from morphogen.evolution.operators import RETRIES
from morphogen.evolution.reals import Reals
from morphogen.evolution.selection import crowded
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.spaces import Constrained, Differentiable, SearchSpace, different
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem, trainable

FITNESS, NOVELTY = "fitness", "novelty"

TRIES = 1_000
"""Random vectors after which a limit counts as one that nothing keeps."""

TOGETHER = 1024
"""Validation examples of a batch, whose statistics norms use (authors' code: 1024)."""


@config
class NEvoNASConfig:
    """NEvoNAS, as its authors run it in NAS-Bench-201."""

    population: Annotated[int, Field(ge=2, le=COUNT.most)] = 20
    """P, parents, and children of a generation (paper: 20)"""
    neighbours: Count = 5
    """k, nearest neighbours of which novelty is the mean distance (code: 5, DARTS space 3)"""
    criteria: str = "fitness,novelty"
    """objectives, with commas: fitness, which is the task's metric, novelty, params, flops, memory,
    latency, one of your own (paper: the first two)"""
    encoding: Literal["real", "categorical"] = "real"
    """architectures as matrices of reals (paper), or as they are, none of them twice"""
    crossover: Probability = 0.7
    """p_c, probability that two parents are crossed (code: 0.7)"""
    crossover_index: Positive = 15.0
    """eta of simulated binary crossover, real only (code: 15)"""
    mutation: Probability = 0.2
    """probability of a mutation, for each real or for each choice (code: 0.2)"""
    mutation_index: Positive = 20.0
    """eta of polynomial mutation, real only (code: 20)"""
    forward: Literal["soft", "path"] = "soft"
    """the softmax of one-hot rows (code), or what is chosen and nothing else"""
    refresh: Literal["none", "novelty", "all"] = "none"
    """objectives of parents that are found anew in each generation (code: none)"""
    connected: bool = False
    """breed only architectures whose output depends on their input; others are novel (code: all)"""
    fitness_images: SomeImages = 0
    """search-validation examples an architecture is scored on; 0: all (paper: all)"""
    weights: SGD = SGD(weight_decay=3e-4)


def criteria_of(text: str) -> tuple[str, ...]:
    """The names in `fitness,novelty,params`.

    Raises:
        ConfigError: one is there twice, or neither of the first two is.
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(set(names)) < len(names):
        raise ConfigError(f"criteria are {text!r}, one of them twice; accepted: each once")
    if FITNESS not in names and NOVELTY not in names:
        raise ConfigError(f"criteria are {text!r}; accepted: {FITNESS} or {NOVELTY} among them")
    return names


@dataclass
class Individuals:
    """Architectures and what is known of them; entry i of each list is that of the i-th."""

    texts: list[str] = field(default_factory=list)
    """In the space's notation."""
    genes: list[list[float]] = field(default_factory=list)
    """The reals that they are derived from; empty lists of a categorical encoding."""
    born: list[int] = field(default_factory=list)
    """Generations, from 0."""
    fitness: list[list[float]] = field(default_factory=list)
    """Compared from left to right: score, and the loss with a minus."""
    novelty: list[float] = field(default_factory=list)
    further: list[list[float]] = field(default_factory=list)
    """The other criteria, as scores."""
    points: list[list[float]] = field(default_factory=list)
    """All criteria in their order, higher is better."""

    def __len__(self) -> int:
        return len(self.texts)

    def archs(self, space: SearchSpace) -> list[Architecture]:
        """The architectures."""
        return [space.parse(text) for text in self.texts]

    def of(self, places: Sequence[int], more: Individuals) -> Individuals:
        """Those at these places of these individuals with `more` behind them."""
        columns = (f.name for f in fields(self))
        rows = {name: [*getattr(self, name), *getattr(more, name)] for name in columns}
        return Individuals(**{name: [row[i] for i in places] for name, row in rows.items()})


@dataclass
class NoveltySearch:
    """The population, the generation in flight, and all that was seen."""

    archive: NoveltyArchive
    parents: Individuals = field(default_factory=Individuals)
    children: Individuals = field(default_factory=Individuals)
    generation: int = 0
    """Generations that were bred."""


@dataclass
class NEvoNASState(SupernetState):
    """A supernet, and how far evolution is."""

    search: NoveltySearch
    evaluator: SupernetEvaluator = field(metadata={"checkpoint": False})
    costs: Costs = field(metadata={"checkpoint": False})


@method(
    "nevonas",
    config=NEvoNASConfig,
    needs=[Differentiable],
    epochs=50,
    limits=True,
    quick={
        "population": 10,
        "encoding": "categorical",
        "forward": "path",
        "connected": True,
        "fitness_images": 500,
    },
    published={
        "nasbench201": {"batch_size": 256},
        "darts": {"neighbours": 3, "weights.nesterov": False},
    },
)
class NEvoNAS:
    """NSGA-II on accuracy and novelty, while the supernet trains with the population."""

    def __init__(self, config: NEvoNASConfig) -> None:
        self.config = config
        self.criteria = criteria_of(config.criteria)
        others = [name for name in self.criteria if name not in (FITNESS, NOVELTY)]
        found = beside_the_metric(others, also=(FITNESS, NOVELTY))
        self.further: dict[str, Objective] = {o.name: o for o in found}

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """One, whose epoch is a generation and a pass over the training part."""
        return [Phase("search", epochs, part="train")]

    def init(self, problem: Problem) -> NEvoNASState:
        """A supernet and no generation yet."""
        net = new_supernet(problem)
        evaluator = SupernetEvaluator(
            problem, norms="batch", examples=self.config.fitness_images, batch_size=TOGETHER
        )
        costs = Costs(problem.space, None, problem.spec, problem.task.example())
        return NEvoNASState(
            net, self.config.weights.make(trainable(net).values()), self.start(), evaluator, costs
        )

    def start(self) -> NoveltySearch:
        """An empty archive."""
        return NoveltySearch(NoveltyArchive(self.config.neighbours))

    def step(self, state: NEvoNASState, problem: Problem, clock: Clock) -> Metrics:
        """One step with a child's architecture; after an epoch's last, the next population."""
        c, space, search = self.config, problem.space, state.search
        if clock.step == 0:
            self.breed(search, space, problem.numpy_rng)  # 1
        child = space.parse(search.children.texts[clock.step % len(search.children)])
        gates = self.gates_of(child, problem)
        loss = weight_step(state, problem, problem.batch("train"), gates, c.weights, clock)  # 2
        told: dict[str, float | Tensor] = {"train_loss": loss}
        if clock.last:
            self._score(state, problem, search.children)  # 3
            if c.refresh == "all":
                self._score(state, problem, search.parents)
            self.select(search, space, problem.numpy_rng, state.costs)  # 4, 5
            if clock.epoch == clock.epochs - 1:
                self._score(state, problem, search.parents, self.front(search, space))  # 6
            told |= self._standing(state, space)
        return told

    def gates_of(self, arch: Architecture, problem: Problem) -> Gates:
        """How an architecture is shown to the supernet."""
        device = problem.devices.device
        if self.config.forward == "path":
            return Gates.of(problem.space, arch, device)
        return mixed_path(problem.space, arch, device=device)

    def _score(
        self,
        state: NEvoNASState,
        problem: Problem,
        members: Individuals,
        places: Sequence[int] | None = None,
    ) -> None:
        """Fitness with the weights as they are now, of all members or of those at these places."""
        members.fitness += [[]] * (len(members) - len(members.fitness))
        for i in range(len(members)) if places is None else places:
            gates = self.gates_of(problem.space.parse(members.texts[i]), problem)
            members.fitness[i] = list(state.evaluator.under(state.net, gates).key)

    # -- evolution, which knows of no supernet -----------------------------------------------

    def breed(self, search: NoveltySearch, space: SearchSpace, rng: np.random.Generator) -> None:
        """The children of a generation."""
        c, number = self.config, search.generation
        search.generation += 1
        if c.connected:
            space = Constrained(space, space.connected, "a path from input to output")
        if c.encoding == "categorical":
            archs = (
                bred(
                    space,
                    search.parents.archs(space),
                    np.array(search.parents.points),
                    c.population,
                    c.crossover,
                    c.mutation,
                    rng,
                )
                if search.parents
                else different(space, c.population, rng)
            )
            texts = [space.format(arch) for arch in archs]
            genes: list[list[float]] = [[] for _ in archs]
        else:
            texts, genes = self._real(search.parents, space, rng)
        search.children = Individuals(texts, genes, born=[number] * len(texts))

    def _real(
        self, parents: Individuals, space: SearchSpace, rng: np.random.Generator
    ) -> tuple[list[str], list[list[float]]]:
        c, code = self.config, RealCode(space)
        known = {tuple(genes) for genes in parents.genes}
        texts: list[str] = []
        genes: list[list[float]] = []

        def accept(x: Reals) -> bool:
            arch = code.decode(x)
            if tuple(x) in known or not space.allows(arch) or len(texts) == c.population:
                return False
            known.add(tuple(x))
            texts.append(space.format(arch))
            genes.append(x.tolist())
            return True

        if not parents:
            while len(texts) < c.population:
                if not any(accept(code.random(rng)) for _ in range(TRIES)):
                    raise SpaceError(
                        f"space {space.name!r}: none of {TRIES} random architectures is within its "
                        "limits; accepted: a limit that more architectures keep"
                    )
            return texts, genes
        rank, distance = crowded(np.array(parents.points))

        def parent() -> Reals:
            return np.array(parents.genes[binary_tournament(rank, distance, rng)])

        for _ in range(RETRIES * c.population):
            pair = parent(), parent()
            if rng.random() < c.crossover:
                pair = simulated_binary(*pair, c.crossover_index, rng)
            for x in pair:
                accept(polynomial_mutation(x, c.mutation_index, c.mutation, rng))
            if len(texts) == c.population:
                break
        while len(texts) < c.population:  # under a limit that hardly anything keeps
            i = binary_tournament(rank, distance, rng)
            texts.append(parents.texts[i])
            genes.append(parents.genes[i])
        return texts, genes

    def select(
        self,
        search: NoveltySearch,
        space: SearchSpace,
        rng: np.random.Generator,
        costs: Callable[[Architecture, str], float],
    ) -> None:
        """The next parents, of parents and children whose fitness is known."""
        c, parents, children = self.config, search.parents, search.children
        archs = children.archs(space)
        children.novelty = search.archive.novelty(space, archs).tolist()
        if c.refresh != "none" and parents:
            everyone = [*parents.archs(space), *archs]
            anew = search.archive.novelty(space, everyone)
            parents.novelty = anew[: len(parents)].tolist()
        search.archive.add(space, archs)
        for members in (parents, children):
            self._value(members, space, costs)
        points = np.array([*parents.points, *children.points])
        keep = survivors(points, c.population, rng)
        search.parents = parents.of([int(i) for i in keep], children)
        search.children = Individuals()

    def _value(
        self,
        members: Individuals,
        space: SearchSpace,
        costs: Callable[[Architecture, str], float],
    ) -> None:
        """The objectives of each, higher is better, as far as they are not known."""
        known = len(members.further)
        for text in members.texts[known:]:
            arch = space.parse(text)
            members.further.append([o.score(costs(arch, n)) for n, o in self.further.items()])
        members.points = []
        for fitness, novelty, further in zip(
            members.fitness, members.novelty, members.further, strict=True
        ):
            values = {FITNESS: fitness[0], NOVELTY: novelty}
            values |= dict(zip(self.further, further, strict=True))
            members.points.append([values[name] for name in self.criteria])

    def front(self, search: NoveltySearch, space: SearchSpace) -> list[int]:
        """Positions of the parents that no other one dominates, one for each architecture."""
        points = np.array(search.parents.points).reshape(len(search.parents), len(self.criteria))
        found = {search.parents.texts[i]: i for i in reversed(np.flatnonzero(front(points)))}
        return sorted(int(i) for i in found.values())

    # -- what is told ------------------------------------------------------------------------

    def _standing(self, state: NEvoNASState, space: SearchSpace) -> dict[str, float]:
        parents = state.search.parents
        metric = state.evaluator.problem.task.metric
        places = self.front(state.search, space)
        best = max(parents.fitness[i] for i in places)
        return {
            f"best_{metric.name}": metric.score(best[0]),
            "mean_novelty": float(np.mean(parents.novelty)),
            "front": float(len(places)),
            "different": float(len(state.search.archive.texts)),
        }

    def candidates(self, state: NEvoNASState, space: SearchSpace) -> list[Candidate]:
        """The front, the fittest first."""
        parents, metric = state.search.parents, state.evaluator.problem.task.metric
        places = self.front(state.search, space)
        found = []
        for i in sorted(places, key=lambda i: parents.fitness[i], reverse=True):
            figures = {metric.name: metric.score(parents.fitness[i][0])}
            figures[NOVELTY] = parents.novelty[i]
            for (name, objective), value in zip(
                self.further.items(), parents.further[i], strict=True
            ):
                figures[name] = objective.score(value)
            found.append(Candidate(space.parse(parents.texts[i]), figures))
        return found

    def derive(self, state: NEvoNASState, space: SearchSpace) -> Architecture | None:
        """The fittest of the front; None before the first generation's end."""
        if not state.search.parents:
            return None
        return self.candidates(state, space)[0].architecture
