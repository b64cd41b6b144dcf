"""`regularisation` of the settings: what a method is combined with, checked and put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from morphogen.bilevel.curvature import EigenvalueStop, dominant_eigenvalue
from morphogen.bilevel.regularisation import NEEDS, Regularisation
from morphogen.bilevel.regularised import require_in
from morphogen.core import Architecture, ConfigError
from morphogen.engine.search.select import OWN, selecting
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.timetable import phases_of
from morphogen.engine.search.wrapped import WrappedState
from morphogen.methods import MethodInfo, Metrics, Phase, Relaxing, Stepwise, methods
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, evaluating
from morphogen.tasks.problem import Clock, Problem, trainable


def regularised(info: MethodInfo, config: Any, space: SearchSpace, settings: Settings) -> Settings:
    """The settings with `edge_normalisation` made definite; what does not fit is refused.

    Args:
        info: the method.
        config: of the method.
        space: what is searched.
        settings: as they were given.

    Raises:
        ConfigError: the method does not take what is asked for; names those that do.
        CapabilityError: the space has nothing that it could mean there.
    """
    r, rule, taken = settings.regularisation, settings.selection.rule, info.taken(config)
    if info.black_box and settings.evaluation.evaluator == "supernet":
        taken = (*taken, "partial_channels")  # those of the supernet that scores
    for name in r.used:
        if name not in taken:
            able = [m.name for m in methods().values() if name in m.taken()]
            raise ConfigError(
                f"{name} is {getattr(r, name)!r}, and it needs {NEEDS[name]}, which method "
                f"{info.name!r} does not have; accepted: one of {', '.join(able)}"
            )
        if rule != OWN and name in ("edge_normalisation", "stop_by_eigenvalue"):
            raise ConfigError(
                f"{name} is {getattr(r, name)!r}, and the architecture is then that of the "
                f"strongest alphas; accepted: select {OWN}, and not {rule!r}"
            )
    if r.edge_normalisation == "auto" and r.partial_channels > 1:
        several = any(len(names) > 1 for names in space.summed())
        fits = "edge_normalisation" in taken and several and rule == OWN
        r = replace(r, edge_normalisation="on" if fits else "off")
    require_in(space, r)
    return replace(settings, regularisation=r)


def remarks(settings: Settings) -> Iterator[str]:
    """What is to be known of a search of these settings before it begins."""
    r = settings.regularisation
    first = _stop(r).first
    if r.stop_by_eigenvalue and settings.epochs <= first + 1:
        yield (
            f"the eigenvalue can end a search after {first + 1} epochs at the earliest, and this "
            f"one has {settings.epochs}: it is measured and ends nothing (a smaller "
            "eigenvalue_start or eigenvalue_every would let it)"
        )


def stopping(method: Stepwise, settings: Settings) -> Stepwise:
    """The method, ended by the eigenvalue if the settings say so."""
    r = settings.regularisation
    if not r.stop_by_eigenvalue or not isinstance(method, Relaxing):
        return method
    return Stopping(method, r)


def composed(method: Stepwise, settings: Settings) -> Stepwise:
    """The method as it is searched by: stopped, and with another selection, as the settings say."""
    return selecting(stopping(method, settings), settings)


@dataclass
class StoppingState(WrappedState):
    """The state of the method that is stopped, and what was measured of it."""

    epochs: list[int] = field(default_factory=list)
    """Of the eigenvalues."""
    eigenvalues: list[float] = field(default_factory=list)
    architectures: list[str] = field(default_factory=list)
    """After these epochs, in the space's notation."""


class Stopping:
    """A gradient method that ends when its loss grows sharp in alpha (DARTS-ES).

    Args:
        method: what is searched by.
        r: how often the eigenvalue is measured, and when it ends the search.
    """

    def __init__(self, method: Relaxing, r: Regularisation) -> None:
        self.method, self.r = method, r

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """The method's."""
        return phases_of(self.method, problem, epochs)

    def init(self, problem: Problem) -> StoppingState:
        """The method's state, and nothing measured."""
        return StoppingState(self.method.init(problem))

    def step(self, state: StoppingState, problem: Problem, clock: Clock) -> Metrics:
        """A step of the method; after an epoch's last, perhaps a measurement."""
        told = self.method.step(state.searched, problem, clock)
        if not clock.last or clock.epoch % self.r.eigenvalue_every:
            return told
        value = self.eigenvalue(state, problem)
        found = self.method.derive(state.searched, problem.space)
        state.epochs.append(clock.epoch)
        state.eigenvalues.append(value)
        state.architectures.append("" if found is None else problem.space.format(found))
        return {**told, "eigenvalue": value}

    def eigenvalue(self, state: StoppingState, problem: Problem) -> float:
        """The dominant eigenvalue of the validation loss's Hessian in alpha.

        On fixed examples, the supernet in evaluation mode: the same on every process.
        """
        rows = problem.chosen("valid", self.r.eigenvalue_examples, "data/eigenvalue")
        batch = problem.task.examples("valid", device=problem.devices.device).batch(rows)

        def gates(alphas: Sequence[Tensor]) -> Gates:
            held = replace(state.searched, alphas=list(alphas))
            return self.method.gates(held, problem.space)

        with evaluating(state.net):
            loss = problem.bilevel_loss(state.net, gates, batch)
            weights = list(trainable(state.net).values())
            return dominant_eigenvalue(loss, weights, state.alphas)

    def ended(self, state: StoppingState, clock: Clock) -> bool:
        """Whether the eigenvalue has grown too far."""
        return self._best(state) is not None

    def gates(self, state: StoppingState, space: SearchSpace) -> Gates:
        """The method's."""
        return self.method.gates(state.searched, space)

    def derive(self, state: StoppingState, space: SearchSpace) -> Architecture | None:
        """The method's architecture; once it is to end, that from before the eigenvalue grew."""
        best = self._best(state)
        if best is None:
            return self.method.derive(state.searched, space)
        return space.parse(state.architectures[state.epochs.index(best)])

    def _best(self, state: StoppingState) -> int | None:
        return replace(_stop(self.r), epochs=state.epochs, values=state.eigenvalues).best


def _stop(r: Regularisation) -> EigenvalueStop:
    return EigenvalueStop(r.eigenvalue_every, r.eigenvalue_factor, r.eigenvalue_start)
