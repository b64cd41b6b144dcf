"""`select`: another rule than the magnitude of alpha derives the architecture from the supernet.

A gradient method gets one more phase, in which every step decides one choice (of each lane of the
space) in the trained supernet. Nothing is tuned between decisions: `darts-pt` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from typing import Any

from morphogen.core import Architecture, ConfigError
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.methods import MethodInfo, Metrics, Phase, Relaxing, Stepwise, methods
from morphogen.proxies import named
from morphogen.scoring import (
    Discretised,
    OperationScore,
    Perturbed,
    Projection,
    accuracy,
    mean_margin,
    turn,
    zero_cost,
)
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates
from morphogen.tasks.problem import Clock, Problem

OWN = "magnitude"
"""The rule that every method has: its own `derive`."""


def require_select(info: MethodInfo, settings: Settings) -> None:
    """Refuse another rule for a method without gates, or with a selection of its own.

    Raises:
        ConfigError: names the methods that take it.
        UnknownNameError: there is no such proxy.
    """
    if settings.select == OWN:
        return
    if not _takes(info):
        able = ", ".join(name for name, other in methods().items() if _takes(other))
        raise ConfigError(
            f"select is {settings.select!r}, and method {info.name!r} has no gates from which it "
            f"could select, or selects by itself; accepted: {OWN}, or one of the methods {able}"
        )
    if settings.select.endswith("zc"):
        named([settings.evaluation_proxy])


def _takes(info: MethodInfo) -> bool:
    return hasattr(info.build, "gates") and not hasattr(info.build, "phases")


def selecting(method: Stepwise, settings: Settings) -> Stepwise:
    """The method, with the phase of `settings.select` if that is not its own rule."""
    if settings.select == OWN or not isinstance(method, Relaxing):
        return method
    return Selecting(method, settings)


class Selecting:
    """A gradient method, and decisions one after the other in the supernet it has trained.

    Args:
        method: trains the supernet; its state gets what the decisions need as further fields.
        settings: `select` and what belongs to it.
    """

    def __init__(self, method: Relaxing, settings: Settings) -> None:
        self.method, self.settings, self.config = method, settings, method.config

    def phases(self, problem: Problem, epochs: int, steps: int) -> Sequence[Phase]:
        """The method's search, then all decisions."""
        decisions = Projection(problem.space).turns()
        return Phase("search", epochs, steps), Phase("select", int(decisions > 0), decisions)

    def init(self, problem: Problem) -> Any:
        """The method's state, of a class with the decisions, too."""
        state, s = self.method.init(problem), self.settings
        by_accuracy = s.select.endswith("accuracy")
        evaluator = None
        if by_accuracy:
            evaluator = SupernetEvaluator(
                problem,
                norms="batch",
                images=s.evaluation_images,
                batch_size=max(s.batch_size, 2 * problem.devices.world),
            )
        kind = make_dataclass(
            f"{type(state).__name__}AndSelection",
            [
                ("projection", Projection),
                ("evaluator", Any, field(metadata={"checkpoint": False})),
                ("batches", Any),
            ],
            bases=(type(state),),
        )
        return kind(
            **{f.name: getattr(state, f.name) for f in fields(state)},
            projection=Projection(problem.space),
            evaluator=evaluator,
            batches=None if by_accuracy else problem.joint_stream("train", "data/select"),
        )

    def step(self, state: Any, problem: Problem, clock: Clock) -> Metrics:
        """A step of the method, or a decision."""
        if clock.phase == "search":
            return self.method.step(state, problem, clock)
        decisions = turn(
            state.projection,
            lambda: self.gates(state, problem.space).detach(),
            self._score(state, problem),
            self.settings.select_order,
            problem.numpy_rng,
        )
        return {"decided": float(len(state.projection.decided)), **mean_margin(decisions)}

    def _score(self, state: Any, problem: Problem) -> OperationScore:
        s = self.settings
        if state.evaluator is not None:
            measure = accuracy(state.evaluator, state.net)
        else:
            measure = zero_cost(problem, state.net, s.evaluation_proxy, state.batches.next())
        return (Perturbed if s.select.startswith("perturbed") else Discretised)(measure)

    def gates(self, state: Any, space: SearchSpace) -> Gates:
        """The method's gates, one-hot where something is decided."""
        soft = self.method.gates(state, space)
        return state.projection.onto(soft) if _begun(state) else soft

    def derive(self, state: Any, space: SearchSpace) -> Architecture | None:
        """What is decided; before the first decision, what the method itself derives."""
        if not _begun(state):
            return self.method.derive(state, space)
        found: Architecture = state.projection.derive(self.method.gates(state, space))
        return found


def _begun(state: Any) -> bool:
    """Whether something is decided that was not from the start."""
    fresh = Projection(state.projection.space)
    return bool(state.projection.decided != fresh.decided)
