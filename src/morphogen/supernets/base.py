"""The contract of a supernet, its specification, and the registry from space to network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from morphogen.core import Architecture, CapabilityError, SpaceError
from morphogen.spaces import SearchSpace, about, registered
from morphogen.supernets.convolution import guarded
from morphogen.supernets.gates import Gates, weighted


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Size of a supernet or of a stand-alone network; each space reads it in its own way."""

    channels: int = 16
    """C, channels after the stem (NAS-Bench-201: 16; DARTS search 16, retraining 36)."""
    depth: int = 5
    """NAS-Bench-201 (N), 1Shot1: cells per stage, of three. DARTS space: all cells (search 8)."""
    classes: int = 10
    """Number of classes; of networks of sequences, different target tokens."""
    in_channels: int = 3
    """Channels of the input images; of networks of sequences, different source tokens."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """Stem of the DARTS space: 3x3 convolution, or three strided ones for large images."""
    execution: Literal["fused", "plain"] = "fused"
    """fused: shared activations, pools and norms; plain: one module per option, the reference, in
    which gates of each example always run."""
    partial_channels: int = 1
    """K: of a supernet whose nodes add up edges, operations run on 1/K of the channels (PC-DARTS,
    `supernets.partial`); 1: on all. Stand-alone networks have all of them."""
    dropout: float = 0.0
    """Networks of sequences: probability that an element of a layer's output is dropped."""
    auxiliary: bool = False
    """Stand-alone networks of the DARTS space: add the auxiliary head (training only)."""


class Supernet(nn.Module):
    """One network that holds the weights of every option of `space`.

    It holds no architecture parameters and no policy: gates arrive as an argument of `forward`.
    """

    space: SearchSpace
    additive: ClassVar[bool] = True
    """Whether the cost of a path is the sum of what its options cost, each by itself."""

    takes_partial: ClassVar[bool] = False
    """Whether its class reads `NetworkSpec.partial_channels`."""

    @abstractmethod
    def forward(self, x: Any, gates: Gates) -> Tensor:
        """Class scores [batch, classes] of images x [batch, channels, height, width].

        Of other data what the task's batches have as `x`, and what its loss takes.
        """

    def options(self, choice: str, option: str) -> list[nn.Module]:
        """The modules that belong to an option of a choice, one for each place where it stands.

        An option that has none (`none`, an input that comes as it is) has the empty list. Freezing,
        counting, resetting an option means these modules, in all cells.

        Raises:
            UnknownNameError: there is no such choice, or option.
            CapabilityError: this kind of supernet does not tell.
        """
        self.space.choice(choice).index(option)
        return self._options(choice, option)

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        raise CapabilityError(
            f"the supernet of space {self.space.name!r} does not say which modules belong to an "
            f"option; accepted: a {type(self).__name__} with a method _options"
        )

    def alone(self, arch: Architecture, gates: Gates) -> nn.Module:
        """The stand-alone network of `arch`, with these weights and the gates' weights as factors.

        It gives what the supernet gives under the gates, if `arch` keeps all of their live options.
        Built as `network` builds it; the tensors are copies.

        Raises:
            CapabilityError: networks of this space do not weigh their options.
        """
        raise CapabilityError(
            f"networks of space {self.space.name!r} keep one option of each choice as it is; "
            "accepted: a space whose networks weigh several"
        )

    def backbone(self) -> list[nn.Module]:
        """The modules outside of options whose gradients say how well options share weights.

        Here all that is outside of options. Cells have none but what lies between them: what all
        paths share at the ends of the network says little of an edge (GM-NAS, authors' code).
        """
        inside = {
            id(part)
            for choice in self.space.choices
            for option in choice.options
            for module in self.options(choice.name, option)
            for part in module.modules()
        }
        return [m for m in self.modules() if id(m) not in inside]


