"""The moments of a training step at which memory may peak, each with what it holds beyond the static parts.

Sources as for `toolkit.planning.activations`; which moments can win was read off traces: backward through the last
layer's MLP and attention, the loss, the final norm, and the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.planning.activations import LayerBytes, Setting, layer_bytes
from toolkit.planning.architecture import Shape

# `toolkit.training.losses` holds at most 2^26 logits at a time in float32, and `logsumexp` as much again.
_TILE_LOGITS, _TILE_LOGIT_BYTES = 2**26, 8

# `toolkit.training.experts` dequantises so many bytes of 4-bit routed experts at a time, and at least one expert.
DEQUANTISED_EXPERT_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment's name and its bytes: activations, buffers, logits, gradients of the adapter made just then."""

    name: str
    activations: int = 0
    working_buffers: int = 0
    logits_and_loss: int = 0
    gradients: int = 0

    @property
    def total(self) -> int:
        return self.activations + self.working_buffers + self.logits_and_loss + self.gradients


def step_moments(shape: Shape, setting: Setting, *, adapter: str, checkpointing: bool, loss: str) -> Iterator[Moment]:
    """The moments between the start of the forward and the end of the backward pass."""
    dense, sparse = (layer_bytes(shape, setting, sparse=sparse) for sparse in (False, True))
    sparse_layers = shape.layers - shape.dense_layers
    if checkpointing:
        before = setting.element_bytes * shape.layers * shape.hidden * setting.tokens  # every layer's input
    else:
        before = dense.kept * shape.dense_layers + sparse.kept * sparse_layers
    if shape.dense_layers:
        yield from _layer_moments(shape, setting, dense, before, checkpointing, adapter, plain=True)
    if sparse_layers:
        yield from _layer_moments(shape, setting, sparse, before, checkpointing, adapter, plain=False)
    yield from _loss_moments(shape, setting, before, checkpointing, loss)


def _layer_moments(
    shape: Shape, setting: Setting, layer: LayerBytes, before: int, checkpointing: bool, adapter: str, *, plain: bool
) -> Iterator[Moment]:
    """Backward through the last layer, which with checkpointing is computed again first."""
    tokens, hidden, width = setting.tokens, shape.hidden, shape.intermediate
    attention, mlp = "attention backward of the last layer", "MLP backward of the last layer"
    if checkpointing:
        # In float32 the first norm keeps the layer's input itself, which is the checkpoint counted already.
        whole = before + layer.kept - (4 * hidden * tokens if setting.element_bytes == 4 else 0)
        yield Moment(attention, before + layer.attention_backward)
    else:
        whole = before
        yield Moment(attention, before - layer.kept + layer.attention_backward)
    yield Moment(mlp, whole + layer.mlp_backward)
    if not plain:
        if adapter == "qlora" and shape.experts is not None:
            # By then one of the three copies of the active experts' rows is left, and the gradient of their inside is made.
            rows = setting.element_bytes * shape.experts.per_token * tokens
            spent = rows * max(0, 2 * hidden - shape.experts.intermediate)
            dequantised = _dequantised_expert_bytes(shape, setting.element_bytes)
            yield Moment(f"{mlp}, experts dequantised", whole + layer.mlp_backward - spent, dequantised)
        return
    # Once the MLP's own tensors are gone, the residual stream and its gradient are at their widest.
    late = "MLP input backward of the last layer"
    if setting.own_copies:
        yield Moment(late, whole + tokens * (18 * hidden - 8 * width))
    if adapter == "qlora":
        matrix = (
            setting.element_bytes * hidden * width
        )  # one dequantised matrix; its float32 scales are an eighth byte each
        yield Moment(f"{mlp}, weights dequantised", whole + setting.element_bytes * tokens * (hidden + width), matrix)
        yield Moment(f"{late}, weights dequantised", whole + 8 * tokens * hidden, matrix + hidden * width // 8)
        yield Moment(late, whole + tokens * (20 * hidden - 8 * width))


def _dequantised_expert_bytes(shape: Shape, element_bytes: int) -> int:
    """What a product with 4-bit experts makes for itself: a tile of matrices, and all scales of the layer in float32."""
    assert shape.experts is not None
    matrix = shape.expert_matrices[0]
    one, count = element_bytes * matrix.fan_in * matrix.fan_out, shape.experts.count
    tile = max(one, min(DEQUANTISED_EXPERT_BYTES, count * one))
    return tile + 4 * count * matrix.fan_in * matrix.fan_out // 64


def _loss_moments(shape: Shape, setting: Setting, before: int, checkpointing: bool, loss: str) -> Iterator[Moment]:
    tokens, hidden, vocab = setting.tokens, shape.hidden, shape.vocab
    if loss == "logits":
        yield Moment("loss on the logits, forward", before + 6 * hidden * tokens, 0, 10 * vocab * tokens)
        yield Moment("loss on the logits, backward", before + 4 * hidden * tokens, 0, 12 * vocab * tokens)
        return
    # The final norm's float32 input, then hidden states, those that count, and their gradient.
    around = (8 if checkpointing else 4) + 2 * setting.element_bytes
    tile = _TILE_LOGIT_BYTES * min(vocab * tokens, _TILE_LOGITS)
    yield Moment("loss, one tile of the logits", before + around * hidden * tokens, 0, tile)
    if not checkpointing:
        yield Moment("final norm backward", before + 20 * hidden * tokens)
