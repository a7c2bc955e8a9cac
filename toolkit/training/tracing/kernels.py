"""Kernels of a GPU, stood in for where a trace runs without one: what they allocate, keep and hold while they work.

The trace's tensors are on a fake CPU. For a CPU nothing but data-dependent sizes is stood in for. For CUDA, attention
is chosen and its backward pass sized as torch does there, dropout makes its one-byte mask, and TRL's Triton kernels,
which work in place, do nothing. Which kernel torch takes: `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`;
buffers of the backward passes, from memory of the sources: FlashAttention 2's `mha_bwd` and the memory-efficient
kernel's `_efficient_attention_backward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.training.tracing.ledger import Ledger

_LARGEST_FLASH_HEAD = 256


def stand_in(ledger: Ledger) -> Callable[[Any, Any, Any], Any]:
    """Answers for single operations: those whose size depends on values, and one that hides what it makes."""
    import torch

    aten = torch.ops.aten

    def answer(function: Any, args: Any, kwargs: Any) -> Any:
        if function is aten.index.Tensor and _is_mask(args[1]):
            return _selected(args[0], args[1])
        if function is aten._local_scalar_dense.default and ledger.section.startswith("optimiser"):
            return 1.0  # the step count of Adam, which decides no size
        if function is aten._grouped_mm.default and args[0].dtype != torch.bfloat16:
            return args[0].new_empty((args[0].shape[0], args[1].shape[-1]))  # its fake kernel knows bfloat16 alone
        if str(function) == "bitsandbytes.gemm_4bit.default":
            from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl

            # The fused kernel for few tokens spares the dequantised matrix here, but the backward pass makes it anyway.
            return _gemm_4bit_default_impl(*args, **kwargs)
        return NotImplemented

    return answer


@contextmanager
def kernels_of(device_kind: str, *, masked: bool, routed: int) -> Iterator[None]:
    """Let a step on fake CPU tensors run the kernels that a device of this kind would.

    `masked` says whether rows are padded or packed: transformers sees tensors without values and would always build a
    mask. `routed` rows go to the experts of a mixture, as evenly as can be.
    """
    with ExitStack() as stack:
        if not masked:
            stack.enter_context(
                patch("transformers.masking_utils.find_packed_sequence_indices", lambda positions: None)
            )
        stack.enter_context(patch("toolkit.training.experts.row_bounds", lambda ends: evenly(routed, len(ends))))
        stack.enter_context(patch("toolkit.training.experts._packed", _bytes))
        if device_kind in ("cuda", "rocm"):
            stack.enter_context(patch("torch.nn.functional.scaled_dot_product_attention", _cuda_attention))
            stack.enter_context(patch("torch.nn.functional.dropout", _fused_dropout))
            for module in ("trl.kernels.chunked_logprob", "trl.trainer.utils"):
                stack.enter_context(patch(f"{module}._use_triton", lambda device: True))
            for kernel in ("_forward_kernel", "_backward_kernel"):
                stack.enter_context(patch(f"trl.kernels.chunked_logprob.{kernel}", _InPlace()))
            stack.enter_context(patch("trl.kernels.chunked_logprob._addmm_fp32", _accumulate))
            stack.enter_context(patch("trl.kernels.chunked_logprob.triton", _Triton, create=True))
        yield


class _InPlace:
    """A Triton kernel that writes into its arguments: `kernel[grid](...)` allocates nothing."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *args, **kwargs: None


class _Triton:
    @staticmethod
    def cdiv(count: int, size: int) -> int:
        return -(-count // size)


def evenly(rows: int, experts: int) -> list[int]:
    """Where the rows of each expert end."""
    return [rows * number // experts for number in range(1, experts + 1)]


def _bytes(weight: Tensor) -> Tensor:
    """The bytes of a 4-bit parameter, which here is a plain one (see `model`)."""
    import torch

    return weight.detach().reshape(-1).view(torch.uint8)


def _accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    """A product added in place, which cuBLAS does in float32 without copies of its 16-bit factors."""
    total.add_(0.0)


def _fused_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    import torch

    return torch.native_dropout(input, p, True)[0] if training and p else input


def _cuda_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention by the kernel that torch takes on an NVIDIA GPU from Ampere on: flash without a mask and with equal
    head widths in 16 bits, else memory-efficient, else written out."""
    import torch

    aten = torch.ops.aten
    widths = {query.shape[-1], key.shape[-1], value.shape[-1]}
    if attn_mask is None and len(widths) == 1 and max(widths) <= _LARGEST_FLASH_HEAD and query.dtype != torch.float32:
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.where(attn_mask, 0.0, torch.scalar_tensor(float("-inf"), dtype=query.dtype))
    if key.shape[1] != query.shape[1]:
        return aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
        )[0]
    if attn_mask is not None:
        attn_mask = attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    return aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, keep, dropout_p, is_causal, scale=scale
    )[0]


def hidden_bytes(function: Any, args: Any) -> tuple[int, ...]:
    """What an operation allocates beside its results, for as long as it runs."""
    import torch

    aten = torch.ops.aten
    if function is aten.logsumexp.default:
        return (args[0].nbytes,)  # the exponentials that it sums (ReduceOps.cpp, `logsumexp_out_impl`)
    if str(function) in ("bitsandbytes.int8_scaled_mm.default", "bitsandbytes.int8_mixed_scaled_mm.default"):
        rows, matrix = (args[0], args[1]) if "mixed" not in str(function) else (args[1], args[2])
        return (4 * (rows.numel() // rows.shape[-1]) * matrix.shape[0],)  # the sums, in int32
    if function is aten._scaled_dot_product_flash_attention_backward.default:
        query, key = args[1], args[2]
        batch, heads, length, width = query.shape
        rows, columns = _up(length, 128), _up(width, 32 if width <= 128 else 64)
        row_sums, accumulator = 4 * batch * heads * rows, 4 * batch * heads * rows * columns  # in float32
        if key.shape[1] == heads:
            return row_sums, accumulator
        expanded = query.element_size() * batch * heads * key.shape[2] * width  # keys' and values' for every query head
        return row_sums, accumulator, expanded, expanded
    if function is aten._scaled_dot_product_efficient_attention_backward.default:
        query = args[1]
        row_sums = 4 * query.shape[0] * query.shape[1] * query.shape[2]
        return (row_sums, 4 * query.numel()) if query.element_size() == 2 else (row_sums,)
    return ()


def _is_mask(indices: Any) -> bool:
    import torch

    return len(indices) == 1 and indices[0] is not None and indices[0].dtype == torch.bool


def _selected(tensor: Tensor, indices: Any) -> Tensor:
    """`tensor[mask]` where every position counts, which is the most there can be, by way of its coordinates."""
    (mask,) = indices
    coordinates = tensor.new_empty((mask.numel(), mask.dim()), dtype=_int64())
    result = tensor.new_empty((mask.numel(), *tensor.shape[mask.dim() :]))
    del coordinates
    return result


def _int64() -> Any:
    import torch

    return torch.int64


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
