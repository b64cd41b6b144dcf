"""Counts: parameters, multiply-adds, memory traffic and activations of one forward pass.

A network is run once with every kernel watched. The networks of built-in spaces are built on
torch's `meta` device, where tensors have shapes and no content: nothing is computed, and what a
kernel costs at given shapes is remembered, so that the many layers of equal shape in an
architecture, and in thousands of architectures, are looked at once.

Conventions. One image, evaluation mode, no gradients. A multiply-add is one MAC and two FLOPs, as
in `torch.utils.flop_counter`; matrix products and convolutions are counted, norms, activations and
pooling are not. Papers that speak of "FLOPs" of a network mostly mean MACs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from morphogen.core import Architecture, SpaceError
from morphogen.spaces import SearchSpace
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.nested import call, first, mapped, shapes, tensors_of

Input = Any
"""What a network is run on: the shape of one input (channels, height, width; of a signal channels,
time), or the inputs of a batch of one: a tensor, or a tuple or dict of them (`Task.example()`)."""


@dataclass(frozen=True)
class Cost:
    """Counts of one network for one input; the unit is in each field."""

    params: int
    """Parameters, trainable or not; running statistics of norms are not parameters."""
    macs: int
    """Multiply-adds of convolutions and matrix products; half of `flops`."""
    flops: int
    """Floating-point operations of the same, two for each multiply-add."""
    memory_access: int
    """Bytes that all kernels read and write, weights included, if nothing stays in a cache."""
    activation_bytes: int
    """Bytes of all feature maps written: about what a training step keeps for each image."""
    peak_bytes: int
    """Bytes of the feature maps, input included, that are alive at once at the worst moment."""


def of(
    space: SearchSpace,
    arch: Architecture,
    spec: NetworkSpec | None = None,
    image: Input = (3, 32, 32),
) -> Cost:
    """The counts of an architecture's stand-alone network.

    Args:
        space: the space that the architecture is from; it needs networks (`supernets.network`).
        arch: the architecture.
        spec: size of the network; its `in_channels` are taken from `image`. By default
            `published(space)`. A user's own module has its own size.
        image: one input, see `Input`.

    Raises:
        CapabilityError: the space has no networks.
        SpaceError: the network does not take such inputs.
    """
    from morphogen.cost.sizes import published

    spec = spec or published(space)
    spec = replace(spec, in_channels=channels_of(image) or spec.in_channels)
    with torch.device("meta"):
        net = network(space, arch, spec)
    return count(net, image)


def count(net: nn.Module, image: Input = (3, 32, 32)) -> Cost:
    """The counts of any module for one input.

    The module runs once on the device where its parameters are, in evaluation mode; its weights,
    statistics and mode are left as they were.

    Raises:
        SpaceError: it fails on an input of that shape.
    """
    with watched(net, image) as (watch, x):
        call(net, x)
    return Cost(
        params=sum(p.numel() for p in net.parameters()),
        macs=watch.flops // 2,
        flops=watch.flops,
        memory_access=watch.traffic,
        activation_bytes=watch.written,
        peak_bytes=watch.peak,
    )


@contextmanager
def watched(net: nn.Module, image: Input) -> Iterator[tuple[Watch, Any]]:
    """Within the context, kernels are counted and `net` is in evaluation mode.

    Gives what counts and the inputs of a batch of one, on the device of the net's parameters.

    Raises:
        SpaceError: what is run there fails on an input of that shape.
    """
    weight = next(net.parameters(), torch.empty(0))
    place = weight.device
    modes = {module: module.training for module in net.modules()}
    x = batch_of(image, 1, torch.zeros, place, weight.dtype)
    watch = Watch(remember=place.type == "meta")
    for tensor in tensors_of(x):
        watch.live(tensor)
    net.eval()
    try:
        with torch.no_grad(), _without_fused_layers(), watch:
            yield watch, x
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpaceError(
            f"the network fails on an input of {said(image)}: {reason}; accepted: inputs of a "
            "shape that the network takes"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training


def batch_of(
    image: Input,
    size: int,
    make: Callable[..., Tensor],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The inputs of a batch of `size`: the one input again and again, or, of a shape, `make`'s."""
    if is_shape(image):
        return make(size, *image).to(device, dtype)

    def repeated(tensor: Tensor) -> Tensor:
        many = tensor[:1].expand(size, *tensor.shape[1:]).contiguous()
        return many.to(device, dtype if many.is_floating_point() else None)

    return mapped(repeated, image)


