"""`select`: another rule than the magnitude of alpha derives the architecture from the supernet.

A gradient method gets one more phase, in which every step decides one choice (of each plan of the
space) in the trained supernet. Nothing is tuned between decisions: `darts-pt` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from morphogen.core import Architecture, ConfigError
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import phases_of
from morphogen.engine.search.wrapped import WrappedState
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods import Ending, MethodInfo, Metrics, Phase, Relaxing, Stepwise, methods
from morphogen.proxies import named
from morphogen.scoring import (
    Discretised,
    OperationScore,
    Perturbed,
    Projection,
    decide_next,
    inherited_score,
    mean_margin,
    zero_cost,
)
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem
from morphogen.tasks.streams import Stream

OWN = "magnitude"
"""The rule that every method has: its own `derive`."""

SELECT = "select"
"""The phase of the decisions."""


def require_select(info: MethodInfo, settings: Settings) -> None:
    """Refuse another rule for a method without gates, or with a selection of its own.

    Raises:
        ConfigError: names the methods that take it.
        UnknownNameError: there is no such proxy.
    """
    if settings.selection.rule == OWN:
        return
    if not info.relaxing:
        able = ", ".join(name for name, other in methods().items() if other.relaxing)
        raise ConfigError(
            f"select is {settings.selection.rule!r}, and method {info.name!r} has no gates from "
            f"which it could select, or selects by itself; accepted: {OWN}, or one of the methods "
            f"{able}"
        )
    if settings.selection.rule.endswith("zc"):
        named([settings.evaluation.proxy])


def selecting(method: Stepwise, settings: Settings) -> Stepwise:
    """The method, with the phase of `settings.selection.rule` if that is not its own rule."""
    if settings.selection.rule == OWN or not isinstance(method, Relaxing):
        return method
    return Selecting(method, settings)


@dataclass
class SelectingState(WrappedState):
    """The state of the method that is selected for, and what is decided."""

    projection: Projection
    evaluator: SupernetEvaluator | None = field(metadata={"checkpoint": False})
    """Of a rule that goes by accuracy."""
    batches: Stream | None
    """Of a rule that goes by a zero-cost proxy."""

    @property
    def begun(self) -> bool:
        """Whether something is decided that was not from the start."""
        return self.projection.decided != Projection(self.projection.space).decided


class Selecting:
    """A gradient method, and decisions one after the other in the supernet it has trained.

    Args:
        method: trains the supernet.
        settings: `select` and what belongs to it.
    """

    def __init__(self, method: Relaxing, settings: Settings) -> None:
        self.method, self.settings = method, settings

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """The method's search, then all decisions."""
        decisions = Projection(problem.space).steps()
        own = phases_of(self.method, problem, epochs)
        return *own, Phase(SELECT, int(decisions > 0), decisions)

    def init(self, problem: Problem) -> SelectingState:
        """The method's state, and nothing decided."""
        searched, s = self.method.init(problem), self.settings
        by_accuracy = s.selection.rule.endswith("accuracy")
        evaluator = None
        if by_accuracy:
            evaluator = SupernetEvaluator(
                problem,
                norms="batch",
                examples=s.evaluation.images,
                batch_size=max(s.batch_size, 2 * problem.devices.world),
            )
        return SelectingState(
            searched,
            Projection(problem.space),
            evaluator,
            None if by_accuracy else problem.joint_stream("train", "data/select"),
        )

    def step(self, state: SelectingState, problem: Problem, clock: Clock) -> Metrics:
        """A step of the method, or a decision."""
        if clock.phase != SELECT:
            return self.method.step(state.searched, problem, clock)
        decisions = decide_next(
            state.projection,
            lambda: self.gates(state, problem.space).detach(),
            self._score(state, problem),
            self.settings.selection.order,
            problem.numpy_rng,
        )
        return {"decided": float(len(state.projection.decided)), **mean_margin(decisions)}

    def ended(self, state: SelectingState, clock: Clock) -> bool:
        """Whether the method ends its search."""
        method = self.method
        searching = clock.phase != SELECT
        return searching and isinstance(method, Ending) and method.ended(state.searched, clock)

    def _score(self, state: SelectingState, problem: Problem) -> OperationScore:
        s = self.settings
        if state.evaluator is not None:
            measure = inherited_score(state.evaluator, state.net)
        elif state.batches is not None:
            batch = state.batches.next()
            measure = zero_cost(problem, state.net, s.evaluation.proxy, batch)
        return (Perturbed if s.selection.rule.startswith("perturbed") else Discretised)(measure)

    def gates(self, state: SelectingState, space: SearchSpace) -> Gates:
        """The method's gates, one-hot where something is decided."""
        soft = self.method.gates(state.searched, space)
        return state.projection.onto(soft) if state.begun else soft

    def derive(self, state: SelectingState, space: SearchSpace) -> Architecture | None:
        """What is decided; before the first decision, what the method itself derives."""
        if not state.begun:
            return self.method.derive(state.searched, space)
        return state.projection.derive(self.method.gates(state.searched, space))
