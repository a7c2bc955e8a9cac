"""Log-probabilities of whole answers: what preference methods compare, during training and in their evaluation."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from toolkit.training.batches import PaddedCollator, like_lengths
from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.losses import has_plain_head, next_token_losses

if TYPE_CHECKING:
    from torch import Tensor

_BATCH_TOKENS = 4096  # padded tokens in one forward pass without gradients; a single row may be longer


def answer_log_probs(
    model: Any, rows: Encoded, pad: int, report: Callable[[int], None] = lambda done: None
) -> list[float]:
    """Log-probability (nats) of the counted tokens of each row under the model as it stands, without dropout."""
    import torch

    found = [0.0] * rows.rows
    collate = PaddedCollator(pad)
    was_training, done = model.training, 0
    model.eval()
    with torch.no_grad():
        for batch in like_lengths([len(row) for row in rows.input_ids], _BATCH_TOKENS):
            chosen = [{"input_ids": rows.input_ids[index], "labels": rows.labels[index]} for index in batch]
            inputs = {name: values.to(model.device) for name, values in collate(chosen).items()}
            labels = inputs.pop("labels")
            sums = scattered(-next_token_losses(model, inputs, labels), labels).sum(dim=1)
            for index, value in zip(batch, sums.tolist(), strict=True):
                found[index] = value
            done += len(batch)
            report(done)
    model.train(was_training)
    return found


def scattered(values: Tensor, labels: Tensor) -> Tensor:
    """Values of the counted tokens at their places, 0 elsewhere: shape (rows, length - 1), as the next token's."""
    counted = labels[:, 1:] != IGNORED
    return values.new_zeros(counted.shape).masked_scatter(counted, values)


def use_tiled_head(model: Any) -> None:
    """Let TRL's fused head score counted positions alone, by our loss, on devices without Triton.

    trl 1.16.0 (trainer/utils.py, `add_fused_lm_head`) scores every position there, and forms entropies and mean logits
    that only its metrics read; those are zeros here and no curve keeps them. Heads that do more than multiply are left
    as they are.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    causal = model.get_base_model()
    if not has_plain_head(causal):
        return
    fused = causal.forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **inputs: Any) -> Any:
        if not fused_lm_head or args:
            return fused(*args, fused_lm_head=fused_lm_head, labels=labels, **inputs)
        inputs.pop("use_cache", None)
        log_probs = scattered(-next_token_losses(self, inputs, labels), labels)
        unknown = log_probs.detach().new_zeros(log_probs.shape)
        return FusedCausalLMOutput(log_probs=log_probs, entropy=unknown, mean_logits=unknown, is_top1=unknown.bool())

    forward.__wrapped__ = type(causal).forward  # type: ignore[attr-defined]  # `generate` looks at the signature
    causal.forward = types.MethodType(forward, causal)
