"""One pass over a batch in train mode, and what several proxies ask of it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core import ConfigError
from morphogen.core.memory import ran_out
from morphogen.proxies.activations import Agreement, Reached
from morphogen.proxies.passes import (
    Loss,
    Traced,
    gradients,
    layers,
    leaves,
    run,
    weights,
    without_saving,
)
from morphogen.supernets.nested import mapped, shapes


class Forward:
    """The output of a batch; gradients, Jacobian and curvature are computed when asked for.

    Args:
        net: the network, in train mode during the pass.
        x: inputs of a batch.
        y: its targets; None if no gradient of the loss will be asked for.
        loss: mean loss of the output and the targets.
        maps: keep the outputs of the layers (fisher).
        images: the Jacobian by the inputs, one tensor of numbers, will be asked for.
        curved: gradients of the gradients will be asked for.
        codes: count the units that are on (nwot).
    """

    def __init__(
        self,
        net: nn.Module,
        x: Any,
        y: Any = None,
        *,
        loss: Loss = F.cross_entropy,
        maps: bool = False,
        images: bool = False,
        curved: bool = False,
        codes: bool = False,
        seed: int = 0,
    ) -> None:
        self.y, self.loss, self.curved = y, loss, curved
        self.x = x.detach().requires_grad_() if images else mapped(Tensor.detach, x)
        self._leaves = leaves(weights(net)) if y is not None else {}
        self.maps: list[tuple[int, Tensor]] = []
        """Per call of a layer: its weights per output channel, and its output."""
        given, replaced = self.x, self._leaves
        with ExitStack() as stack, torch.enable_grad():
            if maps:
                for layer in layers(net).values():
                    stack.callback(layer.register_forward_hook(self._keep).remove)
            if codes:
                traced, reached = Traced(net, given), Reached()
                given, replaced = traced.x, traced.weights | self._leaves
                stack.enter_context(reached.mode)
                if y is None and not images:
                    stack.enter_context(without_saving())
            self.scores = run(net, given, replaced, seed=seed)
            if codes:
                self.agreement: Agreement = reached.agreement(self.scores, traced)
                """Of the units that lie between inputs and output (nwot)."""

    def _keep(self, layer: nn.Module, args: object, out: Tensor) -> Tensor:
        self.maps.append((layer.weight[0].numel(), out))  # type: ignore[index]
        return out.clone()  # what follows may write in place

    @cached_property
    def _found(self) -> list[Tensor]:
        """Gradients of the loss by the weights, then by the maps."""
        if self.y is None:
            raise ValueError("gradients of the loss need targets")
        wanted = [*self._leaves.values(), *(a for _, a in self.maps)]
        with torch.enable_grad():
            return gradients(self._loss(), wanted, again=self.curved)

    def _loss(self) -> Tensor:
        try:
            return self.loss(self.scores, self.y)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if ran_out(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"the loss fails on the network's output {shapes(self.scores)} and targets "
                f"{shapes(self.y)}: {reason}; accepted: a network whose output the loss takes"
            ) from error

    @property
    def by_weights(self) -> list[tuple[Tensor, Tensor]]:
        """Per layer its weight W and dL/dW."""
        pairs = zip(self._leaves.values(), self._found, strict=False)
        return [(w.detach(), g.detach()) for w, g in pairs]

    @property
    def by_maps(self) -> list[tuple[int, Tensor, Tensor]]:
        """Per call of a layer: its weights per output channel, its output a and dL/da."""
        pairs = zip(self.maps, self._found[len(self._leaves) :], strict=True)
        return [(fan_in, a.detach(), g.detach()) for (fan_in, a), g in pairs]

    @cached_property
    def curvature(self) -> list[tuple[Tensor, Tensor]]:
        """Per layer its weight W and its part of H g: the Hessian of the loss times dL/dW."""
        tensors = list(self._leaves.values())
        found = self._found[: len(tensors)]
        with torch.enable_grad():
            product = torch.stack([(g.detach() * g).sum() for g in found]).sum()
        again = gradients(product, tensors)
        return [(w.detach(), h) for w, h in zip(tensors, again, strict=True)]

    @cached_property
    def jacobian(self) -> Tensor:
        """[b, values of an image]: d(sum of all class scores) / d(image), a row for each image."""
        with torch.enable_grad():
            return gradients(self.scores.sum(), [self.x])[0].flatten(1)