def is_shape(image: Input) -> bool:
    """Whether it is the shape of an input and not inputs."""
    return isinstance(image, tuple | list) and all(isinstance(n, int) for n in image)


def channels_of(image: Input) -> int:
    """Channels of an input: its second axis, that of the batch included; 0 where it has none."""
    if is_shape(image):
        return int(image[0])
    return int(image.shape[1]) if isinstance(image, Tensor) and image.ndim > 1 else 0


def said(image: Input) -> str:
    """The shape for a message: `3x32x32`."""
    return "x".join(map(str, image)) if is_shape(image) else shapes(first(image, 1))


@contextmanager
def _without_fused_layers() -> Iterator[None]:
    """Attention and transformer layers as plain products: torch has no count of its fused ones."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class _Kernel:
    """What one kernel does at given shapes."""

    flops: int
    traffic: int
    """Bytes read and written."""
    outputs: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...]
    """Shape, strides and type of each output."""
    single: bool
    """One output, not a tuple of them."""


_KERNELS: dict[Hashable, _Kernel] = {}
"""Kernels by name and shapes. They are facts: the same in every run and for every network."""


class Watch(TorchDispatchMode):
    """Sees every kernel of the code that runs inside it.

    Args:
        remember: all tensors are on the meta device, where a kernel seen before need not run.
    """

    def __init__(self, *, remember: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.remember = remember
        self.flops = self.traffic = self.written = self.peak = 0
        self._alive = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _lays_out(func, kwargs) or any(
            r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns
        ):
            return func(*args, **kwargs)  # a view moves nothing
        fresh = all(r.alias_info is None for r in func._schema.returns)
        key = _key(func, args, kwargs) if self.remember and fresh else None
        kernel = _KERNELS.get(key) if key is not None else None
        if kernel is None:
            out = func(*args, **kwargs)
            kernel = _measured(func, args, kwargs, out)
            if key is not None and kernel.outputs:
                _KERNELS[key] = kernel
        else:
            made = [
                torch.empty_strided(shape, strides, dtype=dtype, device="meta")
                for shape, strides, dtype in kernel.outputs
            ]
            out = made[0] if kernel.single else tuple(made)
        self.flops += kernel.flops
        self.traffic += kernel.traffic
        if fresh:
            for tensor in _written(func, out):
                self.written += self.live(tensor)
        return out

    def live(self, tensor: Tensor) -> int:
        """Count a tensor's storage until it is freed; its bytes, 0 if it was counted before."""
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return 0
        self._known.add(place)
        self._alive += size
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._freed, place, size)
        return size

    def _freed(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._alive -= size


def _lays_out(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether it lays images out with channels innermost: how a network is run on some devices."""
    packet = func._overloadpacket
    return packet is torch.ops.aten.clone and kwargs.get("memory_format") is torch.channels_last


def _measured(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> _Kernel:
    formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
    read = sum(_bytes(t) for a in (*args, *kwargs.values()) for t in _tensors(a))
    outputs = _tensors(out)
    plain = isinstance(out, Tensor) or len(outputs) == len(out if isinstance(out, tuple) else ())
    return _Kernel(
        flops=formula(*args, **kwargs, out_val=out) if formula else 0,
        traffic=read + sum(_bytes(t) for t in _written(func, out)),
        # Nothing to make again where an output is no tensor.
        outputs=tuple((t.shape, t.stride(), t.dtype) for t in outputs) if plain else (),
        single=isinstance(out, Tensor),
    )


def _written(func: Any, out: Any) -> list[Tensor]:
    """The outputs that a kernel really writes."""
    # Statistics of a batch, which a norm in evaluation mode does not take; on the meta device it
    # returns them all the same.
    return _tensors(out)[: 1 if "batch_norm" in func.name() else None]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for t in value if isinstance(t, Tensor)] if isinstance(value, list | tuple) else []


def _key(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Hashable:
    return func, *map(_shape, args), *((name, _shape(value)) for name, value in kwargs.items())


def _shape(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple(map(_shape, value))
    return type(value), str(value)
