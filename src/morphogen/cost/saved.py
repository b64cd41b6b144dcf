"""How many bytes autograd keeps for the way back: what a training step needs above its weights."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from types import TracebackType

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class SavedForBackward:
    """Counts, within a `with` block, the memory that tensors saved for backward lie in.

    Each piece of memory counts once, as long as anything saved lies in it, whole even where a
    saved tensor is a part of it. Not seen are tensors kept in other ways: those a function puts
    on its context by itself, and those saved in a recomputation by torch's own checkpointing.

    Args:
        without: tensors that do not count, such as a network's weights.
    """

    def __init__(self, without: Iterable[Tensor] = ()) -> None:
        self.bytes = 0
        """Saved now."""
        self.peak = 0
        """The most that was saved at any time."""
        self._without = {tensor.untyped_storage().data_ptr() for tensor in without}
        self._holders: dict[int, int] = {}
        """Address of a piece of memory -> how many saved tensors lie in it."""
        self._hooks = saved_tensors_hooks(self._pack, lambda holder: holder.tensor)

    def __enter__(self) -> SavedForBackward:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, traceback)

    def _pack(self, tensor: Tensor) -> _Holder:
        holder = _Holder(tensor)
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if size and address not in self._without:
            if address not in self._holders:
                self._holders[address] = 0
                self.bytes += size
                self.peak = max(self.peak, self.bytes)
            self._holders[address] += 1
            weakref.finalize(holder, self._release, address, size).atexit = False
        return holder

    def _release(self, address: int, size: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            del self._holders[address]
            self.bytes -= size


class _Holder:
    """What autograd keeps instead of the tensor; it goes when autograd lets go."""

    def __init__(self, tensor: Tensor) -> None:
        # Apart from the graph: an output saved by its own node would hold itself.
        self.tensor = tensor.detach()
