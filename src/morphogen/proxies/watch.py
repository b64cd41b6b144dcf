"""What a network does while it runs: its activations, its norms, its global pooling.

Networks call `F.relu` as often as they hold an `nn.ReLU`, so hooks on modules do not see all. These
modes see every torch function of the code inside them, whoever calls it, each call once: what a
torch function calls in turn is not seen again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

ACTIVATIONS = frozenset(
    name + ending
    for name in (
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu"),
        *("elu", "selu", "celu", "gelu", "silu", "mish", "hardswish"),
    )
    for ending in ("", "_")
)
"""Rectifiers and their smooth kin: functions whose input's sign says whether a unit is on."""


class Activations(TorchFunctionMode):
    """Calls `seen` with the input of every activation, before it is overwritten in place.

    Args:
        seen: gets the pre-activations [images, ...].
        made: if given, gets the activation's output.
    """

    def __init__(
        self, seen: Callable[[Tensor], None], made: Callable[[Tensor], None] | None = None
    ) -> None:
        super().__init__()
        self.seen, self.made = seen, made

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _is_activation(func, args, kwargs):
            return func(*args, **kwargs)
        self.seen(_input(args, kwargs))
        out = func(*args, **kwargs)
        if self.made is not None:
            self.made(out)
        return out


class WithoutBatchNorm(TorchFunctionMode):
    """Batch norms return their input."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "batch_norm":
            return _input(args, kwargs)
        return func(*args, **kwargs)


POOLINGS = frozenset(
    ("mean", *(f"{kind}avg_pool{axes}d" for kind in ("adaptive_", "") for axes in (1, 2)))
)
"""Functions that may average over all pixels."""


class BeforePooling(TorchFunctionMode):
    """Remembers the input of the last call that reduces the pixels to one value per channel.

    Pixels are points of time where the input is a signal.
    """

    features: Tensor | None = None
    """[images, channels, height, width] or [signals, channels, time]; None before such a call."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if getattr(func, "__name__", "") in POOLINGS:
            x = _input(args, kwargs)
            pooled = (x.shape[:2], (*x.shape[:2], *[1] * (x.dim() - 2)))
            if x.dim() in (3, 4) and out.shape in pooled:
                self.features = x
        return out


def _is_activation(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name in ("hardtanh", "hardtanh_"):  # nn.ReLU6 is one from 0 to 6
        return bool((args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)) == 0)
    return name in ACTIVATIONS


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The first argument, whatever torch calls it."""
    value: Tensor = args[0] if args else kwargs["input"]
    return value
