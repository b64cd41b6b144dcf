"""How every layer of a network changes during a short training: what DC-NAS compares networks by.

A trace is an array [checkpoints, layers]: entry (t, l) says how much layer l changed from the
checkpoint before to checkpoint t. Two kinds, both in [0, ...) and 0 where nothing changed:

- `params`: ||W(t) - W(t-1)|| / ||W(t-1)||, Frobenius, over the layer's weights of two axes or more
  (those of convolutions and linear maps, not biases and batch norms); 0 without such weights.
- `features`: 1 - CKA of the layer's outputs on a fixed batch at the two checkpoints (linear centred
  kernel alignment; Kornblith et al., ICML 2019, arXiv 1905.00414), which is in [0, 1] and does not
  depend on the number, order or scale of channels; so that layers of any width compare.

A layer is a position in depth with any number of modules: one choice of a cell that is repeated in
a stage is one layer with a module in each cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from morphogen.core import SpaceError
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.stage import TraceKind
from morphogen.supernets import frozen_statistics
from morphogen.supernets.global_rng import CPU, forked_rng
from morphogen.supernets.nested import call, device_of

Layers = Mapping[str, Sequence[nn.Module]]
"""Name -> modules, in the order of depth; a layer without modules never changes."""

Trace = NDArray[np.float64]
"""[checkpoints, layers]."""

PROBE = 128
"""Examples of the fixed batch for `features`."""

TINY = 1e-12


@runtime_checkable
class HasLayers(Protocol):
    """A network that says itself what its layers are, the same for all networks of its space."""

    def layers(self) -> Layers:
        """The layers, in the order of depth."""


def layers_of(net: nn.Module) -> Layers:
    """The network's own layers, or else each module that holds weights of two axes or more."""
    if isinstance(net, HasLayers):
        return net.layers()
    return {
        name: [module]
        for name, module in net.named_modules()
        if any(p.ndim >= 2 for p in module.parameters(recurse=False))
    }


def probe_of(training: ShortTraining, count: int = PROBE) -> Any:
    """The inputs of the fixed batch: search-validation examples, as the task chooses them.

    They train no weight; of the targets only the classes' shares count.
    """
    problem = training.problem
    rows = problem.chosen("valid", count, "traces/valid")
    return problem.task.batch("valid", rows, device=problem.devices.device).x


class Recorder:
    """Looks at a network several times and says how its layers have changed in between.

    Args:
        net: the network, looked at and left as it is.
        kind: what is compared.
        probe: the fixed batch, for `features`.
        layers: default `layers_of(net)`.
    """

    def __init__(
        self,
        net: nn.Module,
        kind: TraceKind,
        probe: Any = None,
        layers: Layers | None = None,
    ) -> None:
        if kind == "features" and probe is None:
            raise SpaceError("probe is None; accepted for features: the inputs of a batch")
        self.net, self.kind, self.probe = net, kind, probe
        self.layers = layers_of(net) if layers is None else layers
        self._before: list[list[Tensor]] | None = None
        self._changes: list[list[float]] = []

    def look(self) -> None:
        """Compare with the look before; the first look is where changes start from."""
        now = self._weights() if self.kind == "params" else self._grams()
        if self._before is not None:
            change = _relative_change if self.kind == "params" else _misalignment
            pairs = zip(now, self._before, strict=True)
            self._changes.append([change(n, b) for n, b in pairs])
        self._before = now

    @property
    def trace(self) -> Trace:
        """[looks - 1, layers]."""
        return np.array(self._changes, np.float64).reshape(len(self._changes), len(self.layers))

    def _weights(self) -> list[list[Tensor]]:
        return [
            [p.detach().double().clone() for m in modules for p in m.parameters() if p.ndim >= 2]
            for modules in self.layers.values()
        ]

    def _grams(self) -> list[list[Tensor]]:
        """Per layer and module the centred, normalised Gram matrix [examples, examples]."""
        seen: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, _: object, out: object) -> None:
            if not isinstance(out, Tensor) or out.ndim < 2:
                raise SpaceError(
                    f"a {type(module).__name__} gives a {type(out).__name__}; accepted as a layer "
                    "of features: modules that give one tensor [examples, channels, ...]"
                )
            seen[module] = gram(out)

        modules = {m for members in self.layers.values() for m in members}
        hooks = [m.register_forward_hook(keep) for m in modules]
        modes = [(m, m.training) for m in self.net.modules()]
        place = CPU if self.probe is None else device_of(self.probe)
        self.net.eval()
        for m, _ in modes:  # batch statistics, the same way at every look; dropout stays off
            m.training = getattr(m, "track_running_stats", False) is True
        try:
            with torch.no_grad(), frozen_statistics(self.net), forked_rng(place, seed=0):
                call(self.net, self.probe)
        finally:
            for m, training in modes:
                m.training = training
            for hook in hooks:
                hook.remove()
        # A module that the pass does not reach has no features, and none that change.
        return [[seen[m] for m in ms if m in seen] for ms in self.layers.values()]


def gram(features: Tensor) -> Tensor:
    """Centred Gram matrix of pooled features, of norm 1, [examples, examples]; zeros if constant.

    Args:
        features: [examples, channels, ...]; the axes after the second are averaged.
    """
    z = features.detach().double()
    z = z.flatten(2).mean(2) if z.ndim > 2 else z
    z = z - z.mean(0)
    g = z @ z.T
    norm = torch.linalg.matrix_norm(g)
    # Features that differ by rounding alone are constant.
    return g / norm if float(norm) > TINY else torch.zeros_like(g)


def _relative_change(now: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    if not now:
        return 0.0
    moved = sum(float((n - b).square().sum()) for n, b in zip(now, before, strict=True))
    size = sum(float(b.square().sum()) for b in before)
    return float(moved**0.5 / (size**0.5 + TINY))


def _misalignment(now: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """Mean of 1 - CKA over the modules of a layer; two constant outputs are alike."""
    changes = []
    for n, b in zip(now, before, strict=True):
        both_constant = not n.any() and not b.any()
        changes.append(0.0 if both_constant else max(0.0, 1 - float((n * b).sum())))
    return float(np.mean(changes)) if changes else 0.0


def milestones(steps: int, checkpoints: int = 3) -> list[int]:
    """Steps at which to look, geometric with ratio 3, the last one `steps`: 60 -> 7, 20, 60."""
    return sorted({-(-steps // 3 ** (checkpoints - 1 - i)) for i in range(checkpoints)})


def train_traced(
    training: ShortTraining, to: int, kinds: Sequence[TraceKind], checkpoints: int = 3
) -> dict[TraceKind, Trace]:
    """Train from here until `to` steps are done, and record how the layers change.

    Args:
        training: at its start.
        to: steps.
        kinds: what to record.
        checkpoints: looks after the first one, by `milestones`.
    """
    probe = probe_of(training) if "features" in kinds else None
    recorders: dict[TraceKind, Recorder] = {
        kind: Recorder(training.net, kind, probe) for kind in kinds
    }
    for step in (training.done, *milestones(to, checkpoints)):
        training.advance(step)
        for recorder in recorders.values():
            recorder.look()
    return {kind: recorder.trace for kind, recorder in recorders.items()}
