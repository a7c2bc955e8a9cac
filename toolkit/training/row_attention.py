"""Attention of rows that lie end to end in one line: each row by itself, so that no mask is ever made.

A mask of the whole line would cost time and memory with the square of all its tokens, and padding costs every matrix
product; a row by itself costs the square of its own length, halved by being causal. transformers takes an attention of
one's own by name, and makes no mask for a name that it has none for (`masking_utils.py`, 5.23).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAME = "tk_rows"
_UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")  # what an architecture may ask beside, and this has not


class CannotSplit(Exception):
    """The architecture attends in a way that rows cannot be split for; another way to lay them out is needed."""


@contextmanager
def attending_within_rows(model: Any) -> Iterator[None]:
    """While entered, `model` takes batches of one line of rows, whose lengths come with every call (`lengths_of`).
    Backward passes belong inside too: they may compute activations again."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    with _attending(model, NAME):
        yield


@contextmanager
def attending_to_padded(model: Any) -> Iterator[None]:
    """While entered, `model` takes padded rows with a mask, also in the middle of training on rows end to end."""
    within_rows = _causal(model).config.get_text_config()._attn_implementation == NAME
    with _attending(model, "sdpa") if within_rows else nullcontext():
        yield


@contextmanager
def _attending(model: Any, name: str) -> Iterator[None]:
    causal = _causal(model)
    configs = {id(config): config for config in (causal.config, causal.config.get_text_config())}.values()
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config, usual in zip(configs, before, strict=True):
            config._attn_implementation = usual


def _causal(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def lengths_of(causal: Any, position_ids: Tensor | None) -> dict[str, list[int]]:
    """The keyword `row_lengths` for a model that attends within rows, told from position ids (1, tokens) that start
    over with each row; nothing for any other model."""
    if causal.config.get_text_config()._attn_implementation != NAME:
        return {}
    if position_ids is None or position_ids.shape[0] != 1:
        raise CannotSplit("rows are not laid end to end in one line with position ids")
    starts = (position_ids[0] == 0).nonzero().flatten().tolist()
    ends = [*starts[1:], position_ids.shape[1]]
    return {"row_lengths": [end - start for start, end in zip(starts, ends, strict=True)]}


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    row_lengths: list[int] | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention within rows, as transformers calls it: (1, heads, tokens, width) to (1, tokens, heads, width).

    Raises CannotSplit where the rows' lengths did not reach it, or where more is asked than causal attention, a window
    of it and shared key heads.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    if row_lengths is None:
        raise CannotSplit(f"{type(module).__name__} does not pass on what it is called with")
    if asked := [name for name in _UNKNOWN if others.get(name) is not None]:
        raise CannotSplit(f"{type(module).__name__} wants {', '.join(asked)}")
    if attention_mask is not None or is_causal is False or not getattr(module, "is_causal", True):
        raise CannotSplit(f"{type(module).__name__} wants a mask of its own")
    grouped = query.shape[1] != key.shape[1]
    rows = []
    # `split`, not slices: its backward joins the parts once, a slice's fills a tensor of the whole line with zeros.
    for q, k, v in zip(*(whole.split(row_lengths, dim=2) for whole in (query, key, value)), strict=True):
        windowed = sliding_window is not None and q.shape[2] > sliding_window
        row = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_window(q.shape[2], sliding_window, q.device) if windowed else None,
            dropout_p=dropout,
            is_causal=not windowed,
            scale=scaling,
            enable_gqa=grouped,
        )
        rows.append(row.transpose(1, 2))
    return torch.cat(rows, dim=1), None


def _window(length: int, width: int | None, device: Any) -> Tensor:
    """Which tokens see which, (length, length): themselves and the `width` - 1 before them."""
    import torch

    assert width is not None
    place = torch.arange(length, device=device)
    before = place[:, None] - place[None, :]
    return (before >= 0) & (before < width)
