"""GM-NAS: generalizing few-shot NAS with gradient matching.

Paper: Hu, Wang, Hong, Li, Hsieh, Feng. ICLR 2022. arXiv 2203.15207.

    1. train the supernet for some epochs, its alphas (if it has any) frozen
    2. for each sub-supernet, for each edge that is whole in it:
       a. on a fresh training batch and with the other edges drawn once, put each operation of the
          edge in turn in its place; gradients of the loss by the shared weights
       b. D = mean over `repeats` batches of 1 - cos of the gradients of every two operations
       c. the balanced partition of the operations with the least D within its groups
    3. split the edge of the largest cut (the sum of D across groups), or of the least D within
    4. train each part as in 1, and again from 2, `splits` times in all
    5. the parts of the last split begin anew (`restart`), and each is searched
    return the best candidate of all parts

Operations whose gradients agree go on sharing weights. As in `few-shot`, a part is a mask on one
supernet with weights and optimiser of its own. Compared are gradients by the weights of the other
edges' operations and by what lies between cells, of no weight of the edge itself (authors' code);
in spaces without cells by all other weights. A split takes repeats x edges x operations passes:
`passes` in each line of metrics, which is more than the training between splits costs.

Departures. The authors' code for k = 3 groups, and that for OFA, do not look at D; here every
partition is exact. Parts that begin anew have the weights, and each new alphas, with which the
search began; the authors draw weights for each. Each part then has a schedule of its own to its
end; the authors' in NAS-Bench-201 stops in the middle. Alphas are frozen until the last split
whatever `restart` is. Candidates of all parts are in one ranking by search-validation examples; the
authors look NAS-Bench-201's up in the table, and halve those of the DARTS space by training them.
An epoch is a pass over the training part; theirs draws batches independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from morphogen.bilevel.gradient_probe import option_distances
from morphogen.bilevel.leaves import Leaf
from morphogen.bilevel.optimisers import SGD
from morphogen.core import Architecture, Choice, ConfigError
from morphogen.core.config import Count, config
from morphogen.core.partition import MOST, closest_partition, random_partition
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.methods._leaf_search import (
    SELECTION,
    LeafSearch,
    LeafSearchConfig,
    LeavesConfig,
    LeavesState,
    own_clock,
)
from morphogen.spaces import Discrete, SearchSpace
from morphogen.tasks.problem import Clock, Problem


@config
class GMNASConfig(LeavesConfig):
    """GM-NAS, as its runs by single paths in NAS-Bench-201."""

    splits: Count = 2
    """how often every part is split (paper: 2 in NAS-Bench-201, 3 in the DARTS space)"""
    groups: Count = 2
    """k, groups of operations of a split (paper: 2)"""
    criterion: Literal["gradient", "random"] = "gradient"
    """what decides on edge and groups; random: balanced groups of a random edge"""
    edge_rule: Literal["max-cut", "min-within"] = "max-cut"
    """which edge is split: of the largest distance across groups (paper), or of the least within
    (authors' code in the DARTS space)"""
    repeats: Count = 100
    """training batches for each edge that is probed (paper: 100)"""
    hard: bool = True
    """a probed operation has weight 1; else what the gates give it (authors' code in the DARTS
    space)"""
    group: str = ""
    """group of edges that are split, one type of cell; empty: all (authors' code in the DARTS
    space: normal)"""
    restart: Literal["final", "none", "all"] = "final"
    """which splits have their parts begin anew; the others hand on weights and optimisers (paper:
    the final one)"""
    leaf_epochs: Count = 50
    """epochs of each part after the last split (paper: 50)"""
    weights: SGD = SGD(weight_decay=1e-4)
    leaf: LeafSearchConfig = LeafSearchConfig(connected=True)


@dataclass
class GMNASState(LeavesState):
    """One supernet, its parts, and how they came about."""

    position: int = 0
    """Of the leaf that is split next, in a phase that splits."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Edges probed for it: name, groups, distance within and across them."""
    tree: list[dict[str, Any]] = field(default_factory=list)
    """All splits: options of the part that was split, edge, groups, scores of all edges."""
    interval: int = 0
    """Epochs between splits."""
    passes: int = 0
    """Forward and backward passes of all probes so far."""


@method(
    "gm-nas",
    config=GMNASConfig,
    needs=[Discrete],
    epochs=20,
    limits=True,
    quick={
        "epochs": 6,
        "leaf_epochs": 6,
        "repeats": 3,
        "candidates": 30,
        "fitness_images": 500,
        "leaf.alpha.lr": 0.01,
    },
    published={
        "nasbench201": {"batch_size": 48},
        "darts": {
            "without": "none",
            "epochs": 2,
            "batch_size": 64,
            "splits": 3,
            "leaf_epochs": 15,
            "edge_rule": "min-within",
            "hard": False,
            "group": "normal",
            "leaf.searcher": "darts",
            "weights.nesterov": False,
            "weights.weight_decay": 3e-4,
        },
    },
)
class GMNAS:
    """One supernet, split where gradients of operations disagree."""

    def __init__(self, config: GMNASConfig) -> None:
        self.config, self.search = config, LeafSearch(config)

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """Training and splits by turns, then each leaf in turn, then the candidates."""
        c = self.config
        edges = len(self._probed(problem.space))
        trained = problem.start is not None and problem.start.other_outputs is None
        found = [Phase("supernet", 0 if trained else epochs, part="train")]
        leaves = 1
        for level in range(1, c.splits + 1):
            found.append(Phase(f"split-{level}", leaves, edges))
            leaves *= c.groups
            if level < c.splits:
                found.append(Phase(f"level-{level}", leaves * epochs, part="train"))
        found.append(Phase("leaves", leaves * c.leaf_epochs, part="train"))
        return (*found, self.search.selection(leaves))

    def _probed(self, space: SearchSpace) -> list[Choice]:
        """The edges that can be split: those that keep one operation, and have enough of them."""
        c = self.config
        if c.group and c.group not in space.groups:
            raise ConfigError(
                f"group is {c.group!r}; accepted in space {space.name!r}: {', '.join(space.groups)}"
            )
        found = [
            choice
            for choice in space.choices
            if choice.group == (c.group or choice.group)
            and choice.most == 1
            and c.groups <= len(choice.options) <= MOST
        ]
        if len(found) < 1 or c.groups < 2:
            raise ConfigError(
                f"groups is {c.groups}; accepted in space {space.name!r}: 2 or more, and not more "
                "than the options of its choices that keep one"
            )
        return found

    def init(self, problem: Problem) -> GMNASState:
        """A supernet that is not split yet."""
        return GMNASState.start(problem, self.config)

    def step(self, state: GMNASState, problem: Problem, clock: Clock) -> Metrics:
        """A step of a part's weights, the probe of an edge, a step of a leaf, or a candidate."""
        kind, _, level = clock.phase.partition("-")
        if kind == SELECTION:
            return self.search.select(state, problem, clock)
        if kind == "split":
            return self._probe(state, problem, clock, int(level))
        if kind == "leaves":
            return self._leaf_step(state, problem, clock)
        return self._train(state, problem, clock, int(level or 0))

    def _train(self, state: GMNASState, problem: Problem, clock: Clock, level: int) -> Metrics:
        """1 and 4: weights alone, on the schedule of a search that goes on to the end."""
        c = self.config
        state.interval = clock.epochs // c.groups**level
        leaf = self._of_turn(state, clock, state.interval)
        if leaf is None:
            return {}
        done = level * state.interval + clock.epoch % state.interval
        along = replace(clock, epoch=done, epochs=c.splits * state.interval + c.leaf_epochs)
        return {"train_loss": self.search.train(leaf, problem, along)}

    def _leaf_step(self, state: GMNASState, problem: Problem, clock: Clock) -> Metrics:
        """5: the search inside a leaf."""
        c = self.config
        leaf = self._of_turn(state, clock, c.leaf_epochs)
        if leaf is None:
            return {}
        own = own_clock(clock, c.leaf_epochs)
        if c.restart == "none":
            before = c.splits * state.interval
            own = replace(own, epoch=before + own.epoch, epochs=before + own.epochs)
        number = clock.epoch // c.leaf_epochs + 1
        return {**self.search.step(leaf, problem, own), "leaf": float(number)}

    def _of_turn(self, state: GMNASState, clock: Clock, epochs: int) -> Leaf | None:
        """The leaf that has the clock's epoch; None if there are fewer."""
        number = clock.epoch // epochs
        leaves = state.leaves.leaves
        return state.leaves.attach(leaves[number]) if number < len(leaves) else None

    def _probe(self, state: GMNASState, problem: Problem, clock: Clock, level: int) -> Metrics:
        """2: one edge of the part whose turn it is; with the last of them, 3."""
        c = self.config
        if clock.step == 0:
            state.position = 0 if clock.epoch == 0 else state.position
            state.scores = []
        if state.position >= len(state.leaves.leaves):
            return {}
        leaf = state.leaves.attach(state.leaves.leaves[state.position])
        probed = self._probed(problem.space)
        choice = probed[clock.step]
        if c.criterion == "gradient" and choice.options == leaf.mask.allowed[choice.name]:
            distances = option_distances(
                problem,
                state.net,
                choice.name,
                choice.options,
                lambda: self.search.draw(leaf, problem),
                repeats=c.repeats,
                hard=c.hard,
            )
            state.passes += c.repeats * len(choice.options)
            best = closest_partition(distances, c.groups)
            groups = [[choice.options[i] for i in group] for group in best.groups]
            score = {"choice": choice.name, "groups": groups}
            state.scores.append({**score, "within": best.within, "cut": best.cut})
        if not clock.last:
            return {}
        told = self._split(state, problem, leaf, probed, final=level == c.splits)
        return {**told, "passes": float(state.passes)}

    def _split(
        self,
        state: GMNASState,
        problem: Problem,
        leaf: Leaf,
        probed: Sequence[Choice],
        *,
        final: bool,
    ) -> dict[str, float]:
        """3: choose the edge, and put one part for each group in the leaf's place."""
        c, told = self.config, {}
        chosen = self._chosen(state, problem, leaf, probed)
        if chosen is None:  # no edge is whole: the part stays as it is
            parts = [leaf]
        else:
            state.tree.append(
                {
                    "allowed": {name: list(o) for name, o in leaf.mask.allowed.items()},
                    "chosen": chosen,
                    "scores": state.scores,
                }
            )
            told = {name: value for name, value in chosen.items() if isinstance(value, float)}
            parts = state.leaves.split(leaf, chosen["choice"], chosen["groups"], inherit=True)
        if c.restart == "all" or (c.restart == "final" and final):
            for part in parts:
                state.leaves.restart(part)
        state.position += len(parts)
        return told

    def _chosen(
        self, state: GMNASState, problem: Problem, leaf: Leaf, probed: Sequence[Choice]
    ) -> dict[str, Any] | None:
        c, rng = self.config, problem.numpy_rng
        if c.criterion == "random":
            whole = [e for e in probed if e.options == leaf.mask.allowed[e.name]]
            if not whole:
                return None
            edge = whole[int(rng.integers(len(whole)))]
            groups = random_partition(len(edge.options), c.groups, rng)
            names = [[edge.options[i] for i in group] for group in groups]
            return {"choice": edge.name, "groups": names}
        if c.edge_rule == "max-cut":
            return max(state.scores, key=lambda score: score["cut"], default=None)
        return min(state.scores, key=lambda score: score["within"], default=None)

    def ended(self, state: GMNASState, clock: Clock) -> bool:
        """Whether all parts had their turn: there are fewer than planned where edges run out."""
        kind, _, level = clock.phase.partition("-")
        if kind == "split":
            return state.position >= len(state.leaves.leaves)
        turns = {"leaves": self.config.leaf_epochs, SELECTION: 1}
        epochs: int = turns.get(kind, clock.epochs // self.config.groups ** int(level or 0))
        return (clock.epoch + 1) // epochs >= len(state.leaves.leaves)

    def candidates(self, state: GMNASState, space: SearchSpace) -> list[Candidate]:
        """The best of all leaves."""
        return state.offered(space, self.config.kept)

    def derive(self, state: GMNASState, space: SearchSpace) -> Architecture | None:
        """The best candidate of all leaves; None before the first is measured."""
        return state.winner(space)
