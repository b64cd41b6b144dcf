"""How proxies run a network: as it is found, so it is left.

A pass runs on other tensors than the network's own (`torch.func.functional_call`): weights that
share its memory and are only read, copies of its buffers, which running statistics may write to.
Gradients are asked for (`torch.autograd.grad`), never accumulated. Train flags and torch's
generator are put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, saved_tensors_hooks
from torch.func import functional_call

from morphogen.core import ConfigError
from morphogen.supernets import train_mode
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import length_of, mapped, tensors_of

Loss = Callable[[Any, Any], Tensor]
"""(the network's output, the targets) -> a scalar."""

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""The layers that sums run over. Norms and biases never count."""


@contextmanager
def mode(net: nn.Module, *, training: bool, seed: int) -> Iterator[None]:
    """The network in train or eval mode, torch's generator seeded; both are put back.

    Args:
        net: the network.
        training: train mode (batch norms use the batch's statistics) or eval mode.
        seed: of what the network draws by itself (dropout, noise).
    """
    before = [(module, module.training) for module in net.modules()]
    devices = dict.fromkeys(p.device for p in net.parameters())
    try:
        train_mode(net) if training else net.eval()
        with forked_rng(*devices, seed=seed):
            yield
    finally:
        for module, flag in before:
            module.training = flag


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers by name, each once.

    Raises:
        ConfigError: there is none, or one has no weight of its own (it is parametrized).
    """
    found: dict[str, nn.Module] = {
        name: module for name, module in net.named_modules() if isinstance(module, LAYERS)
    }
    for name, module in found.items():
        if module._parameters.get("weight") is None:
            raise ConfigError(
                f"layer {name!r} has no weight of its own but computes it; accepted: plain layers "
                "(torch.nn.utils.parametrize.remove_parametrizations)"
            )
    if not found:
        raise ConfigError("the network has no convolution and no linear layer; accepted: some")
    return found


def weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of `layers(net)` by parameter name, shared ones once."""
    own = {id(module.weight) for module in layers(net).values()}
    return {name: p for name, p in net.named_parameters() if id(p) in own}


def leaves(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values, without copies, as tensors that can be differentiated by."""
    return {name: p.detach().requires_grad_() for name, p in parameters.items()}


def run(
    net: nn.Module,
    x: Any,
    replaced: Mapping[str, Tensor] | None = None,
    *,
    training: bool = True,
    seed: int = 0,
) -> Tensor:
    """The output, a row for each example; of several (auxiliary heads) the first.

    Args:
        net: the network; it is left as it was.
        x: inputs of a batch.
        replaced: parameters and buffers to use instead of the network's own, by name; the buffers
            among them are written to.
        training: train or eval mode.
        seed: of what the network draws by itself.

    Raises:
        ConfigError: the output is no tensor of one row per example; or the network is a supernet
            that runs fused, where activations and norms of several options are one.
    """
    if any(getattr(module, "execution", "plain") == "fused" for module in net.modules()):
        raise ConfigError(
            "execution of the supernet is 'fused'; accepted for proxies: 'plain' "
            "(NetworkSpec(execution='plain'), or net.execution = 'plain')"
        )
    tensors: dict[str, Tensor] = {name: p.detach() for name, p in net.named_parameters()}
    tensors |= {name: b.detach().clone() for name, b in net.named_buffers()}
    tensors |= replaced or {}
    with mode(net, training=training, seed=seed):
        args = x if isinstance(x, tuple) else () if isinstance(x, Mapping) else (x,)
        named = dict(x) if isinstance(x, Mapping) else {}
        out = functional_call(net, tensors, args, named)
    out = out[0] if isinstance(out, tuple | list) else out
    count = length_of(x)
    if not isinstance(out, Tensor) or out.dim() < 1 or len(out) != count:
        shape = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(
            f"the network's output is {shape}; accepted by proxies: a tensor of {count} rows, "
            "one for each example"
        )
    return out


def gradients(value: Tensor, by: Sequence[Tensor], *, again: bool = False) -> list[Tensor]:
    """The gradient of a scalar by each tensor; zero where it does not depend on it.

    Args:
        value: the scalar.
        by: what to differentiate by.
        again: the gradient itself will be differentiated.
    """
    if not by or not value.requires_grad:
        return [torch.zeros_like(t) for t in by]
    found = torch.autograd.grad(value, by, allow_unused=True, create_graph=again, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, by, strict=True)]


class Traced:
    """Inputs from which a pass can be followed, to learn what depends on them.

    Numbers are followed themselves. Tokens cannot be: there the graph starts at the weights, and
    all that the output depends on counts.

    Args:
        net: the network.
        x: inputs of a batch.
    """

    def __init__(self, net: nn.Module, x: Any) -> None:
        self._sources: list[Tensor] = []
        parts = tensors_of(x)
        self.numbers = bool(parts) and all(part.is_floating_point() for part in parts)
        self.x: Any = mapped(self._followed, x) if self.numbers else mapped(Tensor.detach, x)
        """The same inputs, for the pass."""
        self.weights: dict[str, Tensor] = {}
        """Weights for the pass, by name; none where the inputs are followed."""
        if not self.numbers:
            floating = {n: p for n, p in net.named_parameters() if p.is_floating_point()}
            self.weights = leaves(floating)

    def _followed(self, part: Tensor) -> Tensor:
        source = part if part.requires_grad else part.detach().requires_grad_()
        self._sources.append(source)
        with torch.enable_grad():
            return source.clone()  # the network may write to it

    def between(self, value: Tensor) -> set[Node]:
        """The nodes of the graph through which the inputs reach a value.

        Args:
            value: made by the pass, with gradients enabled.
        """
        sources = {id(source) for source in self._sources}
        found: set[Node] = set()
        known: set[Node] = set()
        stack = [(value.grad_fn, False)]
        while stack:
            node, finished = stack.pop()
            if node is None or (not finished and node in known):
                continue
            if finished:
                starts = not self.numbers or id(getattr(node, "variable", None)) in sources
                if starts or any(before in found for before, _ in node.next_functions):
                    found.add(node)
                continue
            known.add(node)
            stack.append((node, True))
            stack += [(before, False) for before, _ in node.next_functions]
        return found


@contextmanager
def without_saving() -> Iterator[None]:
    """A graph is recorded, but none of the values that a backward pass would need."""
    with saved_tensors_hooks(lambda _: None, lambda _: _not_kept()):
        yield


def _not_kept() -> Tensor:
    raise AssertionError("this graph is to be followed, not differentiated")
