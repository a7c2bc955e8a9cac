"""What a training step keeps and makes: bytes of activations of one decoder layer, by part.

Every figure is bytes for one micro-batch of T = batch x length tokens. `e` is the size of an activation element: 2
under autocast to bfloat16 or float16, 4 in float32. H, I, L, Nq, Nk are hidden, intermediate, layers and the widths of
all query and all key heads. Sources: what transformers 5.23 with PEFT 0.21 saves for the backward pass, derived from
traces of fake tensors (dense models in 16 bits, DeepSeek V2), and from counts of the live storages of real steps on a
CPU (float32, sets of target modules, float32 adapters on a 4-bit base, mixtures). The backward pass of latent attention
on a GPU is taken to need what the flash kernel does, which nobody has measured.

The forms hang on one question: does each adapted matrix keep a copy of its input for itself? PEFT casts the input of a
LoRA layer to the adapter's float32, and autocast casts it back, so every adapted matrix keeps its own 16-bit copy. It
does not where adapter and activations have one format (all in float32, or adapters in bfloat16), nor on a 4-bit base
under CUDA autocast, where PEFT leaves the cast to autocast (`Linear4bit.forward` asks `torch.is_autocast_enabled()`,
which speaks of CUDA alone).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from toolkit.planning.architecture import Experts, Latent, Shape

_FIRST_INPUTS = ("q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj_with_mqa")  # all read the same normalised input


@dataclass(frozen=True, slots=True)
class Setting:
    """What the forms depend on besides the shape. `tokens` is T, `length` one row's tokens, `masked` whether attention
    gets an explicit mask (padded or packed rows), `own_copies` the question above, `dropout_mask_bytes` the
    size of a mask's element where adapters have dropout (each then keeps a copy of its input and the mask), `exact_math` attention written out
    as matrix products (latent attention on a CPU, whose fused kernel wants equal head widths)."""

    targets: Collection[str]
    rank: int
    tokens: int
    length: int
    element_bytes: int
    own_copies: bool
    dropout_mask_bytes: int
    masked: bool
    exact_math: bool


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """One layer: what its attention and its MLP keep for the backward pass, and what the backward pass of each needs
    on top at its widest moment."""

    attention: int
    mlp: int
    attention_backward: int
    mlp_backward: int

    @property
    def kept(self) -> int:
        return self.attention + self.mlp


def layer_bytes(shape: Shape, setting: Setting, *, sparse: bool) -> LayerBytes:
    """Bytes of one layer; `sparse` where its MLP is a mixture of experts (a base without experts has none)."""
    attention, attention_backward = _attention(shape, setting)
    if sparse and shape.experts is not None:
        mlp, mlp_backward = _mixture(shape, shape.experts, setting)
    else:
        mlp, mlp_backward = _mlp(shape, setting)
    return LayerBytes(attention, mlp, attention_backward, mlp_backward)


def _input_copies(names: Collection[str], width: int, setting: Setting) -> int:
    """Bytes per token kept as input of the adapted matrices among `names`, which all read one tensor of `width`."""
    adapted = len(set(names) & set(setting.targets))
    if setting.dropout_mask_bytes:
        return (setting.element_bytes + setting.dropout_mask_bytes) * width * adapted
    return setting.element_bytes * width * (adapted if setting.own_copies else min(adapted, 1))


def _kept_anyway(name: str, width: int, setting: Setting) -> int:
    """Bytes per token for the input of one adapted matrix that something else keeps too: nothing, unless copied."""
    apart = setting.own_copies or setting.dropout_mask_bytes > 0
    return _input_copies((name,), width, setting) if apart else 0


def _attention(shape: Shape, setting: Setting) -> tuple[int, int]:
    e = setting.element_bytes
    # RMSNorm keeps its input in float32: 4H. The low-rank products of the adapters: e x rank each.
    names = {
        matrix.name for matrix in shape.matrices if not matrix.name.endswith(("gate_proj", "up_proj", "down_proj"))
    }
    kept = 4 * shape.hidden + _input_copies(_FIRST_INPUTS, shape.hidden, setting)
    kept += e * setting.rank * len(names & set(setting.targets))
    backward = kept + e * shape.hidden  # of which the gradient of the residual stream
    if shape.latent is not None:
        inner, heads_backward = _latent(shape, shape.latent, setting)
    else:
        inner, heads_backward = _heads(shape, setting)
    return setting.tokens * (kept + inner), setting.tokens * (backward + heads_backward)


def _heads(shape: Shape, setting: Setting) -> tuple[int, int]:
    e, queries, keys = setting.element_bytes, shape.query_width, shape.key_width
    kept = e * (2 * queries + 2 * keys) + 4 * shape.heads  # query, key, value, output and its log-sum-exp
    if shape.qk_norm:
        kept += 4 * queries + 4 * keys + 4 * (shape.heads + shape.kv_heads)
    if setting.masked and shape.kv_heads != shape.heads:
        kept += 2 * e * queries  # with a mask, transformers expands keys and values to every query head first
    kept += _kept_anyway("o_proj", queries, setting)
    # Flash backward: float32 accumulator for the query's gradient, expanded gradients of keys and values.
    return kept, e // 2 * (16 * queries + 8 * keys) + 8 * shape.heads


def _latent(shape: Shape, latent: Latent, setting: Setting) -> tuple[int, int]:
    e, heads = setting.element_bytes, shape.heads
    query, value, expanded = latent.qk_nope + latent.qk_rope, latent.v, latent.qk_nope + latent.v
    kept = 4 * latent.kv_rank + _input_copies(["kv_b_proj"], latent.kv_rank, setting)
    if latent.q_rank is not None:
        kept += 4 * latent.q_rank + _input_copies(["q_b_proj"], latent.q_rank, setting)
    kept += _kept_anyway("o_proj", heads * value, setting)
    if setting.exact_math:  # scaled queries and keys, values and scores in float32, whatever the activations are
        inner = 4 * heads * (2 * query + value)
        scores = 4 * heads * setting.length
        output = 0 if _kept_anyway("o_proj", heads * value, setting) else e * heads * value
        return kept + inner + output + scores, inner + 3 * scores
    kept += e * heads * (2 * query + value + expanded) + 4 * heads
    return kept, e // 2 * heads * (16 * query + 8 * value) + 8 * heads


def _mlp(shape: Shape, setting: Setting) -> tuple[int, int]:
    e, hidden, width, targets = setting.element_bytes, shape.hidden, shape.intermediate, setting.targets
    prefix = "" if shape.experts is None else "mlp."
    kept = 4 * hidden + 3 * e * width + _mlp_adapters(prefix, hidden, width, setting)
    down = f"{prefix}down_proj"
    if down not in targets:
        backward = e * hidden + 3 * e * width
    elif setting.own_copies:
        backward = 10 * hidden + 6 * width  # down_proj's adapter carries its T x I gradient in float32
    else:
        backward = e * hidden + 2 * e * width
    if setting.dropout_mask_bytes and down in targets:
        backward += 2 * e * width
    return setting.tokens * kept, setting.tokens * backward


def _mlp_adapters(prefix: str, hidden: int, width: int, setting: Setting) -> int:
    """Bytes per token that adapters on an MLP of `width` keep: their inputs and their low-rank products."""
    inputs, down = (f"{prefix}gate_proj", f"{prefix}up_proj"), (f"{prefix}down_proj",)
    kept = _input_copies(inputs, hidden, setting) + _input_copies(down, width, setting)
    return kept + setting.element_bytes * setting.rank * len({*inputs, *down} & set(setting.targets))


def _mixture(shape: Shape, experts: Experts, setting: Setting) -> tuple[int, int]:
    """Routed experts as grouped matrix products (transformers' `grouped_mm`), shared experts as one MLP."""
    e, hidden, active = setting.element_bytes, shape.hidden, experts.per_token
    shared = experts.shared * experts.intermediate
    kept = 4 * hidden + e * active * hidden + 3 * e * active * experts.intermediate + 3 * e * shared
    kept += 4 * experts.count + 36 * active  # router probabilities, sorting indices and weights
    kept += _mlp_adapters("shared_experts.", hidden, shared, setting)
    # Backward holds three copies of the active experts' rows; DeepSeek V2 weighs experts in float32, and so are those.
    rows, streams = (12, 4) if shape.model_type == "deepseek_v2" and e == 2 else (3 * e, 6 if e == 2 else 4)
    backward = streams * hidden + rows * active * hidden + 2 * experts.count + 24 * active - 3 * e * shared
    router = 2 * experts.count * hidden if shape.latent is not None else 0  # autocast's copy of its weight
    routed, copies = _routed_adapters(shape, experts, setting)
    return setting.tokens * (kept + routed) + router + copies, setting.tokens * backward


def _routed_adapters(shape: Shape, experts: Experts, setting: Setting) -> tuple[int, int]:
    """What adapters on routed experts keep: bytes per token (inputs and low-rank products of the active experts), and
    bytes a layer (B in the order of the product; in 16 bits it counts among autocast's copies of the adapter)."""
    per_token = copies = 0
    for matrix in shape.expert_matrices:
        if matrix.name in setting.targets:
            per_token += setting.element_bytes * experts.per_token * (matrix.fan_in + setting.rank)
            copies += 4 * setting.rank * experts.count * matrix.fan_out if setting.element_bytes == 4 else 0
    return per_token, copies
