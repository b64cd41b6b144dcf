"""Proxies that read which units are on: nwot and the number of linear regions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from morphogen.core import ConfigError
from morphogen.proxies.passes import Traced, run, without_saving
from morphogen.proxies.watch import Activations

NO_ACTIVATION = (
    "the network calls no activation that can be read; accepted: relu, relu6, leaky_relu and "
    "their kin, as a module or as a function, on a value that depends on the inputs"
)


class Agreement:
    """The kernel of NASWOT: for each two images, the number of units that are alike.

    With codes in {0, 1} it is c c^T + (1 - c)(1 - c)^T, with signs s = 2c - 1 half of
    units + s s^T, which takes one product. Counts below 2^24 per call are exact in float32.
    """

    def __init__(self) -> None:
        self.units = 0
        self._signs: Tensor | None = None

    def add(self, z: Tensor) -> None:
        """Count the pre-activations z [images, ...]."""
        with torch.no_grad():
            signs = (z.detach().flatten(1) > 0).float().mul_(2).sub_(1)
            product = (signs @ signs.T).double()
        self.units += signs.shape[1]
        self._signs = product if self._signs is None else self._signs + product

    def join(self, other: Agreement, *, counted: bool = True) -> None:
        """Add what another has counted, or only that it was there: such units agree on nothing."""
        if other._signs is None:
            return
        if self._signs is None:
            self._signs = torch.zeros_like(other._signs)
        if counted:
            self.units += other.units
            self._signs = self._signs + other._signs

    def kernel(self) -> Tensor:
        """float64 [images, images]; the diagonal is the number of units.

        Raises:
            ConfigError: nothing was counted.
        """
        if self._signs is None:
            raise ConfigError(NO_ACTIVATION)
        return (self.units + self._signs) / 2

    def score(self) -> float:
        """Log |det kernel|; -inf if two images have the same code."""
        return float(torch.linalg.slogdet(self.kernel()).logabsdet)


class Reached:
    """Counts the units that lie between the inputs and the scores, and no others.

    An activation on a branch that starts from nothing, or leads nowhere, is computed and has no
    effect: the graph of the pass says which these are. Where no graph is recorded (a checkpointed
    or reversible block) all count.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Agreement, Node | None, bool]] = []
        self.mode = Activations(self._seen, self._made)
        """The pass runs inside it, and with gradients enabled."""

    def _seen(self, z: Tensor) -> None:
        agreement = Agreement()
        agreement.add(z)
        self._calls.append((agreement, None, True))

    def _made(self, out: Tensor) -> None:
        # At once: what follows may write to the output, and its node is then another.
        self._calls[-1] = (self._calls[-1][0], out.grad_fn, not torch.is_grad_enabled())

    def agreement(self, scores: Tensor, traced: Traced) -> Agreement:
        """What was counted in the pass that has led from the inputs to the scores.

        Args:
            scores: the network's output.
            traced: its inputs.
        """
        between, total = traced.between(scores), Agreement()
        for agreement, node, unknown in self._calls:
            total.join(agreement, counted=unknown or node in between)
        return total


def nwot(
    net: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    mode: Literal["train", "eval"] = "train",
    reachable_only: bool = True,
) -> float:
    """NASWOT: log |det K|, where K counts the units on which two images agree.

    Mellor, Turner, Storkey, Crowley: Neural Architecture Search without Training. ICML 2021,
    arXiv 2006.04647, the second version of the score. A unit is on if its pre-activation is above
    0. Every call of an activation counts once, if it depends on the images and the class scores
    depend on it: units of dead branches say nothing about what the network computes.

    Args:
        net: the network.
        x: images [b, channels, height, width].
        y: not used.
        mode: of the batch norms. The authors use train; Zero-Cost-PT (arXiv 2106.06799) uses eval.
        reachable_only: False counts all that is computed, dead branches too.

    Returns:
        The score; minus infinity if two images have one code, or nothing of the images reaches
        the class scores.

    Raises:
        ConfigError: the network calls no activation.
    """
    del y
    training = mode == "train"
    if not reachable_only:
        agreement = Agreement()
        with torch.no_grad(), Activations(agreement.add):
            run(net, x, training=training)
        return agreement.score()
    reached, traced = Reached(), Traced(net, x)
    with torch.enable_grad(), without_saving(), reached.mode:
        scores = run(net, traced.x, traced.weights, training=training)
    return reached.agreement(scores, traced).score()


def linear_regions(net: nn.Module, x: Tensor, y: Tensor | None = None) -> float:
    """The number of different codes of the feature maps' units among the images.

    Chen, Gong, Wang: Neural Architecture Search on ImageNet in Four GPU Hours (TE-NAS). ICLR 2021,
    arXiv 2102.11535. Two images with the same code lie in one linear region of the network. A
    network with many units gives every image a code of its own: TE-NAS counts on thin networks
    (one input channel, no stem) and thousands of tiny images.

    Args:
        net: the network, in train mode while it is counted.
        x: images [b, channels, height, width]; for TE-NAS standard normal noise of 3x3 pixels.
        y: not used.

    Raises:
        ConfigError: the network calls no activation on a feature map.
    """
    del y
    codes: list[np.ndarray] = []

    def keep(z: Tensor) -> None:
        if z.dim() > 2:
            codes.append(np.packbits((z.detach() > 0).flatten(1).cpu().numpy(), axis=1))

    with torch.no_grad(), Activations(keep):
        run(net, x)
    if not codes:
        raise ConfigError(NO_ACTIVATION)
    return float(len(np.unique(np.concatenate(codes, axis=1), axis=0)))


TINY, NOISES = 4, 3000
"""Pixels of a side and number of the images that `linear_regions` is computed on by name: TE-NAS
has 3000 of 3x3, but 4x4 can be halved twice."""


def tiny_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 1) images [3000, channels, 4, 4], or signals of 4 points, with x's channels and type."""
    shape = (NOISES, x.shape[1], *[TINY] * (x.dim() - 2))
    return torch.randn(shape, generator=generator).to(device=x.device, dtype=x.dtype)
