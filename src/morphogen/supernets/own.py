"""The user's own module as a search space: choices are marked by `OneOf`, wherever they stand.

The module's `forward` is ordinary PyTorch and knows nothing of gates:

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = OneOf({"conv": nn.Conv2d(8, 8, 3, padding=1), "skip": nn.Identity()},
                               name="block")
        def forward(self, x):
            return self.block(x).mean((2, 3))

    space = space_of(Net())                              # one choice, two options
    supernet = build(space, NetworkSpec())               # a copy: Net() itself never changes
    net = network(space, space.parse("block=conv"), NetworkSpec())    # plain PyTorch again

Weights: the supernet and the stand-alone network are deep copies of the user's module as it is when
they are built, so a pretrained module stays pretrained. To train from scratch with weights of their
own, draw them anew with `reinitialise`; to keep what the supernet learnt, use `inherit`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core import Architecture, Choice, SpaceError
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.gates import Gates

_PREFIX = "option_"
_RESERVED = "=;+."
"""`=`, `;` and `+` belong to the notation of architectures, `.` to the names of parameters."""


class _Bound:
    """The gates of one forward call, by name of choice."""

    __slots__ = ("gates", "rows")

    def __init__(self, gates: Gates, rows: Mapping[str, tuple[str, int]]) -> None:
        self.gates = gates
        self.rows = rows


# A context variable and not an attribute: each thread and each task sees the gates of its own
# forward call, calls may nest, and nothing is left behind in the module afterwards.
_BOUND: ContextVar[_Bound | None] = ContextVar("morphogen_gates", default=None)


class OneOf(nn.Module):
    """A choice in the user's own module: one of several modules, to be found by a search.

    Inside a supernet it returns the sum of its live options' outputs, each times its gate; an
    option that is not live is not executed. All arguments are handed on to the options. Outside a
    supernet nobody has chosen, so calling it is an error. Activation checkpointing runs a block
    again during the backward pass, outside the supernet: checkpoint inside options, not around a
    `OneOf`.

    Args:
        options: name -> module, at least two. All take the same arguments; where gates are soft,
            all return one tensor of the same shape.
        name: the choice's name, unique in the module. Names are not empty, have none of `=;+.`
            in them and no space around them.
        shared: two `OneOf` of the same name and option names, both with `shared=True`, are one
            decision (their weights stay separate).

    Raises:
        SpaceError: fewer than two options, a name that cannot be used, or an option that is no
            module.
    """

    def __init__(
        self, options: Mapping[str, nn.Module] | nn.ModuleDict, *, name: str, shared: bool = False
    ) -> None:
        super().__init__()
        members = dict(options.items())
        _check_name("name of OneOf", name)
        if len(members) < 2:
            raise SpaceError(f"choice {name!r} has {len(members)} option(s); accepted: two or more")
        for option, module in members.items():
            _check_name(f"option of choice {name!r}", option)
            if not isinstance(module, nn.Module):
                raise SpaceError(
                    f"option {option!r} of choice {name!r} is a {type(module).__name__}; "
                    "accepted: an instance of torch.nn.Module"
                )
            # With a prefix, an option may be called "half" or "train" like a method of nn.Module;
            # by name and not by number, a restricted copy keeps the names of its parameters.
            self.add_module(_PREFIX + option, module)
        self.name = name
        self.options = tuple(members)
        self.shared = shared

    def option(self, name: str) -> nn.Module:
        """The module of the option called `name`, or an `UnknownNameError`."""
        Choice(self.name, self.options).index(name)
        return self.get_submodule(_PREFIX + name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Weighted sum of the live options' outputs; see the class for when it can be called."""
        bound = _BOUND.get()
        if bound is None:
            raise SpaceError(
                f"OneOf {self.name!r} was called outside a supernet, where nothing says which "
                "option to run; call morphogen.supernets.build(space_of(module), NetworkSpec()) "
                "with gates, or the network that morphogen.supernets.network gives for an "
                "architecture"
            )
        if self.name not in bound.rows:
            raise SpaceError(
                f"OneOf {self.name!r} was called but is no choice of the space "
                f"({', '.join(bound.rows)}); make it a registered submodule of the searched module "
                "(in nn.ModuleList, not in a list)"
            )
        live, weights = bound.gates.row(*bound.rows[self.name])
        if not live:
            raise SpaceError(
                f"choice {self.name!r} has no live option; its gates need at least one"
            )
        if bound.gates.unit and len(live) == 1:
            # Any output will do, not only a tensor: nothing is computed with it.
            return self._run(live[0], args, kwargs)
        total: Tensor | None = None
        for position in live:
            output = self._run(position, args, kwargs)
            if not isinstance(output, Tensor):
                raise SpaceError(
                    f"option {self.options[position]!r} of choice {self.name!r} returns a "
                    f"{type(output).__name__}; accepted under soft gates: one tensor"
                )
            if total is not None and output.shape != total.shape:
                raise SpaceError(
                    f"options of choice {self.name!r} return different shapes: "
                    f"{self.options[live[0]]!r} {list(total.shape)}, "
                    f"{self.options[position]!r} {list(output.shape)}; accepted: equal shapes"
                )
            part = output if bound.gates.unit else output * weights[position]
            total = part if total is None else total + part
        return total

    def _run(self, position: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._modules[_PREFIX + self.options[position]](*args, **kwargs)  # type: ignore[misc]

    def _keep(self, options: Sequence[str]) -> None:
        """Drop all options but `options`, in their order: the `OneOf` of a restricted space."""
        kept = {_PREFIX + name: self.option(name) for name in options}
        for name in self.options:
            del self._modules[_PREFIX + name]
        self._modules.update(kept)
        self.options = tuple(options)

    def extra_repr(self) -> str:
        """Name and sharing, for `print(module)`."""
        return f"name={self.name!r}" + (", shared=True" if self.shared else "")


class ModuleSpace(SearchSpace, Differentiable):
    """The space of all networks that a module with `OneOf` in it stands for.

    Made by `space_of`. Every choice is a group of its own, with one row. A choice inside an option
    of another is a choice like any other, also where that option is not taken: such architectures
    are counted apart although their networks are equal, and `remarks` says so.

    Equality, hash and notation are those of the choices; the module is carried along only to build
    networks from. A space without one (read back from a run directory, say) answers everything
    else, and equals the one found in the module.

    Args:
        name: how the run directory calls the space.
        choices: the decisions.
        module: the module they were found in; neither changed nor called.
    """

    def __init__(
        self, name: str, choices: Sequence[Choice], module: nn.Module | None = None
    ) -> None:
        super().__init__(name, choices)
        self.module = module

    def copy_module(self) -> nn.Module:
        """A deep copy of the user's module in which each `OneOf` has the options of this space."""
        if self.module is None:
            raise SpaceError(
                f"space {self.name!r} has no module to build networks from; "
                "find it with morphogen.supernets.space_of(module)"
            )
        module = copy.deepcopy(self.module)
        for _, mark, _ in list(_marks(module)):
            mark._keep(self.choice(mark.name).options)
        return module

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """A sentence for every choice without effect: one inside options that are not taken."""
        arch = self.check(arch)
        marks = [] if self.module is None else list(_marks(self.module))
        active = {
            mark.name
            for _, mark, inside in marks
            if all(arch[name] == (option,) for name, option in inside)
        }
        return tuple(
            f"choice {name!r} has no effect: it is inside an option that is not taken"
            for name in dict.fromkeys(mark.name for _, mark, _ in marks)
            if name not in active
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleSpace:
        """The space itself: it is never changed, and its module need not be held twice."""
        return self


class ModuleSupernet(Supernet):
    """The user's module with the weights of every option.

    Args:
        space: the space found in the module; the supernet wraps a deep copy of its module.
    """

    def __init__(self, space: ModuleSpace) -> None:
        super().__init__()
        self.space = space
        self.module = space.copy_module()
        self._rows = {
            c.name: (g, row) for g, cs in space.groups.items() for row, c in enumerate(cs)
        }

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Output of the user's module for `x`, each `OneOf` in it weighted by its row of `gates`.

        Args:
            x: what the user's `forward` takes, usually images [batch, channels, height, width].
            gates: for each choice, under its name, weights [1, options].

        Raises:
            SpaceError: gates of another space, or options whose outputs cannot be summed.
        """
        for choice in self.space.choices:
            matrix = gates.weights.get(choice.group)
            if matrix is None or matrix.shape[-1] < len(choice.options):
                found = "nothing" if matrix is None else f"weights {list(matrix.shape)}"
                raise SpaceError(
                    f"gates hold {found} for choice {choice.name!r}; "
                    f"accepted: weights of {len(choice.options)} options"
                )
        token = _BOUND.set(_Bound(gates, self._rows))
        try:
            output: Tensor = self.module(x)
        finally:
            _BOUND.reset(token)
        return output


def space_of(module: nn.Module, name: str = "own") -> ModuleSpace:
    """The search space of `module`: one choice per `OneOf` found in it, in the order of modules.

    A `OneOf` that the module uses or registers twice is one choice.

    Args:
        module: a network with at least one `OneOf` among its submodules; it is not changed.
        name: name of the space.

    Raises:
        SpaceError: no `OneOf`; two of one name that are not both shared; shared ones whose options
            differ.
    """
    found: dict[str, tuple[str, OneOf]] = {}
    for path, mark, _ in _marks(module):
        where, first = found.setdefault(mark.name, (path, mark))
        if first is mark:
            continue
        if not (first.shared and mark.shared):
            raise SpaceError(
                f"two OneOf are named {mark.name!r} (at {where!r} and {path!r}); name them "
                "differently, or give both shared=True if they are one decision"
            )
        if first.options != mark.options:
            raise SpaceError(
                f"the shared OneOf {mark.name!r} has options {', '.join(first.options)} at "
                f"{where!r} but {', '.join(mark.options)} at {path!r}; accepted: the same options "
                "in the same order"
            )
    if not found:
        raise SpaceError(
            f"module {type(module).__name__} has no choices; mark at least one with "
            "morphogen.OneOf({...}, name=...), registered as a submodule"
        )
    return ModuleSpace(name, [Choice(n, m.options) for n, (_, m) in found.items()], module)


def check(module: nn.Module, example_input: Tensor) -> Tensor:
    """Try every option once, before any search: a copy of the module runs with all gates soft.

    Args:
        module: a network with `OneOf` in it; neither its weights nor its statistics change.
        example_input: what its `forward` takes, for example images [1, channels, height, width].

    Returns:
        The output, computed in evaluation mode without gradients.

    Raises:
        SpaceError: what `space_of` raises; options whose outputs cannot be summed, with the choice,
            the options and their shapes.
    """
    space = space_of(module)
    weights = {
        group: torch.full(mask.shape, 1 / mask.shape[-1], device=example_input.device)
        for group, mask in space.masks.items()
    }
    supernet = ModuleSupernet(space).eval()
    with torch.no_grad():
        output: Tensor = supernet(example_input, Gates.dense(space, weights))
    return output


def inherit(supernet: ModuleSupernet, arch: Architecture) -> nn.Module:
    """The stand-alone network of `arch` with the weights and statistics of `supernet`, copied.

    Args:
        supernet: the supernet of a user's module; it is not changed.
        arch: an architecture of its space.

    Returns:
        A plain PyTorch module in which each `OneOf` is replaced by the option that `arch` keeps.
    """
    return _resolved(copy.deepcopy(supernet.module), supernet.space.check(arch), set())


def reinitialise(net: nn.Module) -> tuple[str, ...]:
    """Draw the weights of `net` anew, in place, from torch's generator: training from scratch.

    Calls `reset_parameters` (or `_reset_parameters`, as torch's attention has it) of every
    submodule that has one, children before parents, so that a module which sets its children's
    weights has the last word.

    Returns:
        Names of the parameters that nobody drew: neither their module nor one around it has such
        a method. They keep their values; a caller who needs other ones must set them.
    """
    drawn: list[str] = []

    def visit(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            visit(child, f"{path}{name}.")
        for method in ("reset_parameters", "_reset_parameters"):
            reset = getattr(module, method, None)
            if callable(reset):
                reset()
                drawn.append(path)
                return

    visit(net, "")
    return tuple(n for n, _ in net.named_parameters() if not n.startswith(tuple(drawn)))


def _check_name(field: str, name: object) -> None:
    usable = isinstance(name, str) and name and name == name.strip()
    if not usable or any(c in _RESERVED for c in str(name)):
        raise SpaceError(
            f"{field} {name!r} cannot be used; accepted: a text without '=', ';', '+', '.' and "
            "without space around it"
        )


def _marks(
    module: nn.Module, path: str = "", inside: tuple[tuple[str, str], ...] = ()
) -> Iterator[tuple[str, OneOf, tuple[tuple[str, str], ...]]]:
    """Every `OneOf` at or below `module`: its path, itself, and the (choice, option) around it.

    One that is registered in several places comes several times: each place is its own route.
    """
    if isinstance(module, OneOf):
        yield path, module, inside
    for key, child in module._modules.items():
        if child is None:
            continue
        around = inside
        if isinstance(module, OneOf):
            around = (*inside, (module.name, key.removeprefix(_PREFIX)))
        yield from _marks(child, f"{path}.{key}" if path else key, around)


def _resolved(module: nn.Module, arch: Architecture, seen: set[nn.Module]) -> nn.Module:
    """`module` with each `OneOf` at or below it replaced, in place, by the option `arch` keeps."""
    while isinstance(module, OneOf):
        module = module.option(arch.one(module.name))
    if module not in seen:
        seen.add(module)
        # Not named_children: it leaves out the second name of a module registered under two.
        for key, child in list(module._modules.items()):
            if child is not None:
                module._modules[key] = _resolved(child, arch, seen)
    return module


def _supernet(space: ModuleSpace, spec: NetworkSpec) -> ModuleSupernet:
    """The supernet of a user's module; `spec` is not read, since the module has its own sizes."""
    return ModuleSupernet(space)


def _network(space: ModuleSpace, arch: Architecture, spec: NetworkSpec) -> nn.Module:
    """The stand-alone network of `arch`, with the user's initial weights; `spec` is not read."""
    return _resolved(space.copy_module(), arch, set())


register(ModuleSpace, supernet=_supernet, network=_network)
