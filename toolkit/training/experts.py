"""Routed experts as transformers 5 holds them, multiplied in 4 bits and with low-rank updates beside them.

transformers fuses the experts of a layer into two parameters of three dimensions (experts, out, in), and its own
forward pass hands them whole to a grouped matrix product. Here a quantised one is dequantised a few experts at a time,
in the forward pass and again in the backward pass, and no dequantised copy outlives its product: a copy kept for the
backward pass, as autograd would, would undo the quantisation. LoRA is added to the product instead of to the weight,
where a small update to 16-bit weights rounds away and costs a copy of all experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from math import gcd, prod
from typing import TYPE_CHECKING, Any

from toolkit.planning.moments import DEQUANTISED_EXPERT_BYTES

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

FUSED = ("gate_up_proj", "down_proj")
_IMPLEMENTATION = "tk_experts"
_UPDATES = "_tk_updates"  # on an experts module: parameter name → (A, B, scaling) of the adapters that are active
_ALIGNED = 8  # grouped products want strides of 16 bytes, which are 8 values of 16 bits


def is_fused(module: Module) -> bool:
    """Whether a module is the routed experts of a layer, fused and laid out as DeepSeek's and Qwen's are."""
    plain = not any(getattr(module, odd, False) for odd in ("has_bias", "is_transposed", "has_post_expert_norm"))
    return plain and getattr(module, "has_gate", False) and all(hasattr(module, name) for name in FUSED)


def is_quantised(weight: Tensor) -> bool:
    """Whether a parameter holds 4-bit values and their scales."""
    return getattr(weight, "quant_state", None) is not None


def shape_of(weight: Tensor) -> tuple[int, int, int]:
    """Experts, width out and width in of a fused parameter, whatever it is stored as."""
    return tuple(weight.quant_state.shape if is_quantised(weight) else weight.shape)


def use_these_experts(model: PreTrainedModel) -> None:
    """Make every mixture of `model` compute its routed experts as this module does."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(_IMPLEMENTATION, experts_forward)
    model.set_experts_implementation(_IMPLEMENTATION)


@contextmanager
def updated(experts: Module, name: str, factors: tuple[Tensor, Tensor, float]) -> Iterator[None]:
    """While open, the products with the parameter `name` include a low-rank update.

    `factors` are A (experts, rank, in), B (experts, out, rank) and the scaling of their product.
    """
    updates = experts.__dict__.setdefault(_UPDATES, {})
    updates[name] = factors
    try:
        yield
    finally:
        del updates[name]


