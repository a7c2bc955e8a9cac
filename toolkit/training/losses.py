"""The loss of the assistant's tokens, computed only where it counts.

TRL's fused head scores every position wherever Triton is missing (trl 1.16.0, trainer/utils.py, `add_fused_lm_head`:
`compact = _use_triton(...)`), and its entropy besides. On a CPU that is most of a small model's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.training.encoding import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def next_token_losses(model: Any, inputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Negative log-likelihood (nats) of every counted token, shape (counted,).

    `inputs` are (rows, length) token ids with an attention mask or position ids; `labels` the same shape, IGNORED where
    a token does not count. Only columns that hold a counted token pass through the language-model head.
    """
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
    # Without a cache, position ids that start over mark rows packed into one, and attention keeps them apart.
    logits = model(**inputs, use_cache=False, logits_to_keep=columns).logits
    targets = targets[:, columns]
    counted = targets != IGNORED
    return cross_entropy(logits[counted].float(), targets[counted], reduction="none")


def pad_right(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of token ids as one tensor (rows, longest), filled up with `value`."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
