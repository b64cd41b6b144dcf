"""What each option of each choice costs in a supernet: a resource cost that gates can weigh.

    costs = morphogen.cost.of_options(space, NetworkSpec(channels=16, depth=8))
    loss = loss + eta * costs.expected(gates, "macs")

An option's cost is that of its modules (`Supernet.options`) in one forward pass of one input, in
the conventions of `count`, with every option live: absolute, so that `none` costs 0. What is not
an option's (stem, sums, classifier) belongs to nobody. Multiply-adds are those of the stand-alone
networks wherever these have the same widths; parameters and memory traffic are the supernet's,
whose norms often have no scale and shift where the networks' have both. Of a choice inside an
option of another, the cost counts for both.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from morphogen.core import CapabilityError, SpaceError
from morphogen.cost.count import Input, Watch, channels_of, watched
from morphogen.cost.sizes import published
from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates, NetworkSpec, Supernet, build

Field = Literal["params", "macs", "flops", "memory_access"]
"""Fields of `Cost` that an option has; see there for their units."""

PerOption = Mapping[str, NDArray[np.float64]]
"""Group -> [choices, widest], 0 where a choice has no such option; or [places, choices, widest]."""

Members = Mapping[tuple[str, int, int], Sequence[nn.Module]]
"""Group, row and column of an option -> its module in each place."""


@dataclass(frozen=True, eq=False)
class OptionCosts:
    """Costs of the options of a space."""

    params: PerOption
    macs: PerOption
    flops: PerOption
    memory_access: PerOption
    stands: Mapping[str, NDArray[np.int64]]
    """Group -> [choices]: in how many places (cells) a choice stands; 0 where no option has a
    module, and so nothing is known of its places."""
    rest: Mapping[str, float]
    """Field -> what is no option's: stem, preprocessing, sums, classifier."""

    def of_choices(self, gates: Gates, field: Field) -> dict[str, Tensor]:
        """The cost of each choice: that of its options, weighted by the gates.

        Args:
            gates: weights that all examples share.
            field: which cost.

        Returns:
            Group -> [choices], or [places, choices] of costs that were taken with `places`;
            differentiable in the gates.
        """
        found = {}
        for group, values in getattr(self, field).items():
            weights = gates.weights[group]
            costs = torch.as_tensor(values, dtype=weights.dtype, device=weights.device)
            found[group] = (weights * costs).sum(dim=-1)
        return found

    def expected(self, gates: Gates, field: Field) -> Tensor:
        """The cost of all choices, each the sum of its options' weighted by the gates.

        With one-hot gates it is the cost of the path, with probabilities the expected cost;
        differentiable in the gates.

        Returns:
            A scalar, or [examples] of gates that each example has for itself.
        """
        found = []
        for group, values in getattr(self, field).items():
            weights = gates.weights[group]
            total = values.sum(axis=0) if values.ndim > 2 else values
            costs = torch.as_tensor(total, dtype=weights.dtype, device=weights.device)
            found.append((weights * costs).sum(dim=(-2, -1)))
        return torch.stack(found).sum(dim=0)


