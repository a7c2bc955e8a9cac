"""The closed form: anchors that were traced apart from this code, what it adds up to, and what it refuses.

The anchors are traces of fake tensors, themselves within 0.1 % of real CPU steps, of Llama 3.1 8B, Qwen and DeepSeek V2
Lite under transformers 5.23, PEFT 0.21 and TRL 1.16, given to as many digits as stand here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning.bases import known_shape
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.gpu import GIB, named
from toolkit.planning.memory import context_bytes, estimate, fit, weight_bytes
from toolkit.planning.moments import DEQUANTISED_EXPERT_BYTES
from toolkit.planning.shape import Shape

LLAMA, SMALL_QWEN = "meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-0.5B"
LITE, MIXTURE = "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3-30B-A3B"
QUERY_VALUE = ("q_proj", "v_proj")
LITE_ATTENTION = ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")


def shape_of(base: str) -> Shape:
    shape = known_shape(base)
    assert shape is not None
    return shape


def step(base: str, **changes: object) -> MemoryEstimate:
    """A step of LoRA, rank 16, bf16, batch 4, 2048 tokens, checkpointing, but for `changes`."""
    shape = shape_of(base)
    settings: dict[str, object] = {
        "adapter": "lora",
        "rank": 16,
        "targets": shape.linear_targets(),
        "batch": 4,
        "length": 2048,
        "checkpointing": True,
        "dtype": "bfloat16",
    }
    return estimate(shape, **(settings | changes))  # type: ignore[arg-type]


TRACED = [
    # GiB, base, what differs
    (20.06, LLAMA, {}),
    (16.587, LLAMA, {"batch": 1}),
    (69.56, LLAMA, {"checkpointing": False}),
    (18.94, LLAMA, {"targets": QUERY_VALUE}),
    (53.72, LLAMA, {"targets": QUERY_VALUE, "checkpointing": False}),
    (20.20, LLAMA, {"masked": True}),
    (73.58, LLAMA, {"masked": True, "checkpointing": False}),
    (29.29, LLAMA, {"loss": "logits"}),
    (80.34, LLAMA, {"loss": "logits", "checkpointing": False}),
    (20.21, LLAMA, {"accumulation": 2}),
    (20.79, LLAMA, {"dropout": 0.05}),
    (79.28, LLAMA, {"dropout": 0.05, "checkpointing": False}),
    (2.106, SMALL_QWEN, {}),
    (30.856, LITE, {"batch": 2, "targets": LITE_ATTENTION}),
    (30.1, LITE, {"batch": 1, "targets": LITE_ATTENTION}),
    (57.9, MIXTURE, {"batch": 1}),
]


@pytest.mark.parametrize(("traced", "base", "changes"), TRACED)
def test_an_estimate_is_the_traced_peak(traced: float, base: str, changes: dict[str, object]) -> None:
    assert step(base, **changes).peak_bytes / GIB == pytest.approx(traced, rel=0.0007)


@pytest.mark.parametrize("base", [LLAMA, SMALL_QWEN, LITE, MIXTURE, "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3"])
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(("dtype", "kind"), [("bfloat16", "cuda"), ("float32", "cpu"), ("float16", "mps")])
def test_parts_add_up_to_the_peak(base: str, adapter: str, checkpointing: bool, dtype: str, kind: str) -> None:
    for batch, length in ((1, 128), (4, 2048)):
        found = step(
            base,
            adapter=adapter,
            checkpointing=checkpointing,
            dtype=dtype,
            device_kind=kind,
            batch=batch,
            length=length,
            accumulation=4,
        )
        assert sum(found.parts.values()) == found.peak_bytes
        assert all(size > 0 for size in found.parts.values())
        assert {"base_weights", "adapter", "optimizer", "gradients"} <= set(found.parts)


def test_a_4_bit_base_keeps_embeddings_head_and_norms_in_16_bits() -> None:
    shape = shape_of(LLAMA)
    weights, state = weight_bytes(shape, "qlora", "bfloat16")
    plain = shape.parameters - shape.linear_parameters
    assert weights == 2 * plain + shape.linear_parameters // 2
    assert state == pytest.approx(shape.linear_parameters * (1 / 64 + 4 / 16384), abs=1)
    assert state / 2**20 == pytest.approx(106, abs=0.6)  # as traced


def test_experts_of_a_mixture_are_in_4_bits_too() -> None:
    """Of DeepSeek V2 Lite's 29.3 GiB, embeddings, head, norms and routers keep 16 bits, and 0.516 bytes a weight stay."""
    shape = shape_of(LITE)
    plain = shape.parameters - shape.linear_parameters - shape.fused_expert_parameters
    quantised = shape.linear_parameters + shape.fused_expert_parameters
    expected = 2 * plain + quantised * (1 / 2 + 1 / 64 + 4 / 16384)
    assert sum(weight_bytes(shape, "qlora", "bfloat16")) == pytest.approx(expected, abs=2)
    assert sum(weight_bytes(shape, "lora", "bfloat16")) / sum(weight_bytes(shape, "qlora", "bfloat16")) > 3.5


