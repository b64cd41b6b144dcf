"""Few-shot NAS: a handful of sub-supernets instead of one.

Paper: Zhao, Wang, Tian, Fonseca, Guo. ICML 2021. arXiv 2006.06863.

    1. train the one-shot supernet, on paths drawn uniformly from the whole space
    2. split it: one sub-supernet for each operation of the first edge (of `splits` edges: for each
       combination), all other edges whole; each begins with the weights of the supernet
    3. train each on paths of its own part of the space, with a schedule of its own
    4. measure candidates of every part with the weights of the sub-supernet that has them
    return the best of all

Operations that share fewer weights disturb each other less, so that the order of the candidates is
nearer to that of networks trained alone. A sub-supernet is a mask on the one supernet with weights
and optimiser of its own; it holds no operation that its mask leaves out. `splits 0`: one-shot NAS.

With `leaf.searcher darts`, `gdas` or `snas` each part is searched by gradients instead, with alphas
of its own and a fixed operation on the split edge. It proposes what its alphas stand for, and the
part whose relaxed supernet has the lowest validation loss decides. The paper then begins each part
at random: `no-transfer`.

Departures. The authors' code splits edge 0, as here; the paper draws one at random. A path is drawn
for the whole network; the authors' code draws one for each cell. Their transfer replaces the split
edge's weights by tensors that their optimiser does not hold, and so never trains them; here all
weights learn. The supernet is scored on held-out training images, theirs on test images. Candidates
are random architectures of each part in one ranking; the paper runs several search algorithms on a
table of all scores. Without transfer all parts begin with the same random weights. With gradients
and transfer, step 1 trains weights under the alphas of the beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from morphogen.bilevel.optimisers import SGD
from morphogen.core import Architecture, ConfigError
from morphogen.core.config import Count, Natural, config
from morphogen.methods._contract import Candidate, Metrics, Phase, method
from morphogen.methods._leaf_search import (
    SELECTION,
    LeafSearch,
    LeavesConfig,
    LeavesState,
    own_clock,
)
from morphogen.spaces import Discrete, SearchSpace, SubspaceMask
from morphogen.tasks.problem import Clock, Problem

MOST = 1_000
"""Leaves at most: each is a supernet to be trained."""


@config
class FewShotConfig(LeavesConfig):
    """Few-shot NAS, as its search-based runs in NAS-Bench-201."""

    splits: Natural = 1
    """t, how many edges are split, the first ones of the space; 0: none (paper: 1)"""
    choices: str = ""
    """names of the edges to split instead, with commas between"""
    transfer: bool = True
    """train one supernet first, whose weights all parts begin with (paper: yes; its gradient-based
    runs: no)"""
    leaf_epochs: Count = 300
    """epochs of each sub-supernet (paper: 300)"""
    weights: SGD = SGD(weight_decay=1e-4, clip=0.0)


@method(
    "few-shot",
    config=FewShotConfig,
    needs=[Discrete],
    epochs=600,
    limits=True,
    quick={
        "epochs": 20,
        "leaf_epochs": 4,
        "candidates": 30,
        "fitness_images": 500,
        "leaf.alpha.lr": 0.01,
    },
    published={
        # 45,000 images: 5,000 are held out to score on.
        "nasbench201": {
            "batch_size": 48,
            "split.train_images": 45000,
            "split.valid_images": 5000,
        },
        # The baseline of GM-NAS' code: seven parts of 20 epochs, from random weights.
        "darts": {
            "without": "none",
            "batch_size": 64,
            "transfer": False,
            "leaf_epochs": 20,
            "leaf.searcher": "darts",
            "weights.nesterov": False,
            "weights.weight_decay": 3e-4,
            "weights.clip": 5.0,
        },
    },
)
class FewShot:
    """One supernet, split by the operations of an edge."""

    def __init__(self, config: FewShotConfig) -> None:
        self.config, self.search = config, LeafSearch(config)

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """The supernet, unless it is trained on these data, each leaf in turn, the candidates."""
        c = self.config
        trained = problem.start is not None and problem.start.other_outputs is None
        leaves = self._count(problem.space)
        return (
            Phase("supernet", epochs if c.transfer and not trained else 0, part="train"),
            Phase("leaves", leaves * c.leaf_epochs, part="train"),
            self.search.selection(leaves),
        )

    def _split_choices(self, space: SearchSpace) -> list[str]:
        named = [name.strip() for name in self.config.choices.split(",") if name.strip()]
        if named:
            return [space.choice(name).name for name in named]
        single = [c.name for c in space.choices if c.most == 1]
        if self.config.splits > len(single):
            raise ConfigError(
                f"splits is {self.config.splits}; accepted in space {space.name!r}: at most "
                f"{len(single)}, its choices that keep one option"
            )
        return single[: self.config.splits]

    def _count(self, space: SearchSpace) -> int:
        """Leaves: the combinations of operations of the split edges that the space has."""
        names = self._split_choices(space)
        most = math.prod(len(space.choice(name).options) for name in names)
        if most > MOST:
            raise ConfigError(
                f"splits is {len(names)}, which makes {most:,} sub-supernets; accepted: at most "
                f"{MOST:,} of them"
            )
        masks = [SubspaceMask.of(space)]
        for name in names:
            single = [[option] for option in space.choice(name).options]
            masks = [m for mask in masks for m in mask.split(name, single) if not m.empty]
        return len(masks)

    def init(self, problem: Problem) -> LeavesState:
        """A supernet that is not split yet."""
        return LeavesState.start(problem, self.config)

    def step(self, state: LeavesState, problem: Problem, clock: Clock) -> Metrics:
        """A step of the supernet, or of the leaf whose turn it is, or a candidate."""
        if clock.phase == "supernet":
            return {"train_loss": self.search.train(state.leaves.root, problem, clock)}  # 1
        self._split(state, problem)
        if clock.phase == SELECTION:
            return self.search.select(state, problem, clock)  # 4
        number = clock.epoch // self.config.leaf_epochs
        leaf = state.leaves.attach(state.leaves.leaves[number])
        own = own_clock(clock, self.config.leaf_epochs)
        return {**self.search.step(leaf, problem, own), "leaf": float(number + 1)}  # 3

    def _split(self, state: LeavesState, problem: Problem) -> None:
        """Once, with the step that finds the supernet whole."""  # 2
        if len(state.leaves.leaves) > 1:
            return
        for name in self._split_choices(problem.space):
            options = problem.space.choice(name).options
            for leaf in list(state.leaves.leaves):
                state.leaves.split(leaf, name, [[option] for option in options])

    def candidates(self, state: LeavesState, space: SearchSpace) -> list[Candidate]:
        """The best of all leaves."""
        return state.offered(space, self.config.kept)

    def derive(self, state: LeavesState, space: SearchSpace) -> Architecture | None:
        """The best candidate of all leaves; None before the first is measured."""
        return state.winner(space)
