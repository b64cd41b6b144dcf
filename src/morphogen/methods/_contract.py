"""The contract of a method, and the registry that the command line and the tests are made from.

A method is `init`, `step`, `derive` (it trains a supernet) or `init`, `ask`, `tell`, `derive` (it
only proposes architectures and reads scores). Progress, logs, checkpoints and devices belong to
the engine: a method has a frozen configuration and an explicit state, and nothing else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from morphogen.bilevel.regularisation import Regulariser
from morphogen.core import (
    Architecture,
    CapabilityError,
    ConfigError,
    UnknownNameError,
    plugins,
)
from morphogen.core.statistics import Contrast
from morphogen.evaluators.stage import Stage as Stage
from morphogen.spaces import Capability, SearchSpace, capabilities
from morphogen.supernets import Gates, Supernet
from morphogen.tasks.problem import Clock, Problem

Scores = NDArray[np.float64]
"""What a black-box method is told, higher is better: `[n]`, one score for each architecture, or
`[n, objectives]` for a method registered with `objectives=True`. An architecture that could not be
evaluated has `-inf` (in every column); NaN never arrives."""

Metrics = Mapping[str, float | Tensor]
"""Name -> scalar. The engine averages over those of an epoch's steps that tell it, and refuses what
is not finite."""


@dataclass(frozen=True)
class Phase:
    """A part of a search with steps of its own kind: train the supernet, then select, say."""

    name: str
    """The clock says it in every step, and metrics.jsonl in every line."""
    epochs: int
    """Lines of metrics, and checkpoints; a phase of 0 epochs is left out."""
    steps: int | None = None
    """Steps of an epoch; None: a pass over `part`, or as many as the user asks for."""
    part: str = "valid"
    """The part of the data that an epoch is a pass over: of the parts that a step takes a batch of,
    the one whose batches the publication counts."""
    work: float = 1.0
    """How long a step is about, in steps of the other phases: so the time that is left is known
    before a phase has begun."""


@runtime_checkable
class WithSupernet(Protocol):
    """A state with a supernet: each epoch's diagnostics compare it, and `--from` begins with it."""

    net: Supernet


@runtime_checkable
class WithAlphas(Protocol):
    """A state with architecture parameters: each epoch's line records them."""

    alphas: list[Tensor]
    """One matrix per group of the space, in group order."""


@runtime_checkable
class Stepwise(Protocol):
    """A method that trains a supernet or measures it, a step of the algorithm at a time."""

    def init(self, problem: Problem) -> Any:
        """The state before the first step; a dataclass of modules, optimisers and tensors.

        What the engine reads of it is declared by `WithSupernet` and `WithAlphas`.
        """

    def step(self, state: Any, problem: Problem, clock: Clock) -> Metrics:
        """One step of the paper's algorithm; changes the state and nothing else."""

    def derive(self, state: Any, space: SearchSpace) -> Architecture | None:
        """The architecture that the state stands for now; None while there is none yet."""


@runtime_checkable
class Phased(Stepwise, Protocol):
    """A method of several phases, or whose epoch is another than a pass over the part `valid`."""

    def phases(self, problem: Problem, epochs: int) -> Sequence[Phase]:
        """The phases, in their order; called before `init`.

        Args:
            problem: what is searched; `problem.start` says if the supernet is trained already.
            epochs: what the user asks for, of the phase that trains the supernet.
        """


@runtime_checkable
class Ending(Stepwise, Protocol):
    """A method that may end a phase before its last epoch: nothing is left to do, say."""

    def ended(self, state: Any, clock: Clock) -> bool:
        """Whether the phase is over; asked after each epoch, with the clock of its last step.

        The answer must follow from the state, which is all that a resumed search knows.
        """


@runtime_checkable
class Relaxing(Stepwise, Protocol):
    """A method whose state stands for a relaxed network, which diagnostics compare."""

    def gates(self, state: Any, space: SearchSpace) -> Gates:
        """The relaxed network that the state stands for now."""


@runtime_checkable
class Delivering(Stepwise, Protocol):
    """A method whose end is a trained stand-alone network, and not only an architecture.

    The engine writes its weights into the run directory and, when the search is over, measures it
    on the test part, once: what was a search is used like a training.
    """

    def network(self, state: Any, space: SearchSpace) -> nn.Module | None:
        """The trained network of the architecture of `derive`; None while there is none.

        Built as `supernets.network(space, architecture, problem.spec)` builds it: what a file
        keeps goes by the names of that network's state. It follows from the state, which is all
        that a resumed search knows.
        """