def of_options(
    space: SearchSpace,
    spec: NetworkSpec | None = None,
    image: Input = (3, 32, 32),
    *,
    places: bool = False,
) -> OptionCosts:
    """The cost of every option of every choice in the supernet of `space`.

    Args:
        space: a space with a supernet.
        spec: size of the supernet; its `in_channels` are taken from `image`, and operations see all
            channels. By default `published(space)`. A user's own module has its own size.
        image: one input, see `Input`.
        places: keep the places where a choice stands (the cells) apart, as one more axis in front;
            else they are added up.

    Raises:
        CapabilityError: the space has no supernet, or one that does not know its options' modules,
            or whose costs are no sums over choices.
        SpaceError: it does not take such inputs, or an option is not run when all are live.
    """
    spec = spec or published(space)
    channels = channels_of(image) or spec.in_channels
    spec = replace(spec, in_channels=channels, execution="plain", partial_channels=1)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        net = build(space, spec)
    if not net.additive:
        raise CapabilityError(
            f"in space {space.name!r} an option has no cost of its own: it depends on what other "
            "choices keep; accepted: a space whose costs are sums over choices, or the cost of "
            "whole paths (cost.Paths)"
        )
    members = _members(space, net)
    modules = {m for ms in members.values() for m in ms}
    meters = _Meters()
    with watched(net, image) as (watch, x), meters.reading(modules, watch):
        net(x, _all_live(space, net))
    _require_run(space, members, meters.spent)
    owned = {p for module in modules for p in module.parameters()}
    flops = watch.flops - meters.flops
    table = partial(_table, space, members, places)
    return OptionCosts(
        params=table(lambda module: sum(p.numel() for p in module.parameters())),
        macs=table(lambda module: meters.spent[module][0] // 2),
        flops=table(lambda module: meters.spent[module][0]),
        memory_access=table(lambda module: meters.spent[module][1]),
        stands=_stands(space, members),
        rest={
            "params": sum(p.numel() for p in net.parameters() if p not in owned),
            "macs": flops // 2,
            "flops": flops,
            "memory_access": watch.traffic - meters.traffic,
        },
    )


def _members(space: SearchSpace, net: Supernet) -> Members:
    return {
        (group, row, column): net.options(choice.name, option)
        for group, choices in space.groups.items()
        for row, choice in enumerate(choices)
        for column, option in enumerate(choice.options)
    }


def _all_live(space: SearchSpace, net: nn.Module) -> Gates:
    first = next(net.parameters(), torch.empty(0))
    weights = {
        group: torch.ones(mask.shape, device=first.device, dtype=first.dtype)
        for group, mask in space.masks.items()
    }
    return Gates.dense(space, weights)


def _require_run(space: SearchSpace, members: Members, spent: Container[nn.Module]) -> None:
    for (group, row, column), modules in members.items():
        if not all(module in spent for module in modules):
            choice = space.groups[group][row]
            raise SpaceError(
                f"option {choice.options[column]!r} of choice {choice.name!r} is not run when all "
                "options are live, and has no cost of its own; accepted: a choice that every "
                "forward pass reaches"
            )


def _table(
    space: SearchSpace, members: Members, places: bool, value: Callable[[nn.Module], float]
) -> PerOption:
    """The value of each option's module, [places, choices, widest] or added up over places."""
    most = max(1, *(len(modules) for modules in members.values()))
    found = {group: np.zeros((most, *mask.shape)) for group, mask in space.masks.items()}
    for (group, row, column), modules in members.items():
        for place, module in enumerate(modules):
            found[group][place, row, column] = value(module)
    return found if places else {group: each.sum(axis=0) for group, each in found.items()}


def _stands(space: SearchSpace, members: Members) -> dict[str, NDArray[np.int64]]:
    found = {group: np.zeros(len(choices), np.int64) for group, choices in space.groups.items()}
    for (group, row, _), modules in members.items():
        found[group][row] = max(found[group][row], len(modules))
    return found


@dataclass
class _Meters:
    """FLOPs and bytes of every call of some modules, in one forward pass."""

    spent: dict[nn.Module, tuple[int, int]] = field(default_factory=dict)
    """By each of them."""
    flops: int = 0
    """By those that run inside no other."""
    traffic: int = 0
    """Likewise, bytes."""
    inside: int = 0
    """How many of them are running now."""

    @contextmanager
    def reading(self, modules: Iterable[nn.Module], watch: Watch) -> Iterator[None]:
        """While in it, calls of the modules are read off the watch."""
        hooks = [hook for module in modules for hook in self._hooks(module, watch)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hooks(self, module: nn.Module, watch: Watch) -> list[RemovableHandle]:
        began: list[tuple[int, int]] = []

        def before(*_: Any) -> None:
            began.append((watch.flops, watch.traffic))
            self.inside += 1

        def after(*_: Any) -> None:
            flops_before, traffic_before = began.pop()
            flops, traffic = watch.flops - flops_before, watch.traffic - traffic_before
            so_far = self.spent.get(module, (0, 0))
            self.spent[module] = so_far[0] + flops, so_far[1] + traffic
            self.inside -= 1
            if not self.inside:
                self.flops += flops
                self.traffic += traffic

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
