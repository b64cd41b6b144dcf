"""Beam search: the likeliest sequences that a network says, token by token.

A beam holds the `width` best beginnings of each source. Of all their continuations the best are
looked at; those that end are kept aside, the others are the next beam. Sequences compete by their
log probability over ((5 + length) / 6)^penalty (Wu et al., 2016, arXiv 1609.08144, equation 14),
the end counted in the length. A source is done when as many sequences have ended as the beam is
wide, or nothing that is begun can become better. With `width` 1 it is greedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from morphogen.supernets.nested import call, take
from morphogen.supernets.sequences import BEGIN, END, PAD, EncoderDecoder
from morphogen.tasks.sequences.rows import IdRows


class Stepwise(Protocol):
    """What is asked token by token; see `supernets.sequences.EncoderDecoder`."""

    def encode(self, source: Tensor) -> Any:
        """What is kept of the sources."""

    def start(self, memory: Any) -> Any:
        """The cache before the first token."""

    def step(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Scores of the next token, and the next cache."""


class Recomputing:
    """A network that keeps nothing between tokens: each step runs it on all of them.

    For networks that are known by their outputs alone, such as an ONNX file; and what caches are
    checked against.

    Args:
        run: from `(source, decoder)` to scores `[batch, T, targets]`.
    """

    def __init__(self, run: Callable[[Any], Tensor]) -> None:
        self._run = run

    def encode(self, source: Tensor) -> Tensor:
        """The source itself."""
        return source

    def start(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The source, and no token yet."""
        return memory, memory.new_empty(len(memory), 0)

    def step(self, ids: Tensor, cache: tuple[Tensor, Tensor]) -> tuple[Tensor, Any]:
        """Scores of the next token, and the tokens so far."""
        source, before = cache
        decoder = torch.cat([before, ids[:, None]], 1)
        return self._run((source, decoder))[:, -1], (source, decoder)


def stepwise(net: nn.Module | Callable[[Any], Tensor]) -> Stepwise:
    """How a network is asked token by token: with its own caches, if it has them."""
    if isinstance(net, EncoderDecoder):
        return net
    return Recomputing((lambda x: call(net, x)) if isinstance(net, nn.Module) else net)


@dataclass(frozen=True)
class Beam:
    """How sequences are searched for."""

    width: int = 5
    """beginnings of each source that are held; 1: greedy"""
    penalty: float = 0.6
    """exponent of the length; 0: long sequences are not helped"""
    longest: int = 128
    """tokens of a sequence, the end included, at most"""


AT_ONCE = 2**14
"""Tokens of sources, those of all beginnings together, that are searched for at once."""


def translated(
    net: nn.Module | Callable[[Any], Tensor], sources: IdRows, beam: Beam, device: torch.device
) -> list[list[int]]:
    """The best sequence for each source, its ids without `END`.

    Args:
        net: in evaluation mode, on the device; or what gives its scores for `(source, decoder)`.
        sources: ids, each with `END`.
        beam: how.
        device: where.
    """
    found: dict[int, list[int]] = {}
    asked, order = stepwise(net), sources.lengths.argsort(stable=True).tolist()
    while order:  # the longest first, so that what does not fit is known at once
        longest = int(sources.lengths[order[-1]])
        count = max(1, AT_ONCE // (longest * beam.width))
        rows, order = order[-count:], order[:-count]
        source = sources.padded(torch.tensor(rows)).to(device)
        within = replace(beam, longest=min(beam.longest, 2 * longest + 10))
        found.update(zip(rows, search(asked, source, within), strict=True))
    return [found[row] for row in range(len(sources))]


@dataclass
class _Search:
    """One source's."""

    ended: list[tuple[float, list[int]]] = field(default_factory=list)

    def best(self) -> list[int]:
        return max(self.ended, key=lambda one: one[0], default=(0.0, []))[1]


@torch.no_grad()
def search(net: Stepwise, source: Tensor, beam: Beam) -> list[list[int]]:
    """The best sequence of each source, its ids without `END`.

    Args:
        net: asked token by token.
        source: ids, int64 `[batch, S]`.
        beam: how.
    """
    count, width = len(source), beam.width
    cache = take(net.start(net.encode(source)), torch.arange(count).repeat_interleave(width))
    device = source.device
    searches = [_Search() for _ in range(count)]
    active = list(range(count))
    said = torch.empty(count, width, 0, dtype=torch.int64, device=device)
    last = torch.full((count, width), BEGIN, device=device)
    total = torch.full((count, width), float("-inf"), dtype=torch.float64, device=device)
    total[:, 0] = 0.0  # all beginnings are the same at first
    for length in range(1, beam.longest + 1):
        scores, cache = net.step(last.flatten(), cache)
        step = scores.double().log_softmax(-1).view(len(active), width, -1)
        step[..., [PAD, BEGIN]] = float("-inf")
        if length == beam.longest:
            end = step[..., END].clone()
            step.fill_(float("-inf"))[..., END] = end
        tokens = step.shape[-1]
        sums = (total[..., None] + step).flatten(1)
        # Each beginning ends in one way, so that of twice as many at least `width` go on.
        values, places = sums.topk(min(2 * width, sums.shape[1]), dim=1)
        from_, token = places // tokens, places % tokens
        scale = ((5 + length) / 6) ** beam.penalty
        ends = (token == END) & values.isfinite()
        _keep(searches, active, said, values / scale, from_, ends, width)
        going = values.masked_fill(token == END, float("-inf"))
        total, chosen = going.topk(min(width, going.shape[1]), dim=1)
        if total.shape[1] < width:  # a vocabulary smaller than the beam
            total, chosen = _widened(total, chosen, width)
        from_, token = from_.gather(1, chosen), token.gather(1, chosen)
        bound = (total[:, 0] / ((5 + beam.longest) / 6) ** beam.penalty).tolist()
        left = [i for i, row in enumerate(active) if not _done(searches[row], bound[i], width)]
        if not left or length == beam.longest:
            break
        index = torch.tensor(left, device=device)
        rows = (index[:, None] * width + from_[index]).flatten()
        cache = take(cache, rows)
        last, total = token[index], total[index]
        said = said[index].gather(1, from_[index][..., None].expand(-1, -1, length - 1))
        said = torch.cat([said, last[..., None]], 2)
        active = [active[i] for i in left]
    return [one.best() for one in searches]


def _widened(total: Tensor, chosen: Tensor, width: int) -> tuple[Tensor, Tensor]:
    more = width - total.shape[1]
    return (
        torch.cat([total, total.new_full((len(total), more), float("-inf"))], 1),
        torch.cat([chosen, chosen[:, :1].expand(-1, more)], 1),
    )


def _keep(
    searches: list[_Search],
    active: list[int],
    said: Tensor,
    values: Tensor,
    from_: Tensor,
    ends: Tensor,
    width: int,
) -> None:
    """Put aside what ends among the first `width` continuations of each source."""
    for i, j in ends[:, :width].nonzero().tolist():
        ids = said[i, int(from_[i, j])].tolist()
        searches[active[i]].ended.append((float(values[i, j]), ids))


def _done(one: _Search, bound: float, width: int) -> bool:
    """Whether nothing better can come, or enough has ended."""
    if not one.ended:
        return bound == float("-inf")
    return len(one.ended) >= width or max(value for value, _ in one.ended) >= bound