class Layered(Supernet):
    """A supernet of layers in sequence, one for each choice of the space, in its order.

    All choices are of one group. A pass can begin at any layer, with the output of the one before.
    """

    layers: nn.ModuleList
    """Per choice an `nn.ModuleDict` of its options."""

    @abstractmethod
    def begin(self, x: Tensor) -> Tensor:
        """The first layer's input."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Class scores of the last layer's output."""

    def layer(self, number: int, x: Tensor, gates: Gates) -> Tensor:
        """Weighted sum of the live options of one layer; what is not live is not executed."""
        choice, options = self.space.choices[number], self.layers[number]
        live, weights = gates.row(choice.group, number)
        terms: list[Tensor] = [options[choice.options[i]](x) for i in live]  # type: ignore[index]
        if not gates.unit:
            terms = [weighted(term, weights[i]) for i, term in zip(live, terms, strict=True)]
        return sum(terms[1:], terms[0])

    def _options(self, choice: str, option: str) -> list[nn.Module]:
        names = [c.name for c in self.space.choices]
        return [self.layers[names.index(choice)][option]]  # type: ignore[index]

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Class scores [n, classes] of images [n, in_channels, h, w].

        Args:
            x: images.
            gates: the space's one group, weights [layers, options].
        """
        x = self.begin(x)
        for number in range(len(self.layers)):
            x = self.layer(number, x, gates)
        return self.scores(x)


@contextmanager
def frozen_statistics(net: nn.Module) -> Iterator[None]:
    """Within the context, batch norms in train mode leave their running statistics alone.

    Passes that only ask for an architecture's gradient or score (alpha steps, Hessian products)
    must not move them; batch statistics are used all the same.
    """
    tracked = [m for m in net.modules() if getattr(m, "track_running_stats", False) is True]
    for module in tracked:
        setattr(module, "track_running_stats", False)  # noqa: B010
    try:
        yield
    finally:
        for module in tracked:
            setattr(module, "track_running_stats", True)  # noqa: B010


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The net in eval mode; afterwards each module is in the mode in which it was."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


Builder = Callable[[Any, NetworkSpec], Supernet]
NetworkBuilder = Callable[[Any, Architecture, NetworkSpec], nn.Module]


@dataclass(frozen=True)
class _Entry:
    supernet: Builder
    network: NetworkBuilder


_REGISTRY: dict[type[SearchSpace], _Entry] = {}


def no_supernet(space: SearchSpace, spec: NetworkSpec) -> Supernet:
    """The `supernet` of a space whose options share no weights: there is none.

    Raises:
        CapabilityError: always.
    """
    raise CapabilityError(
        f"space {space.name!r} has no supernet, since its options share no weights; accepted: a "
        "method that trains its candidates one by one, or another space"
    )


def register(space: type[SearchSpace], *, supernet: Builder, network: NetworkBuilder) -> None:
    """Say once, beside the classes, how the supernet and the networks of a space are built.

    In the module that the space's registration names as `supernet`, or in the space's own.
    """
    if space in _REGISTRY:
        raise CapabilityError(f"space {space.__name__} has a supernet already")
    _REGISTRY[space] = _Entry(supernet, network)


def _entry(space: SearchSpace) -> _Entry:
    if not isinstance(space, SearchSpace):
        raise SpaceError(
            f"space is of type {type(space).__name__}; accepted: a search space, as "
            "morphogen.spaces.make(name) or morphogen.space_of(module) gives it"
        )
    info = about(space)
    if info is not None and info.supernet:
        import_module(info.supernet)
    for kind in type(space).__mro__:
        if kind in _REGISTRY:
            return _REGISTRY[kind]
    known = ", ".join(name for name, other in registered().items() if other.supernet)
    raise CapabilityError(
        f"space {space.name!r} has no supernet, only architectures; spaces with one: {known}, "
        "and that of your own module (morphogen.space_of)"
    )


def build(space: SearchSpace, spec: NetworkSpec) -> Supernet:
    """The supernet of `space`; its weights are drawn from torch's generator.

    Raises:
        CapabilityError: it has none, or none of partial channels.
    """
    builder = _entry(space).supernet
    if spec.partial_channels > 1 and not getattr(builder, "takes_partial", False):
        raise CapabilityError(
            f"partial_channels is {spec.partial_channels}, and the supernet of space "
            f"{space.name!r} has no edges that partial channels could pass by; accepted: 1, or a "
            "space of cells whose nodes add up edges, as nasbench201 and darts"
        )
    return guarded(builder(space, spec))


def has_supernet(space: SearchSpace) -> bool:
    """Whether `build` can make one; in a space without, candidates are trained one by one."""
    return _entry(space).supernet is not no_supernet


def network(space: SearchSpace, arch: Architecture, spec: NetworkSpec) -> nn.Module:
    """The stand-alone network of `arch`: a plain module that knows nothing of gates."""
    return guarded(_entry(space).network(space, space.check(arch), spec))
