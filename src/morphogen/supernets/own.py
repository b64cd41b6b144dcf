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
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from morphogen.core import Architecture, Choice, SpaceError
from morphogen.spaces import ModuleSpace
from morphogen.spaces.module import Route
from morphogen.supernets.base import NetworkSpec, Supernet, register
from morphogen.supernets.gates import Gates
from morphogen.supernets.nested import call
from morphogen.supernets.oneof import PREFIX, OneOf, bound


class ModuleSupernet(Supernet):
    """The user's module with the weights of every option.

    Args:
        space: the space found in the module; the supernet wraps a deep copy of its module.
    """

    def __init__(self, space: ModuleSpace) -> None:
        super().__init__()
        self.space = space
        self.module = copied_module(space)
        self._rows = {
            c.name: (g, row) for g, cs in space.groups.items() for row, c in enumerate(cs)
        }

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        found = [mark.option(option) for _, mark, _ in _marks(self.module) if mark.name == choice]
        return list(dict.fromkeys(found))  # one that is registered twice comes twice

    def forward(self, x: Any, gates: Gates) -> Any:
        """Output of the user's module for `x`, each `OneOf` in it weighted by its row of `gates`.

        Args:
            x: what the user's `forward` takes: a tensor, or a tuple or dict of several.
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
        with bound(gates, self._rows):
            return call(self.module, x)


def copied_module(space: ModuleSpace) -> nn.Module:
    """A deep copy of the user's module in which each `OneOf` has the options of the space."""
    own: nn.Module | None = space.module
    if own is None:
        raise SpaceError(
            f"space {space.name!r} has no module to build networks from; "
            "find it with morphogen.supernets.space_of(module)"
        )
    memo: dict[int, Any] = {}
    for tensor in (*own.parameters(), *own.buffers()):
        if is_lazy(tensor):  # it has no size yet, and no copy of its own making
            kind: Any = type(tensor)
            memo[id(tensor)] = kind(
                requires_grad=tensor.requires_grad, device=tensor.device, dtype=tensor.dtype
            )
    try:
        module = copy.deepcopy(own, memo)
    except Exception as error:  # whatever a user's class raises when it is copied
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise SpaceError(
            f"module {type(own).__name__} cannot be copied ({reason}); accepted: one "
            "that copy.deepcopy takes, without open files or locks, and with the weight norm "
            "of torch.nn.utils.parametrizations instead of the one of torch.nn.utils"
        ) from error
    for _, mark, _ in list(_marks(module)):
        mark._keep(space.choice(mark.name).options)
    return module


def space_of(module: nn.Module, name: str = "own") -> ModuleSpace:
    """The search space of `module`: one choice per `OneOf` found in it, in the order of modules.

    A `OneOf` that the module uses or registers twice is one choice.

    Args:
        module: a network with at least one `OneOf` among its submodules; it is not changed.
        name: name of the space.

    Raises:
        SpaceError: it is no module, or a compiled one; no `OneOf`; two of one name that are not
            both shared; shared ones whose options differ.
    """
    _check_module(module)
    found: dict[str, tuple[str, OneOf]] = {}
    routes: dict[str, list[Route]] = {}
    for path, mark, inside in _marks(module):
        routes.setdefault(mark.name, []).append(inside)
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
    choices = [Choice(n, m.options) for n, (_, m) in found.items()]
    inner = {name: routes[name] for name in found if () not in routes[name]}
    return ModuleSpace(name, choices, module, inner)


def _check_module(module: object) -> None:
    if isinstance(module, nn.Module):
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            raise SpaceError(
                "the module was compiled by torch.compile, which would keep the choices of its "
                "first call; accepted: the module itself, to be compiled when it is found"
            )
        for path, part in module.named_modules():
            trained = any(weight.requires_grad for weight in part.parameters())
            if path and trained and isinstance(part, torch.jit.ScriptModule):
                raise SpaceError(
                    f"{path} of the module is a torch.jit script, whose copies cannot be trained; "
                    "accepted: the module that was scripted, or a frozen one"
                )
        return
    accepted = "accepted: an instance of torch.nn.Module with morphogen.OneOf in it"
    if isinstance(module, type):
        call = f", such as {module.__name__}(...)" if issubclass(module, nn.Module) else ""
        raise SpaceError(f"module is the class {module.__name__}; {accepted}{call}")
    raise SpaceError(f"module is of type {type(module).__name__}; {accepted}")


def inherit(supernet: ModuleSupernet, arch: Architecture) -> nn.Module:
    """The stand-alone network of `arch` with the weights and statistics of `supernet`, copied.

    Args:
        supernet: the supernet of a user's module; it is not changed.
        arch: an architecture of its space.

    Returns:
        A plain PyTorch module in which each `OneOf` is replaced by the option that `arch` keeps.
    """
    if not isinstance(supernet, ModuleSupernet):
        raise SpaceError(
            f"supernet is of type {type(supernet).__name__}; accepted: what "
            "morphogen.supernets.build gives for the space of a module"
        )
    return _resolved(copy.deepcopy(supernet.module), supernet.space.check(arch), set())


def _marks(
    module: nn.Module, path: str = "", inside: Route = ()
) -> Iterator[tuple[str, OneOf, Route]]:
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
            around = (*inside, (module.name, key.removeprefix(PREFIX)))
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
    return _resolved(copied_module(space), arch, set())


register(ModuleSpace, supernet=_supernet, network=_network)