@dataclass(frozen=True)
class Candidate:
    """One of several architectures that a search ends with."""

    architecture: Architecture
    figures: Mapping[str, float] = field(default_factory=dict)
    """What speaks for it, by name: finite numbers, the same names for all candidates."""


@runtime_checkable
class Offering(Protocol):
    """A method that ends with several candidates: a front, a series, the best few.

    The architecture of `derive` is the result all the same; the candidates stand beside it.
    """

    def candidates(self, state: Any, space: SearchSpace) -> Sequence[Candidate]:
        """What the search offers at its end, the best first."""


@runtime_checkable
class Noting(Stepwise, Protocol):
    """A method whose epochs are of different things."""

    def notes(self, state: Any) -> Mapping[str, str]:
        """Texts for the line of the epoch that has just ended: what it trained, say."""


@dataclass(frozen=True)
class Decision:
    """How a method has compared its best candidate with what asks for no search."""

    against: str
    """What that is, in words: `the reference (ResNet)`."""
    gain: Contrast
    """By how much the candidate's scores are higher, with its interval."""
    scores: Sequence[float]
    """Of the candidate, one for each seed; higher is better."""
    conditions: str = ""
    """In words, how they were had: `after 75 steps each`."""
    folds: bool = False
    """Whether each seed was judged on other examples, held out of the train part."""


@runtime_checkable
class Deciding(Stepwise, Protocol):
    """A method that compares what it found before it ends, on examples that chose nothing else."""

    def decision(self, state: Any) -> Decision | None:
        """The comparison; None before there is one."""


@runtime_checkable
class Explaining(Stepwise, Protocol):
    """A method that says why its search has ended as it has."""

    def explanation(self, state: Any) -> str:
        """A sentence without its full stop; empty where there is nothing to say."""


