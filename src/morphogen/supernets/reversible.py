"""Reversible sequences: the memory of activations does not grow with the number of layers.

A stream of n tensors passes through layers of n functions each, one tensor after the other:

    forward   k = 1..n:   Y_k = X_k + G_k({X_i : i > k}, {Y_i : i < k})
    inverse   k = n..1:   X_k = Y_k - G_k({X_i : i > k}, {Y_i : i < k})

So the input of a layer follows from its output, whatever G_k is, and only the last output is kept.
The way back computes each G_k anew and takes its gradients from that: a forward pass more, of
time +33 % in theory. n = 2 is the RevNet (Gomez, Ren, Urtasun, Grosse, NeurIPS 2017, arXiv
1707.04585, equations 6 to 8), any n is DARTSformer's (Zhao and others, Findings of ACL 2021, arXiv
2105.14669, equations 3 and 4, algorithm 1).

In floating point the inputs come back with an error that grows by at most (1 + Lipschitz constant
of G_k) at each step (`drift` measures it). Normalised functions keep it at rounding; with an
identity among the options of each, float32 goes as deep as some twelve layers, and further with
inputs kept on the way (`keep_every`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from morphogen.core import CapabilityError, SpaceError
from morphogen.supernets.gates import Gates, Live
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.replay import Call, Precision

STREAM = (torch.float32, torch.float64)
"""Kinds of numbers of a stream. Lower ones lose what they are to give back: 1e-1 at four layers."""


class ReversibleSequence(nn.Module):
    """Layers of an n-fold stream whose gradients need the last output only.

    Function k of a layer is called as `function(others, *side)`: `others` are the n - 1 tensors of
    the stream without number k, in order, those before it already updated; its output has the
    shape of number k. Everything else it reads and that is to get a gradient must be a parameter or
    come in through `side`: encoder states, masks, gates (made outside, so that autograd goes on to
    the alphas; samples too are drawn outside). A module may stand in several places.

    Gradients are those of plain backpropagation up to the drift; outputs are the same bits. Dropout
    draws the same in both computations (where the CPU's generator stood is kept, 5 kB for each
    function that draws), running statistics move once. The weights' gradients are computed also
    where only those of gates are asked for, unless the weights do not require any. For derivatives
    of gradients set `plain`: Hessians by autograd, `torch.func`.

    Args:
        layers: per layer its n functions; n >= 2, the same in all layers.
        keep_every: keep the input of every so many layers, and go on from it on the way back
            instead of from what was reconstructed; 0: none. 1 is checkpointing of each layer.
        plain: leave everything to autograd, which keeps all activations.

    Raises:
        SpaceError: no layers, or of different lengths; `keep_every` is negative.
    """

    def __init__(
        self,
        layers: Sequence[Sequence[nn.Module]],
        *,
        keep_every: int = 0,
        plain: bool = False,
    ) -> None:
        super().__init__()
        sizes = sorted({len(layer) for layer in layers})
        if len(sizes) != 1 or sizes[0] < 2:
            raise SpaceError(
                f"layers of a reversible sequence have {sizes} functions; accepted: one layer or "
                "more, all with the same number of functions, at least 2"
            )
        if keep_every < 0:
            raise SpaceError(f"keep_every is {keep_every}; accepted: 0 (never) or more")
        self.layers = nn.ModuleList(nn.ModuleList(layer) for layer in layers)
        self.splits: int = sizes[0]
        self.keep_every = keep_every
        self.plain = plain
        self._searched = False

    def forward(self, stream: Sequence[Tensor], *side: Any) -> tuple[Tensor, ...]:
        """The stream behind the last layer.

        Args:
            stream: n tensors, float32 or float64 (also under autocast), such as
                `x.chunk(n, dim=-1)`.
            side: what every function is given besides: tensors, `Gates`, None, numbers, texts, and
                tuples, lists and mappings of them.

        Raises:
            SpaceError: another number or kind of tensors, or something else among `side`; a
                function gives another shape, or writes into what it is given.
        """
        stream = self._checked(stream)
        flat: list[Tensor] = []
        template = _template(side, flat)
        weights = list({id(w): w for w in self.parameters()}.values())
        inputs = [*stream, *flat, *weights]
        if self.plain or not (torch.is_grad_enabled() and any(t.requires_grad for t in inputs)):
            for layer in self.layers:
                for k, function in enumerate(_functions(layer)):
                    stream[k] = stream[k] + _update(function, stream, k, side)
            return tuple(stream)
        run = _Run(self, template, len(flat), [id(w) for w in weights])
        return _Reversible.apply(run, *inputs)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def drift(self, stream: Sequence[Tensor], *side: Any) -> list[float]:
        """How far the inputs that the way back finds are from the true ones, layer by layer.

        The largest absolute difference by the largest absolute value of the input, of the first
        layer first. What is kept on the way (`keep_every`) counts. Takes two forward passes, and
        the memory of all inputs; generators and buffers stay as they are.

        Args:
            stream: as in `forward`.
            side: as in `forward`.
        """
        stream = self._checked(stream)
        devices = _devices(stream)
        inputs: list[list[Tensor]] = []
        calls: list[list[Call]] = []
        found: list[float] = []

        def again(call: Call, k: int) -> Tensor:
            tensors = call.parameters, call.buffers, call.draws
            return _update(lambda *args: call.again(args, *tensors), stream, k, side)

        with forked_rng(*devices):
            for layer in self.layers:
                inputs.append(list(stream))
                calls.append([])
                for k, function in enumerate(_functions(layer)):
                    calls[-1].append(Call(function, devices))
                    stream[k] = stream[k] + again(calls[-1][k], k)
            for index in reversed(range(len(calls))):
                for k in reversed(range(self.splits)):
                    stream[k] = stream[k] - again(calls[index][k], k)
                pairs = list(zip(stream, inputs[index], strict=True))
                error = max(float((a - b).abs().max()) for a, b in pairs)
                largest = max(float(b.abs().max()) for _, b in pairs)
                found.append(error / largest if largest else error)
                if self._keeps(index):
                    stream = list(inputs[index])
        return found[::-1]

    def _keeps(self, layer: int) -> bool:
        """Whether the input of this layer is kept; that of the first is asked for by nobody."""
        return bool(self.keep_every) and layer > 0 and layer % self.keep_every == 0

    def _checked(self, stream: Sequence[Tensor]) -> list[Tensor]:
        kinds = sorted({str(t.dtype).removeprefix("torch.") for t in stream})
        if len(stream) != self.splits or any(t.dtype not in STREAM for t in stream):
            raise SpaceError(
                f"the stream of a reversible sequence is {len(stream)} tensors of "
                f"{' and '.join(kinds)}; accepted: {self.splits} of float32 or float64"
            )
        return list(stream)


@dataclass
class _Run:
    """What a forward pass leaves for the way back, besides tensors."""

    sequence: ReversibleSequence
    side: Any
    """With a `_Slot` in place of each tensor."""
    side_count: int
    weights: list[int]
    """The identity of each weight among the inputs."""
    calls: list[list[_Kept]] = field(default_factory=list)
    kept: dict[int, int] = field(default_factory=dict)
    """Layer -> place among the saved tensors where its kept input begins."""
    precision: Precision = field(default_factory=Precision)


@dataclass
class _Kept:
    """One call, and where its tensors are: parameters among the inputs, the rest among saved."""

    call: Call
    parameters: dict[str, int]
    buffers: dict[str, int]
    draws: list[int]


class _Saved:
    """Tensors to be saved for backward, each once."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._places: dict[int, int] = {}

    def put(self, tensor: Tensor) -> int:
        """Its place."""
        if id(tensor) not in self._places:
            self._places[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._places[id(tensor)]


class _Reversible(Function):
    """The whole sequence: a function for each layer would save each layer's output.

    Inputs are the stream, the tensors of `side`, and all weights, so that their gradients go
    through autograd like any others (`torch.autograd.grad`, hooks, data-parallel training).
    """

    @staticmethod
    def forward(ctx: Any, run: _Run, *inputs: Tensor) -> tuple[Tensor, ...]:
        sequence, n = run.sequence, run.sequence.splits
        stream = list(inputs[:n])
        side = _filled(run.side, inputs[n : n + run.side_count])
        devices = _devices(inputs[: n + run.side_count])
        places = {weight: n + run.side_count + i for i, weight in enumerate(run.weights)}
        saved = _Saved()
        run.precision = Precision(*devices)
        with run.precision():
            for index, layer in enumerate(sequence.layers):
                if sequence._keeps(index):
                    run.kept[index] = len(saved.tensors)
                    saved.tensors.extend(stream)
                run.calls.append([])
                for k, function in enumerate(_functions(layer)):
                    call = Call(function, devices)
                    counts = [t._version for t in stream]
                    update = _update(call.first, stream, k, side)
                    if [t._version for t in stream] != counts:
                        raise SpaceError(
                            f"function {k} of a reversible layer wrote into its input; accepted: "
                            "functions that leave it as it is (x = x + 1 instead of x += 1)"
                        )
                    stream[k] = stream[k] + update
                    run.calls[-1].append(
                        _Kept(
                            call,
                            {name: places[id(w)] for name, w in call.parameters.items()},
                            {name: saved.put(b) for name, b in call.buffers.items()},
                            [saved.put(state) for state in call.draws],
                        )
                    )
                    call.forget()
        ctx.run, ctx.devices, ctx.others = run, devices, len(saved.tensors)
        ctx.save_for_backward(*saved.tensors, *stream, *inputs[n:])
        return tuple(stream)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            # Said here: autograd by itself may take a second derivative that is missing for zero.
            raise CapabilityError(
                "gradients of a reversible sequence with create_graph=True; accepted: first "
                "derivatives, or a sequence with plain=True (of a supernet: execution plain)"
            )
        run: _Run = ctx.run
        sequence, n = run.sequence, run.sequence.splits
        saved = ctx.saved_tensors
        stream, bars = list(saved[ctx.others : ctx.others + n]), list(cotangents)
        # Fresh leaves: hooks and graphs of the originals are not for these passes.
        needed = ctx.needs_input_grad[1 + n :]
        given = zip(saved[ctx.others + n :], needed, strict=True)
        leaves = [t.detach().requires_grad_(need) for t, need in given]
        gradients: list[Tensor | None] = [None] * len(leaves)
        side = _filled(run.side, leaves[: run.side_count])
        of_side = [i for i in range(run.side_count) if needed[i]]
        search = not sequence._searched
        with forked_rng(*ctx.devices), run.precision():
            for index in reversed(range(len(run.calls))):
                for k in reversed(range(n)):
                    kept = run.calls[index][k]
                    places = dict.fromkeys(i - n for i in kept.parameters.values())
                    wanted = [*of_side, *(i for i in places if needed[i])]
                    others = [t.detach().requires_grad_() for t in stream]
                    with torch.enable_grad():
                        g = kept.call.again(
                            (tuple(others[:k] + others[k + 1 :]), *side),
                            {name: leaves[i - n] for name, i in kept.parameters.items()},
                            {name: saved[i] for name, i in kept.buffers.items()},
                            [saved[i] for i in kept.draws],
                        )
                    stream[k] = stream[k] - g.detach()
                    if not g.requires_grad:
                        continue
                    if search:
                        _refuse_hidden(g, kept.call.module, [*others, *leaves])
                    targets = others[:k] + others[k + 1 :] + [leaves[i] for i in wanted]
                    # bars[k] is complete: the updates behind k have added what they read of Y_k.
                    found = torch.autograd.grad(g, targets, bars[k].to(g.dtype), allow_unused=True)
                    for i, d in zip([i for i in range(n) if i != k], found[: n - 1], strict=True):
                        bars[i] = bars[i] if d is None else bars[i] + d
                    for i, d in zip(wanted, found[n - 1 :], strict=True):
                        if d is not None:
                            before = gradients[i]
                            gradients[i] = d if before is None else before + d
                if index in run.kept:
                    stream = list(saved[run.kept[index] : run.kept[index] + n])
        sequence._searched = True
        return (None, *bars, *gradients)


def _functions(layer: nn.Module) -> list[nn.Module]:
    return list(cast(nn.ModuleList, layer))  # `children` would leave out repeated ones


def _update(function: Any, stream: Sequence[Tensor], k: int, side: Sequence[Any]) -> Tensor:
    """What is added to tensor number k of the stream."""
    update: Tensor = function((*stream[:k], *stream[k + 1 :]), *side)
    if update.shape != stream[k].shape:
        raise SpaceError(
            f"function {k} of a reversible layer gives {list(update.shape)}; accepted: "
            f"{list(stream[k].shape)}, the shape of what it updates"
        )
    return update


def _devices(tensors: Sequence[Tensor]) -> list[torch.device]:
    return list(dict.fromkeys(t.device for t in tensors))


@dataclass(frozen=True)
class _Slot:
    """The place of a tensor among those of `side`."""

    index: int


@dataclass(frozen=True)
class _GatesSlot:
    """Gates without their weights."""

    weights: Mapping[str, _Slot]
    live: Mapping[str, Live]
    unit: bool


def _template(value: Any, tensors: list[Tensor]) -> Any:
    """`value` with a slot in place of each tensor, which is appended to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if isinstance(value, Gates):
        return _GatesSlot(_template(value.weights, tensors), value.live, value.unit)
    if isinstance(value, Mapping):
        return {key: _template(item, tensors) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return _like(value, [_template(item, tensors) for item in value])
    if value is None or isinstance(value, str | int | float):
        return value
    raise SpaceError(
        f"a {type(value).__name__} beside the stream of a reversible sequence; accepted: tensors, "
        "Gates, None, numbers, texts, and tuples, lists and mappings of them (the gradients of "
        "tensors inside other things would be lost)"
    )


def _filled(template: Any, tensors: Sequence[Tensor]) -> Any:
    """What `_template` was made of, with these tensors."""
    if isinstance(template, _Slot):
        return tensors[template.index]
    if isinstance(template, _GatesSlot):
        weights = _filled(template.weights, tensors)
        return Gates(weights, template.live, unit=template.unit)
    if isinstance(template, Mapping):
        return {key: _filled(item, tensors) for key, item in template.items()}
    if isinstance(template, tuple | list):
        return _like(template, [_filled(item, tensors) for item in template])
    return template


def _like(value: Any, items: list[Any]) -> Any:
    """A tuple or list of the same type; a named tuple takes its fields one by one."""
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _refuse_hidden(g: Tensor, function: nn.Module, leaves: Sequence[Tensor]) -> None:
    """Refuse a function that reads a tensor whose gradient would be lost.

    Args:
        g: the function's output.
        function: which it is.
        leaves: what has a gradient here.

    Raises:
        SpaceError: the graph of `g` ends in another tensor.
    """
    ours = {id(leaf) for leaf in leaves}
    ahead, seen = [g.grad_fn], set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of nodes that end in a leaf
        if variable is not None and id(variable) not in ours:
            raise SpaceError(
                f"{type(function).__name__} in a reversible sequence reads a tensor "
                f"{list(variable.shape)} that requires a gradient and is neither its parameter nor "
                "an argument; accepted: tensors that are passed beside the stream"
            )
        ahead.extend(parent for parent, _ in node.next_functions)
