"""The loss of the assistant's tokens, computed only where it counts and never as one large matrix of logits.

TRL's fused head scores every position wherever Triton is missing (trl 1.16.0, trainer/utils.py, `add_fused_lm_head`:
`compact = _use_triton(...)`), and the entropy of each besides: on a CPU most of a small model's time. With a frozen
head the gradient of the hidden states can be formed in the forward pass, tile by tile, which spares a third product
with the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.training.encoding import IGNORED
from toolkit.training.row_attention import lengths_of

if TYPE_CHECKING:
    from torch import Tensor

TILE_VALUES = 2**26  # logits held at a time: 256 MiB in float32

# Families whose head does more than multiply: Gemma caps, Cohere, Granite and Falcon-H1 scale.
_HEAD_EXTRAS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def next_token_losses(model: Any, inputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Negative log-likelihood (nats) of every counted token, shape (counted,).

    `inputs` are (rows, length) token ids with an attention mask, or with position ids that start over where one row
    follows another; `labels` have the same shape, IGNORED where a token does not count.
    """
    from torch.nn.functional import cross_entropy

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    targets = labels[:, 1:]
    counted = targets != IGNORED
    # `use_cache=False`: only without a cache do position ids that start over keep packed rows apart in attention.
    rows = lengths_of(causal, inputs.get("position_ids"))
    if not has_plain_head(causal):
        logits = model(**inputs, **rows, use_cache=False).logits[:, :-1]
        return cross_entropy(logits[counted].float(), targets[counted], reduction="none")
    hidden = causal.base_model(**inputs, **rows, use_cache=False).last_hidden_state[:, :-1]
    return _tiled_loss().apply(hidden[counted], causal.get_output_embeddings().weight, targets[counted])


def has_plain_head(causal: Any) -> bool:
    """Whether logits are nothing but hidden states times a head that gets no gradient."""
    import torch

    head = causal.get_output_embeddings()
    config = causal.config.get_text_config()
    extras = any(getattr(config, name, None) not in (None, 1.0) for name in _HEAD_EXTRAS)
    if head is None or getattr(head, "bias", None) is not None or extras:
        return False
    return not (head.weight.requires_grad and torch.is_grad_enabled())


@cache
def _tiled_loss() -> Any:
    """The autograd function; made on first use, since torch is imported no earlier."""
    import torch

    class TiledLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed
        @staticmethod
        def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
            losses = hidden.new_empty(len(targets), dtype=torch.float32)
            gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            tile = max(1, TILE_VALUES // head.shape[0])
            for begin in range(0, len(targets), tile):
                part = slice(begin, begin + tile)
                logits = (hidden[part].to(head.dtype) @ head.T).float()
                normaliser = logits.logsumexp(dim=1)
                wanted = targets[part, None]
                losses[part] = normaliser - logits.gather(1, wanted).squeeze(1)
                if gradient is not None:
                    likelihoods = logits.sub_(normaliser[:, None]).exp_()
                    likelihoods.scatter_add_(1, wanted, likelihoods.new_full(wanted.shape, -1.0))
                    gradient[part] = (likelihoods.to(head.dtype) @ head).to(gradient.dtype)
            ctx.save_for_backward(gradient)
            return losses

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None]:
            (gradient,) = ctx.saved_tensors
            return (None if gradient is None else gradient * upstream[:, None].to(gradient.dtype)), None, None

    return TiledLoss
