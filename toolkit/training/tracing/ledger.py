"""A ledger of every storage that a step makes: when it is born, when it dies, and what is alive in between.

A dispatch mode sees every operation below autograd. What an operation gives back and was not there before is a birth;
the storage's own finaliser reports the death. With fake tensors nothing is allocated, and the bytes are the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Parts of memory, by the names of `toolkit.planning.memory`.
PARTS = (
    "base_weights",
    "quantisation_state",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits_and_loss",
    "working_buffers",
)
_INDEX = {name: index for index, name in enumerate(PARTS)}


class Ledger:
    """Bytes alive by part, and a snapshot of them at every birth, filed under the section of the step it fell in.

    `block` is what sizes are rounded up to: 512 bytes in CUDA's caching allocator, 1 where there is none.
    """

    def __init__(self, block: int = 1) -> None:
        self.block = block
        self.section = "before"
        self.alive = [0] * len(PARTS)
        self.sections: dict[str, list[Any]] = {}
        self._storages: dict[int, tuple[int, int]] = {}

    def enter(self, section: str) -> None:
        """Begin a section of the step; every name is used once."""
        self.section = section
        self.sections[section] = [self.snapshot()]

    def own(self, tensor: Tensor, part: str) -> None:
        """Count a tensor's storage under `part`, whether it is new or filed elsewhere so far."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            size, index = self._storages[key]
            self.change(index, size, -1)
        else:
            size = self.rounded(storage.nbytes())
            weakref.finalize(storage, self._dies, key)
        self._storages[key] = size, _INDEX[part]
        self.change(_INDEX[part], size, 1)

    def born(self, tensor: Tensor) -> None:
        """File what an operation gave back, unless its storage is known."""
        if tensor.untyped_storage()._cdata not in self._storages:
            self.own(tensor, self._part())
            self.sections[self.section].append(self.snapshot())

    def passing(self, sizes: tuple[int, ...]) -> None:
        """A kernel's own buffers, in bytes: alive while it runs, together with its results."""
        buffers, sizes = _INDEX["working_buffers"], tuple(self.rounded(size) for size in sizes)
        for size in sizes:
            self.change(buffers, size, 1)
        self.sections[self.section].append(self.snapshot())
        for size in sizes:
            self.change(buffers, size, -1)

    def change(self, index: int, size: int, sign: int) -> None:
        """A storage of `size` bytes of the part at `index` comes (1) or goes (-1)."""
        self.alive[index] += sign * size

    def snapshot(self) -> Any:
        """What is alive now: bytes by part."""
        return tuple(self.alive)

    def rounded(self, size: int) -> int:
        return -(-size // self.block) * self.block

    def _part(self) -> str:
        import torch

        if self.section.startswith("loss"):
            return "logits_and_loss"
        if self.section.startswith("optimiser"):
            return "working_buffers"
        # In a backward pass autograd is on only while a checkpointed layer is computed again.
        return "activations" if torch.is_grad_enabled() else "working_buffers"

    def _dies(self, key: int) -> None:
        size, index = self._storages.pop(key)
        self.change(index, size, -1)


def recording(
    ledger: Ledger, stand_in: Callable[[Any, Any, Any], Any], hidden_bytes: Callable[[Any, Any], tuple[int, ...]]
) -> AbstractContextManager[Any]:
    """Record every operation in the block.

    `stand_in(function, args, kwargs)` may answer for an operation, else it gives NotImplemented;
    `hidden_bytes(function, args)` says what an operation allocates for as long as it runs.
    """
    return _mode()(ledger, stand_in, hidden_bytes)  # type: ignore[no-any-return]


@cache
def _mode() -> Any:
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Recording(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed
        def __init__(self, ledger: Ledger, stand_in: Any, hidden_bytes: Any) -> None:
            super().__init__()
            self.ledger, self.stand_in, self.hidden_bytes = ledger, stand_in, hidden_bytes

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            with self:  # a stand-in's own operations are recorded too
                result = self.stand_in(function, args, kwargs)
            if result is NotImplemented:
                result = function(*args, **kwargs)
            for tensor in tree_iter(result):
                if isinstance(tensor, Tensor) and tensor.device.type != "meta":
                    self.ledger.born(tensor)
            if sizes := self.hidden_bytes(function, args):
                self.ledger.passing(sizes)
            return result

    return Recording
