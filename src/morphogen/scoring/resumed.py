"""NASWOT of a layered supernet, computed from the first layer whose gates have changed.

Perturbing the choice of one layer leaves the layers before it as they were. In cell spaces, where
all cells share their gates, there is nothing to save.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from morphogen.proxies.activations import Agreement
from morphogen.proxies.passes import mode
from morphogen.proxies.watch import Activations
from morphogen.supernets import Gates, Layered, frozen_statistics


class Resumed:
    """`nwot(Gated(net, gates), x)` for one batch and many gates, to the bit.

    Args:
        net: its weights must not change between calls.
        x: images.
        training: mode of the batch norms.
    """

    def __init__(self, net: Layered, x: Tensor, *, training: bool) -> None:
        self.net, self.x, self.training = net, x, training
        self.executed = 0
        """Layers run so far."""
        self._keys: list[tuple[object, ...]] = []
        """Of the last call, per layer: what its output depends on."""
        self._points: list[tuple[Tensor, Agreement]] = []
        """Entry of each layer: its input, and the units counted before it."""

    def __call__(self, gates: Gates) -> float:
        """The score under these gates; minus infinity if two images have one code."""
        keys = [
            (*gates.row(c.group, i)[0], *gates.row(c.group, i)[1].tolist(), gates.unit)
            for i, c in enumerate(self.net.space.choices)
        ]
        first = 0
        while first < len(self._keys) and keys[first] == self._keys[first]:
            first += 1
        first = min(first, len(keys) - 1)
        with (
            mode(self.net, training=self.training, seed=0),
            frozen_statistics(self.net),
            torch.no_grad(),
        ):
            if not self._points:
                counts = Agreement()
                with Activations(counts.add):
                    self._points.append((self.net.begin(self.x), counts))
            del self._points[first + 1 :]
            x, counts = self._points[first]
            for number in range(first, len(keys)):
                counts = copy.copy(counts)  # adding makes a new sum, and leaves the old one
                with Activations(counts.add):
                    x = self.net.layer(number, x, gates)
                self.executed += 1
                self._points.append((x, counts))
            with Activations((counts := copy.copy(counts)).add):
                self.net.scores(x)
        self._keys = keys
        return counts.score()
