"""The loss of the assistant's tokens, computed only where it counts and never as one large matrix of logits.

TRL's fused head scores every position wherever Triton is missing (trl 1.16.0, trainer/utils.py, `add_fused_lm_head`:
`compact = _use_triton(...)`), and the entropy of each besides: on a CPU most of a small model's time. With a frozen
head the gradient of the hidden states can be formed in the forward pass, tile by tile, which spares a third product
with the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.training.encoding import IGNORED
from toolkit.training.row_attention import lengths_of

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.training.settings import Settings

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
    return _tiled_loss().apply(hidden[counted], *head_of(causal), targets[counted])


def mixed_precision(settings: Settings, device_type: str | None = None) -> AbstractContextManager[Any]:
    """Autocast of a run in 16 bits, which accelerate wraps around the model's own forward pass, where our loss does not
    go. `device_type` is that of the tensors where it is not the run's."""
    import torch

    if settings.dtype == "float32":
        return nullcontext()
    dtype = getattr(torch, settings.dtype)
    context: AbstractContextManager[Any] = torch.autocast(device_type or settings.device_type, dtype=dtype)
    return context


def head_of(causal: Any) -> tuple[Tensor, Tensor | None, list[int]]:
    """The head's matrix (vocabulary, hidden), and the rows of it that are trained: their values and numbers, if any.

    Rows of new tokens live beside the matrix (PEFT's `TrainableTokensLayer`), and the matrix is given with them in it.
    """
    head = causal.get_output_embeddings()
    layer = trained_rows_of(head)
    if layer is None:
        return head.weight, None, []
    (name,) = layer.active_adapters
    return head.weight.detach(), layer.trainable_tokens_delta[name], layer.token_indices[name]


def trained_rows_of(head: Any) -> Any:
    """PEFT's layer of a head whose rows for new tokens are trained and switched on; None for any other."""
    layer = getattr(head, "token_adapter", None)
    return None if layer is None or layer.disable_adapters or not layer.active_adapters else layer


def has_plain_head(causal: Any) -> bool:
    """Whether logits are nothing but hidden states times a head that gets no gradient, rows of new tokens apart."""
    import torch

    head = causal.get_output_embeddings()
    config = causal.config.get_text_config()
    extras = any(getattr(config, name, None) not in (None, 1.0) for name in _HEAD_EXTRAS)
    if head is None or getattr(getattr(head, "original_module", head), "bias", None) is not None or extras:
        return False
    trained = trained_rows_of(head) is None and head.weight.requires_grad
    return not (trained and torch.is_grad_enabled())


@cache
def _tiled_loss() -> Any:
    """The autograd function; made on first use, since torch is imported no earlier."""
    import torch

    class TiledLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed
        @staticmethod
        def forward(
            ctx: Any, hidden: Tensor, head: Tensor, rows: Tensor | None, numbers: list[int], targets: Tensor
        ) -> Tensor:
            losses = hidden.new_empty(len(targets), dtype=torch.float32)
            gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            # That of the rows needs each token's share of the gradient that comes from above: kept by token.
            shares = (
                hidden.new_empty(len(targets), len(numbers), dtype=torch.float32) if ctx.needs_input_grad[2] else None
            )
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
                    if shares is not None:
                        shares[part] = likelihoods[:, numbers]
            ctx.save_for_backward(gradient, shares, hidden if shares is not None else None)
            ctx.rows_dtype = None if rows is None else rows.dtype
            return losses

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
            gradient, shares, hidden = ctx.saved_tensors
            of_rows = None
            if shares is not None:
                of_rows = ((shares * upstream[:, None]).T @ hidden.float()).to(ctx.rows_dtype)
            of_hidden = None if gradient is None else gradient * upstream[:, None].to(gradient.dtype)
            return of_hidden, None, of_rows, None, None

    return TiledLoss