@runtime_checkable
class AskTell(Protocol):
    """A method that proposes architectures and reads their scores; it never sees a network."""

    def init(self, space: SearchSpace) -> Any:
        """The state before the first question; a dataclass of plain values."""

    def ask(
        self, state: Any, space: SearchSpace, count: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """The next `count` architectures to score, or fewer."""

    def tell(self, state: Any, archs: Sequence[Architecture], scores: Scores) -> None:
        """Read the scores of the architectures that `ask` gave last, in its order."""

    def derive(self, state: Any, space: SearchSpace) -> Architecture:
        """The best architecture so far; of several objectives, by the first one."""


@runtime_checkable
class Staged(AskTell, Protocol):
    """A method that asks and tells, and has some rounds trained less than others.

    The engine calls `plan` once, then in each round `ask`, `stage`, evaluates, `read_traces` and
    `tell`. An architecture that is asked for at another budget is another question.
    """

    def plan(self, state: Any, budget: int) -> None:
        """How many evaluations there will be, those of all stages together; before the first."""

    def stage(self, state: Any) -> Stage:
        """What the architectures that `ask` gave last are to undergo."""

    def read_traces(self, state: Any, traces: Sequence[NDArray[np.float64] | None]) -> None:
        """Traces [checkpoints, layers] of these architectures, in the order of `ask`.

        None for one that could not be evaluated, or where the stage asks for none.
        """


Method = Stepwise | AskTell


@dataclass(frozen=True)
class MethodInfo:
    """A registered method: how it is called, made, and what it needs."""

    name: str
    build: type[Any]
    """Its class, a `Stepwise` or an `AskTell`; made from a configuration."""
    config: type[Any]
    needs: tuple[type[Capability], ...]
    paper: str
    """First line of the method file (or class): the paper's title."""
    reference: str
    """Authors, venue, year, arXiv id: its line `Paper: `; empty without one."""
    epochs: int
    """Epochs of the paper's search on NAS-Bench-201."""
    objectives: bool = False
    """Whether a black-box method reads several objectives, as columns of the scores."""
    limits: bool = False
    """Whether a method that trains a supernet proposes only what the space allows (`limit`)."""
    selects: bool = False
    """Whether a method with gates decides choice after choice by itself, by a rule of its own."""
    anytime: bool = False
    """Whether an interrupt of its search ends it with what the last checkpoint stands for."""
    quick: Mapping[str, Any] = field(default_factory=dict)
    """What a search of minutes on a small machine has other than the defaults: fields of the
    settings (`epochs`, `network.depth`) and of the configuration (`alpha.lr`)."""
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By space or family of spaces: likewise, what its published search has other than on
    NAS-Bench-201."""
    initial: str = ""
    """Field of a black-box method's configuration: the random architectures that it begins with.
    The engine cuts a default that would take more than half of the evaluations."""
    in_proportion: tuple[str, ...] = ()
    """Fields that are cut by the same share as `initial`."""
    takes: Sequence[Regulariser] | Callable[[Any], Sequence[Regulariser]] = ()
    """Regularisers that it can be combined with (`bilevel.regularisation`), or a function of its
    configuration that gives them."""
    delivering: tuple[type[Capability], ...] = ()
    """Capabilities that a space must have for the method to deliver a network."""
    descent: str = ""
    """Field of the configuration: the optimiser of networks that are trained from scratch. Spaces
    and data that have one of their own (Transformers, policies) set it in the quick preset."""

    @property
    def algorithm(self) -> str:
        """What its file says of it, up to the departures from the paper."""
        return _introduction(self.build).partition("\nDepartures.")[0].rstrip()

    @property
    def black_box(self) -> bool:
        """True if the method only asks and tells."""
        return issubclass(self.build, AskTell)

    @property
    def staged(self) -> bool:
        """True if it has some architectures trained less than others; a table cannot do that."""
        return issubclass(self.build, Staged)

    @property
    def relaxing(self) -> bool:
        """True if it has gates, and leaves it to others to select by them."""
        return issubclass(self.build, Relaxing) and not self.selects

    @property
    def delivers(self) -> bool:
        """True if its searches end with a trained network."""
        return issubclass(self.build, Delivering)

    def delivers_in(self, space: SearchSpace) -> bool:
        """True if a search of this space ends with a trained network."""
        return self.delivers and all(isinstance(space, need) for need in self.delivering)

    def taken(self, config: Any = None) -> tuple[Regulariser, ...]:
        """The regularisers that it takes with a configuration, by default with its own."""
        if callable(self.takes):
            return tuple(self.takes(self.config() if config is None else config))
        return tuple(self.takes)

    def require(self, space: SearchSpace) -> None:
        """A `CapabilityError` naming what would serve, if `space` lacks what the method needs."""
        lacking = [c.__name__ for c in self.needs if not isinstance(space, c)]
        if lacking:
            serving = [m.name for m in methods().values() if _serves(m, space)]
            raise CapabilityError(
                f"method {self.name!r} needs a {' and '.join(lacking)} space, and "
                f"{space.name!r} is {', '.join(c.__name__ for c in capabilities(space))}; "
                f"methods that serve it: {', '.join(serving) or 'none'}"
            )


def _serves(info: MethodInfo, space: SearchSpace) -> bool:
    return all(isinstance(space, need) for need in info.needs)


QUICK_RATES = {"alpha.lr": 0.01, "weights.lr": 0.025}
"""Of a gradient method in a search of a few hundred steps. Adam moves alpha by about its rate a
step, and the papers' 3e-4 needs their ten thousand steps to move it at all. The weights' rate is
DARTS' own: with the 0.01 of iDARTS' paper they learn so little in five epochs that an edge with no
operation at all can look best."""

GROUP = "methods"
"""Of entry points by which other packages add methods (`core/plugins.py`)."""

_REGISTRY: dict[str, MethodInfo] = {}

C = TypeVar("C", bound=type)


def method(
    name: str,
    *,
    config: type[Any],
    needs: Sequence[type[Capability]],
    epochs: int,
    objectives: bool = False,
    limits: bool = False,
    selects: bool = False,
    anytime: bool = False,
    quick: Mapping[str, Any] | None = None,
    published: Mapping[str, Mapping[str, Any]] | None = None,
    initial: str = "",
    in_proportion: Sequence[str] = (),
    takes: Sequence[Regulariser] | Callable[[Any], Sequence[Regulariser]] = (),
    delivering: Sequence[type[Capability]] = (),
    descent: str = "",
) -> Callable[[C], C]:
    """Class decorator: register a method once, beside its class.

    Args:
        name: the field's name for the method, and the command line's.
        config: its frozen configuration; the defaults are the paper's.
        needs: capabilities that the space must have.
        epochs: length of the paper's search on NAS-Bench-201.
        objectives: a black-box method that is told several objectives, one a column.
        limits: a method that trains a supernet and samples and breeds by the space alone, so that
            a space under limits keeps them.
        selects: a method with gates that decides choice after choice by itself (DARTS-PT).
        anytime: a method that is stepped and whose state stands for a result after every epoch:
            an interrupt (Ctrl-C, SIGTERM, `KeyboardInterrupt`) ends its search with the result of
            the last checkpoint, from which `resume` goes on. An epoch should take seconds.
        quick: numbers of a search of minutes that are other than the defaults: of the settings
            (`epochs`), of the configuration (`weights.lr`).
        published: by space or family (`darts`), likewise the numbers of the paper's search.
        initial: field of a black-box method's configuration that counts the random architectures
            which it begins with.
        in_proportion: fields that are to keep their proportion to `initial` where that is cut.
        takes: of a gradient method, the regularisers that it can be combined with, or a function
            of its configuration that gives them: it makes its steps by those of `bilevel.state`,
            and has what `bilevel.regularisation.NEEDS` says.
        delivering: of a method that delivers a network, capabilities that the space must have for
            it; in other spaces it ends with an architecture, as other methods do.
        descent: field of the configuration that is the optimiser of networks trained from scratch,
            where a space or the data may have another one than is usual.

    Raises:
        ConfigError: the name is taken, or the class is no method or has no docstring.
    """

    def enter(cls: C) -> C:
        known = _REGISTRY.get(name)
        if known is not None and _place(known.build) != _place(cls):  # a notebook's cell runs twice
            raise ConfigError(
                f"method {name!r} is registered twice, by {'.'.join(_place(known.build))} and by "
                f"{'.'.join(_place(cls))}; accepted: one class a name"
            )
        if not issubclass(cls, Stepwise | AskTell):
            raise ConfigError(
                f"method {name!r}: {cls.__name__} lacks what a method has; accepted: a class with "
                "init, step and derive, or with init, ask, tell and derive"
            )
        if anytime and not issubclass(cls, Stepwise):
            raise ConfigError(
                f"method {name!r} is anytime, and asks and tells; accepted: init, step and derive"
            )
        text = _introduction(cls)
        if not text:
            raise ConfigError(
                f"method {name!r} has no docstring; accepted: one of its module or class, whose "
                "first line is the title"
            )
        paper = _PAPER.search(text)
        _REGISTRY[name] = MethodInfo(
            name,
            cls,
            config,
            tuple(needs),
            text.partition("\n")[0].rstrip("."),
            paper[1] if paper else "",
            epochs,
            objectives,
            limits,
            selects,
            anytime,
            quick or {},
            published or {},
            initial,
            tuple(in_proportion),
            takes,
            tuple(delivering),
            descent,
        )
        return cls

    return enter


_PAPER = re.compile(r"^Paper: (.+?)\.?$", re.MULTILINE)


def _introduction(cls: type) -> str:
    """The docstring that says what a method is: its module's if that names a paper, or its own."""
    text = inspect.getdoc(inspect.getmodule(cls)) or ""
    return text if _PAPER.search(text) else inspect.cleandoc(cls.__doc__ or "")


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


@cache
def _own() -> None:
    """Import the files of this folder: each registers its method."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        if not module.name.startswith("_"):
            import_module(f"{package}.{module.name}")


def methods() -> dict[str, MethodInfo]:
    """All methods by name, those of other packages included."""
    _own()
    plugins.load(GROUP)
    return dict(sorted(_REGISTRY.items()))


def find(name: str) -> MethodInfo:
    """The method called `name`; other packages are asked where it is none of ours.

    Raises:
        UnknownNameError: there is none; it names the nearest match.
        ConfigError: the package that would register it cannot be imported.
    """
    _own()
    if isinstance(name, str) and name in _REGISTRY:
        return _REGISTRY[name]
    broken = {fault.name: fault.sentence for fault in plugins.load(GROUP)}
    if isinstance(name, str) and name in broken:
        raise ConfigError(broken[name])
    known = methods()
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError("method", name, known)
    return known[name]
