"""Predicted time: beside what others published, and how it moves with what a step is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.planned import shape_of
from toolkit.planning.gpu import named
from toolkit.planning.roofline import (
    LAYER_OPERATIONS,
    LAYER_OPERATIONS_RECOMPUTED,
    Step,
    gather_seconds,
    rates_of,
    reduce_seconds,
)

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


def step(base: str = "meta-llama/Llama-3.1-8B", **settings: object) -> Step:
    defaults: dict[str, object] = {
        "adapter": "lora",
        "rank": 16,
        "targets": ALL,
        "dtype": "bfloat16",
        "checkpointing": False,
        "tokens": 4096,
        "length": 2048,
        "masked": False,
        "fused_head": True,
    }
    return Step(shape_of(base), **{**defaults, **settings})  # type: ignore[arg-type]


def predicted_tokens_per_second(gpu: str, work: Step) -> float:
    rates = rates_of(named(gpu))
    assert rates is not None
    return work.tokens / work.seconds(rates)


@pytest.mark.parametrize(
    ("gpu", "work", "published"),
    [
        # NeMo Automodel, docs/performance-summary: LoRA, 2 rows of 4096
        ("H100 SXM 80GB", step(tokens=8192, length=4096), 12_473),
        ("H100 SXM 80GB", step("Qwen/Qwen2.5-7B", tokens=8192, length=4096), 14_110),
        # torchtune README: Llama-3.2-3B, LoRA with recomputation, packed rows of 4096
        ("A100 80GB SXM", step("meta-llama/Llama-3.2-3B", checkpointing=True, length=4096), 8_210),
        ("A100 80GB SXM", step("meta-llama/Llama-3.2-3B", adapter="qlora", checkpointing=True, length=4096), 8_035),
        # Qwen README: a 7 B base, LoRA on an A100, one row of 2048
        ("A100 80GB SXM", step("Qwen/Qwen2-7B", tokens=2048), 3_150),
    ],
)
def test_published_speeds_are_met_within_a_factor_of_two(gpu: str, work: Step, published: float) -> None:
    assert 0.5 < predicted_tokens_per_second(gpu, work) / published < 2


def test_the_arithmetic_of_lora_is_four_operations_a_weight_and_six_with_recomputation() -> None:
    shape = shape_of("meta-llama/Llama-3.1-8B")
    plain, again = step(length=1), step(length=1, checkpointing=True)
    assert plain.flops / plain.tokens / shape.parameters == pytest.approx(4, rel=0.05)
    assert (again.flops - plain.flops) / plain.tokens == pytest.approx(2 * shape.linear_parameters, rel=1e-4)


def test_of_a_mixture_only_active_experts_compute_but_all_are_read() -> None:
    work = step("Qwen/Qwen3-30B-A3B", targets=ATTENTION)
    assert work.active_weights == pytest.approx(2.7e9, rel=0.05)
    assert work.weight_traffic == pytest.approx(2 * 2 * 29.9e9, rel=0.01)


def test_4_bit_weights_take_longer_than_16_bit_ones() -> None:
    assert predicted_tokens_per_second("A100 80GB", step(adapter="qlora")) < predicted_tokens_per_second(
        "A100 80GB", step()
    )


def test_a_sliding_window_bounds_attention() -> None:
    whole = step("mistralai/Mistral-7B-v0.3", length=32_768)
    windowed = replace(whole, shape=replace(whole.shape, sliding_window=4096))
    assert windowed.flops < 0.6 * whole.flops


def test_a_tiny_step_takes_as_long_as_its_launches() -> None:
    rates = rates_of(named("H100 SXM 80GB"))
    assert rates is not None
    work = step("Qwen/Qwen2.5-0.5B", tokens=64)
    assert work.seconds(rates) == pytest.approx(24 * LAYER_OPERATIONS * 5e-6)


def test_sharded_weights_arrive_faster_over_nvlink() -> None:
    shape = shape_of("meta-llama/Llama-3.3-70B-Instruct")
    fast, slow = (rates_of(named(name)) for name in ("H100 SXM 80GB", "RTX 4090"))
    assert fast is not None
    assert slow is not None
    ratio = gather_seconds(shape, "lora", "bfloat16", 8, slow) / gather_seconds(shape, "lora", "bfloat16", 8, fast)
    assert ratio == pytest.approx(450 / 32)
    assert reduce_seconds(10**9, 2, fast) == pytest.approx(10**9 / (450e9 * 0.7))


def test_a_gpu_known_by_its_memory_has_the_median_rates_of_its_size_and_says_so() -> None:
    rates = rates_of(named("24GiB"))
    assert rates is not None
    assert "median of five cards of about its memory" in rates.assumed


@pytest.mark.parametrize(("recomputed", "counted"), [(False, LAYER_OPERATIONS), (True, LAYER_OPERATIONS_RECOMPUTED)])
def test_a_layer_dispatches_about_as_many_operations_as_is_said(recomputed: bool, counted: int) -> None:
    assert operations(3, recomputed) - operations(2, recomputed) == pytest.approx(counted, rel=0.15)


def operations(layers: int, recomputed: bool) -> int:
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.total += 1
            return function(*args, **(kwargs or {}))

    config = transformers.AutoConfig.for_model(
        "qwen2", hidden_size=64, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=128,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=list(ALL), task_type="CAUSAL_LM"))
    if recomputed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    tokens = torch.randint(0, 128, (2, 32))
    mask = torch.ones_like(tokens)
    mask[0, -3:] = 0
    count = Count()
    with count, torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.base_model.model.model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
    with count:
        hidden.float().sum().backward()
    return count.total
