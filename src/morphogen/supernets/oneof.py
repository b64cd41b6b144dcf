"""A choice in the user's own module: several modules where one would stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import Choice, SpaceError
from morphogen.supernets.gates import Gates, weighted
from morphogen.supernets.inputs import Habits, apart, tensors

PREFIX = "option_"
"""Before the name of an option in the names of its parameters."""

_RESERVED = "=;+."
"""`=`, `;` and `+` belong to the notation of architectures, `.` to the names of parameters."""


@dataclass(frozen=True)
class _Bound:
    """The gates of one forward call, by name of choice."""

    gates: Gates
    rows: Mapping[str, tuple[str, int]]


@dataclass
class Watch:
    """What choices did while somebody watched."""

    reached: set[str] = field(default_factory=set)
    """Names of those that were called."""
    returned: list[tuple[Tensor, int]] = field(default_factory=list)
    """What they returned, and how often it had been written to by then."""
    writers: bool = False
    """Whether an option wrote into its input."""

    @property
    def in_place(self) -> bool:
        """Whether anything that a choice reads or returns was changed in place."""
        return self.writers or any(t._version != version for t, version in self.returned)


# Context variables and not attributes: each thread and each task sees the gates of its own forward
# call, calls may nest, and nothing is left behind in the module afterwards.
_BOUND: ContextVar[_Bound | None] = ContextVar("morphogen_gates", default=None)
_WATCH: ContextVar[Watch | None] = ContextVar("morphogen_watch", default=None)


@contextmanager
def bound(gates: Gates, rows: Mapping[str, tuple[str, int]]) -> Iterator[None]:
    """Within the context, choices take their gates from the rows (group, position) of `gates`."""
    token = _BOUND.set(_Bound(gates, rows))
    try:
        yield
    finally:
        _BOUND.reset(token)


@contextmanager
def watching() -> Iterator[Watch]:
    """Within the context, choices tell what they do."""
    watch = Watch()
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


class OneOf(nn.Module):
    """A choice in the user's own module: one of several modules, to be found by a search.

    Inside a supernet it returns the sum of its live options' outputs, each times its gate; an
    option that is not live is not executed. All arguments are handed on to the options. Outside a
    supernet nobody has chosen, so calling it is an error. Activation checkpointing runs a block
    again during the backward pass, outside the supernet: checkpoint inside options, not around a
    `OneOf`.

    Every option reads the input as it came, also where one works in place, as
    `nn.ReLU(inplace=True)` does; and what a choice returns is never the tensor that it was given.

    Args:
        options: name -> module, at least two. All take the same arguments; where gates are soft,
            all return one tensor of the same shape.
        name: the choice's name, unique in the module. Names are not empty, have none of `=;+.`
            in them and no space around them.
        shared: two `OneOf` of the same name and option names, both with `shared=True`, are one
            decision (their weights stay separate).

    Raises:
        SpaceError: options without names, fewer than two, a name that cannot be used, or an option
            that is no module.
    """

    def __init__(
        self, options: Mapping[str, nn.Module] | nn.ModuleDict, *, name: str, shared: bool = False
    ) -> None:
        super().__init__()
        _check_name("name of OneOf", name)
        if not isinstance(options, Mapping | nn.ModuleDict):
            raise SpaceError(
                f"options of choice {name!r} are {_what(options)}; accepted: a dictionary from "
                'names to modules, {"conv": nn.Conv2d(...), "skip": nn.Identity()}'
            )
        members = dict(options.items())
        if len(members) < 2:
            raise SpaceError(f"choice {name!r} has {len(members)} option(s); accepted: two or more")
        for option, module in members.items():
            _check_name(f"option of choice {name!r}", option)
            if not isinstance(module, nn.Module):
                raise SpaceError(
                    f"option {option!r} of choice {name!r} is {_what(module)}; "
                    "accepted: an instance of torch.nn.Module"
                )
            # With a prefix, an option may be called "half" or "train" like a method of nn.Module;
            # by name and not by number, a restricted copy keeps the names of its parameters.
            self.add_module(PREFIX + option, module)
        self.name = name
        self.options = tuple(members)
        self.shared = shared
        self._habits = Habits()

    def option(self, name: str) -> nn.Module:
        """The module of the option called `name`, or an `UnknownNameError`."""
        Choice(self.name, self.options).index(name)
        return self.get_submodule(PREFIX + name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Weighted sum of the live options' outputs; see the class for when it can be called."""
        here, watch = _BOUND.get(), _WATCH.get()
        if here is None:
            raise SpaceError(
                f"OneOf {self.name!r} was called outside a supernet, where nothing says which "
                "option to run; call morphogen.supernets.build(space_of(module), NetworkSpec()) "
                "with gates, or the network that morphogen.supernets.network gives for an "
                "architecture"
            )
        if self.name not in here.rows:
            raise SpaceError(
                f"OneOf {self.name!r} was called but is no choice of the space "
                f"({', '.join(here.rows)}); make it a registered submodule of the searched module "
                "(in nn.ModuleList, not in a list)"
            )
        output = self._mixed(here.gates, here.rows[self.name], args, kwargs)
        if watch is not None:
            watch.reached.add(self.name)
            watch.writers |= any(self._habits.writes.values())
            watch.returned += [(t, t._version) for t in tensors(output) if not t.is_inference()]
        return output

    def _mixed(
        self, gates: Gates, row: tuple[str, int], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        live, weights = gates.row(*row)
        if not live:
            raise SpaceError(
                f"choice {self.name!r} has no live option; its gates need at least one"
            )
        if gates.unit and len(live) == 1:
            # Any output will do, not only a tensor: nothing is computed with it. Of several options
            # or with weights the output is new; so it is here, whatever is done to it later.
            return apart(self._run(live[0], args, kwargs), (args, kwargs))
        total: Tensor | None = None
        for position in live:
            output = self._run(position, args, kwargs)
            if not isinstance(output, Tensor):
                raise SpaceError(
                    f"option {self.options[position]!r} of choice {self.name!r} returns "
                    f"{_what(output)}; accepted under soft gates: one tensor"
                )
            if total is not None and output.shape != total.shape:
                raise SpaceError(
                    f"options of choice {self.name!r} return different shapes: "
                    f"{self.options[live[0]]!r} {list(total.shape)}, "
                    f"{self.options[position]!r} {list(output.shape)}; accepted: equal shapes"
                )
            part = output if gates.unit else weighted(output, weights[position])
            total = part if total is None else total + part
        return total

    def _run(self, position: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        option = self.options[position]
        module: nn.Module = self._modules[PREFIX + option]  # type: ignore[assignment]
        return self._habits.run(
            module,
            args,
            kwargs,
            # Dropout works in place in train mode only.
            kind=(option, module.training, torch.is_grad_enabled()),
            who=f"option {option!r} of choice {self.name!r}",
        )

    def _keep(self, options: Sequence[str]) -> None:
        """Drop all options but `options`, in their order: the `OneOf` of a restricted space."""
        kept = {PREFIX + name: self.option(name) for name in options}
        for name in self.options:
            del self._modules[PREFIX + name]
        self._modules.update(kept)
        self.options = tuple(options)

    def extra_repr(self) -> str:
        """Name and sharing, for `print(module)`."""
        return f"name={self.name!r}" + (", shared=True" if self.shared else "")


def _check_name(field: str, name: object) -> None:
    usable = isinstance(name, str) and name and name == name.strip()
    if not usable or any(c in _RESERVED for c in str(name)):
        raise SpaceError(
            f"{field} {name!r} cannot be used; accepted: a text without '=', ';', '+', '.' and "
            "without space around it"
        )


def _what(value: object) -> str:
    """What something is, for a message: `a list`, `the class Conv2d`."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
