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
from torch.func import functional_call

from morphogen.core import ConfigError
from morphogen.supernets import train_mode
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import length_of

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


def depends(value: Tensor, on: Tensor) -> bool:
    """Whether the graph of `value` reaches `on`."""
    if not (value.requires_grad and on.requires_grad):
        return False
    with torch.enable_grad():
        found = torch.autograd.grad(value.sum(), [on], allow_unused=True, retain_graph=True)
    return found[0] is not None