def test_experts_of_a_base_stored_in_4_bits_stay_as_they_are() -> None:
    """bitsandbytes left them alone when it was saved: of DeepSeek V2 Lite that saved about 1.3 of 29.3 GiB."""
    stored = replace(shape_of(LITE), quantization="bitsandbytes")
    saved = sum(weight_bytes(stored, "lora", "bfloat16")) - sum(weight_bytes(stored, "qlora", "bfloat16"))
    assert saved / GIB == pytest.approx(1.3, abs=0.1)


def test_a_step_on_4_bit_experts_has_room_for_two_tiles_of_them() -> None:
    """One is let go of only when the next has been dequantised; all experts would be three of these tiles."""
    tiled = step(MIXTURE, adapter="qlora", batch=1, length=128)
    stack = 128 * 2048 * 2 * 768  # values; their scales in float32 are one for 64
    assert pytest.approx(tiled.parts["working_buffers"] - stack // 16, rel=0.2) == 2 * DEQUANTISED_EXPERT_BYTES


def test_float32_takes_about_twice_the_activations() -> None:
    half = step(SMALL_QWEN, checkpointing=False).parts["activations"]
    full = step(SMALL_QWEN, checkpointing=False, dtype="float32", device_kind="cpu").parts["activations"]
    assert 1.5 < full / half < 2.0  # norms keep float32 in both, and no copies for the adapters in float32


def test_latent_attention_on_a_cpu_writes_out_its_scores() -> None:
    short = step(LITE, dtype="float32", device_kind="cpu", checkpointing=False, batch=8, length=256)
    long = step(LITE, dtype="float32", device_kind="cpu", checkpointing=False, batch=1, length=2048)
    grown = long.peak_bytes - short.peak_bytes
    assert grown == pytest.approx(27 * 4 * 16 * 2048 * (2048 - 256), rel=0.05)


def test_memory_grows_with_tokens_and_shrinks_with_checkpointing() -> None:
    sizes = [step(LLAMA, batch=1, length=length).peak_bytes for length in (512, 1024, 2048, 4096)]
    assert sizes == sorted(set(sizes))
    assert step(LLAMA).peak_bytes < step(LLAMA, checkpointing=False).peak_bytes


def test_tiles_of_the_loss_do_not_grow_with_the_batch() -> None:
    """The head's tiles are of 4096 tokens and 32,768 of the vocabulary, in 16 bits; hidden states grow, tiles do not."""
    sizes = [step(SMALL_QWEN, batch=batch, checkpointing=False, targets=QUERY_VALUE) for batch in (1, 3, 6)]
    assert {size.moment for size in sizes} == {"loss and head"}
    one, three, six = (size.parts["logits_and_loss"] for size in sizes)
    tile = 2 * 4096 * 32_768
    assert tile < three < six < three + tile / 4
    assert one == pytest.approx(tile / 2 + (six - three) / 3, rel=0.02)  # 2047 tokens have half a tile


def test_a_set_of_matrices_without_a_form_of_its_own_is_counted_with_a_larger_one() -> None:
    some = step(LLAMA, targets=("q_proj", "down_proj"))
    assert some.answered_by == "closed form of a larger set of adapted matrices"
    assert step(LLAMA).answered_by == "closed form"
    assert some.parts["activations"] == step(LLAMA).parts["activations"]
    assert some.parts["adapter"] < step(LLAMA).parts["adapter"]


def test_an_update_of_all_parameters_at_once_takes_a_copy_of_them() -> None:
    """On one short row the widest moment is the optimiser's."""
    found = step(LLAMA, batch=1, length=16, rank=256)
    assert found.moment == "optimiser step"
    assert found.parts["working_buffers"] == found.parts["adapter"] == found.parts["gradients"]
    fused = step(LLAMA, batch=1, length=16, rank=256, optimizer="adamw_torch_fused")
    assert fused.parts["working_buffers"] < 2**21


def test_optimiser_states_are_two_float32_values_per_trained_parameter() -> None:
    trained = shape_of(LLAMA).adapter_parameters(16, shape_of(LLAMA).linear_targets())
    assert step(LLAMA).parts["optimizer"] == 8 * trained
    assert step(LLAMA, optimizer="adamw_8bit").parts["optimizer"] == int(2.03 * trained)
    assert "optimizer" not in step(LLAMA, optimizer="paged_adamw_8bit").parts


def test_what_has_no_form_is_refused_all_at_once() -> None:
    with pytest.raises(InvalidInput) as raised:
        step(LLAMA, adapter="dora", dtype="int8", optimizer="lion")
    assert [problem.path for problem in raised.value.problems] == ["adapter", "dtype", "optimizer"]


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.87, "comfortable"), (0.88, "tight"), (0.95, "tight"), (0.96, "does-not-fit")]
)
def test_a_fit_leaves_room_for_context_and_cached_blocks(share: float, verdict: str) -> None:
    device = named("24GiB")
    size = int((device.usable_bytes - context_bytes(device)) * share)
    assert fit(MemoryEstimate(size, "any", {"base_weights": size}), device) == verdict


def test_a_cpu_has_no_context() -> None:
    assert context_bytes(named("cpu")) == 0
    assert context_bytes(named("24GiB")) == GIB // 2