def experts_forward(experts: Module, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Output of a layer's routed experts: (tokens, hidden) for `hidden` of that shape.

    `chosen` are each token's experts and `weights` what the router gives them, both (tokens, experts per token).
    Follows `transformers.integrations.moe.grouped_mm_experts_forward`: rows sorted by expert, one grouped product a
    matrix, and a sum in the tokens' own order, so that it is the same on every run.
    """
    import torch

    tokens, active = chosen.shape
    by_expert, order = torch.sort(chosen.reshape(-1), stable=True)
    numbers = torch.arange(experts.num_experts, device=by_expert.device)
    ends = torch.searchsorted(by_expert, numbers, right=True).to(torch.int32)
    bounds = row_bounds(ends) if is_quantised(experts.gate_up_proj) else []
    inner = experts._apply_gate(_product(experts, "gate_up_proj", hidden[order // active], ends, bounds))
    outer = _product(experts, "down_proj", inner, ends, bounds) * weights.reshape(-1)[order, None]
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return outer[back].view(tokens, active, -1).sum(dim=1).to(hidden.dtype)


def row_bounds(ends: Tensor) -> list[int]:
    """Where each expert's rows end, as numbers: the only thing that is waited for from the device.

    By itself so that a trace of tensors without values can say something else.
    """
    return ends.tolist()  # type: ignore[no-any-return]


def dequantised(weight: Tensor) -> Tensor:
    """All experts of a 4-bit parameter, (experts, out, in) in the format that they are multiplied in."""
    state = weight.quant_state
    return _values(_packed(weight), _scales(state), state, state.shape)


def _product(experts: Module, name: str, rows: Tensor, ends: Tensor, bounds: Sequence[int]) -> Tensor:
    """Rows sorted by expert, of which expert i has those up to `ends[i]`, times the experts' matrices: (rows, out).

    `bounds` are `ends` as numbers; 4-bit weights alone need them.
    """
    from transformers.integrations.moe import _grouped_linear

    weight = getattr(experts, name)
    if is_quantised(weight):
        product = _dequantising_product().apply(rows, weight, ends, bounds)
    else:
        product = _grouped_linear(rows, weight, ends)
    if name not in experts.__dict__.get(_UPDATES, {}):
        return product
    lower, upper, scaling = experts.__dict__[_UPDATES][name]
    lower, upper = _aligned(lower.to(product.dtype), dim=1), _aligned(upper.to(product.dtype), dim=2)
    return product + scaling * _grouped_linear(_grouped_linear(rows, lower, ends), upper, ends)


def _aligned(factor: Tensor, dim: int) -> Tensor:
    """A factor as grouped products take it: contiguous, its rank filled up with zeros to a multiple of eight."""
    from torch import cat

    missing = -factor.shape[dim] % _ALIGNED
    if not missing:
        return factor.contiguous()
    shape = list(factor.shape)
    shape[dim] = missing
    return cat([factor, factor.new_zeros(shape)], dim=dim)


def _packed(weight: Tensor) -> Tensor:
    """The bytes of a 4-bit parameter, two values in each."""
    import torch

    return weight.detach().as_subclass(torch.Tensor).reshape(-1).view(torch.uint8)


def _scales(state: Any) -> Tensor:
    """One float32 scale for each block of values."""
    from bitsandbytes.functional import dequantize_blockwise

    return dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax


def _values(packed: Tensor, scales: Tensor, state: Any, shape: Sequence[int]) -> Tensor:
    """The values of `packed`, in `shape`."""
    from bitsandbytes.functional import QuantState, dequantize_4bit

    count = prod(shape)
    # On a CPU bitsandbytes (0.50.2) takes wrong scales where a row ends within a block: it is given whole blocks as rows.
    flat = (count // state.blocksize, state.blocksize) if count % state.blocksize == 0 else (count,)
    whole = QuantState(scales, flat, dtype=state.dtype, blocksize=state.blocksize, quant_type=state.quant_type)
    return dequantize_4bit(packed[:, None], whole).reshape(shape)


def _tiles(weight: Tensor, bounds: Sequence[int]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Experts that have rows, their rows, and their matrices (experts, out, in), so many at a time as fit in a tile."""
    state = weight.quant_state
    count, fan_out, fan_in = state.shape
    size, block = fan_out * fan_in, state.blocksize
    packed, scales = _packed(weight), _scales(state)
    unit = block // gcd(block, size)  # so many experts end where a block of values does
    at_a_time = max(unit, DEQUANTISED_EXPERT_BYTES // (size * state.dtype.itemsize) // unit * unit)
    for first, last in pairwise([*range(0, count, at_a_time), count]):
        rows = slice(bounds[first - 1] if first else 0, bounds[last - 1])
        if rows.start == rows.stop:
            continue
        values = packed[first * size // 2 : -(-last * size // 2)]
        of_these = scales[first * size // block : -(-last * size // block)]
        yield slice(first, last), rows, _values(values, of_these, state, (last - first, fan_out, fan_in))


@cache
def _dequantising_product() -> Any:
    """The autograd function; made on first use, since torch is imported no earlier."""
    import torch
    from transformers.integrations.moe import _grouped_linear

    class DequantisingProduct(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed
        @staticmethod
        def forward(ctx: Any, rows: Tensor, weight: Tensor, ends: Tensor, bounds: Sequence[int]) -> Tensor:
            ctx.weight, ctx.ends, ctx.bounds = weight, ends, bounds
            ctx.dtype = rows.dtype
            product = rows.new_empty(len(rows), shape_of(weight)[1], dtype=weight.quant_state.dtype)
            for experts, part, matrices in _tiles(weight, bounds):
                product[part] = _grouped_linear(rows[part], matrices, ends[experts] - part.start)
            return product

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
            upstream = upstream.contiguous()
            gradient = upstream.new_empty(len(upstream), shape_of(ctx.weight)[2], dtype=ctx.dtype)
            for experts, part, matrices in _tiles(ctx.weight, ctx.bounds):
                inner = _grouped_linear(upstream[part], matrices, ctx.ends[experts] - part.start, is_transposed=True)
                gradient[part] = inner
            return gradient, None, None, None

    return DequantisingProduct
