"""The tracer beside the allocator: real steps of the real trainer on a CPU, and the same steps on fake tensors."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.planning.adapter_kind import AdapterKind
from toolkit.planning.estimates import MemoryEstimate
from toolkit.training import adapters, base
from toolkit.training.encoding import Encoded
from toolkit.training.methods import sft
from toolkit.training.progress import silent
from toolkit.training.settings import Settings
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.trace import Options, trace

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BATCH, LENGTH, RANK = 4, 192, 8
DENSE = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 832,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 2048,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
LATENT = DENSE | {
    "model_type": "deepseek_v3",
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "moe_intermediate_size": 112,
    "first_k_dense_replace": 1,
    "q_lora_rank": 96,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 48,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_group": 1,
    "topk_group": 1,
}
LATENT.pop("head_dim")
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LATENT_MATRICES = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")


def settings_of(fields: dict[str, object], **changes: object) -> Settings:
    dense = fields["model_type"] == "llama" or fields["model_type"] == "qwen3"
    settings: dict[str, object] = {
        "adapter": "lora",
        "rank": RANK,
        "targets": MATRICES if dense else LATENT_MATRICES,
        "batch": BATCH,
        "length": LENGTH,
        "checkpointing": False,
        "dtype": "float32",
        "device_kind": "cpu",
    }
    return settings_for(**(settings | changes))  # type: ignore[arg-type]


def real_peak(fields: dict[str, object], settings: Settings, tokenizer: Any, folder: Path, shorter: int) -> int:
    """Bytes at the widest moment of two optimiser steps, weights included, as the allocator counted them.

    The first row is `shorter` than the others by so many tokens, for which they are padded.
    """
    from torch.profiler import ProfilerActivity, profile

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**fields)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder / "base")
    quantise = settings.bits is not None
    loaded = base.load_base(
        folder / "base", dtype=settings.dtype, device="cpu", quantise=settings.bits is not None, bits=settings.bits
    )
    model = adapters.add_adapter(loaded, settings)
    # TRL and we cast a 4-bit base's adapter, so that it is made again within the profile and counted there.
    made_before = [parameter for parameter in model.parameters() if not (quantise and parameter.requires_grad)]
    scales = [
        module.state.SCB
        for module in model.modules()
        if type(module).__module__ == "bitsandbytes.nn.modules" and hasattr(module, "state")
    ]
    weights = storages([*made_before, *model.buffers(), *scales])
    rows = [[7] * LENGTH for _ in range(BATCH * settings.accumulation)]  # every step sees them all
    rows[0] = rows[0][shorter:]
    data = Encoded(input_ids=rows, labels=rows)
    gc.collect()  # what an earlier case left would be counted where it is freed
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        sft.train(model, tokenizer, data, replace(settings, max_steps=2), folder, silent)
    alive = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return weights + peak


def storages(tensors: list[Any]) -> int:
    """Bytes of the storages of tensors, each counted once, those of a 4-bit weight's state among them."""
    states = [state for tensor in tensors if (state := getattr(tensor, "quant_state", None))]
    for state in states:
        tensors = [*tensors, state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(found.values())


CASES = {
    "lora": (DENSE, {}, 0, 0.002),
    "lora with checkpointing": (DENSE, {"checkpointing": True}, 0, 0.002),
    "padded rows": (DENSE, {}, 3, 0.002),
    "padded rows with checkpointing": (DENSE, {"checkpointing": True}, 3, 0.002),
    "dropout": (DENSE, {"dropout": 0.1}, 0, 0.002),
    "query and value alone": (DENSE, {"targets": ("q_proj", "v_proj")}, 0, 0.002),
    "accumulation": (DENSE, {"accumulation": 2}, 0, 0.002),
    "bfloat16": (DENSE, {"dtype": "bfloat16"}, 0, 0.002),
    "qwen3": (DENSE | {"model_type": "qwen3"}, {}, 0, 0.002),
    "mixture with latent attention": (LATENT, {}, 0, 0.002),
    "qlora of a mixture": (LATENT, {"adapter": "qlora"}, 0, 0.01),
    "qlora": (DENSE, {"adapter": "qlora"}, 0, 0.01),
    "qlora with checkpointing": (DENSE, {"adapter": "qlora", "checkpointing": True}, 0, 0.01),
    "dora": (DENSE, {"kind": AdapterKind(dora=True)}, 0, 0.002),
    "int8": (DENSE, {"adapter": "lora-8bit"}, 0, 0.01),
    "int8 with checkpointing": (DENSE, {"adapter": "lora-8bit", "checkpointing": True}, 0, 0.01),
}


DEFAULT = (
    "lora with checkpointing",
    "padded rows",
    "mixture with latent attention",
    "qlora with checkpointing",
    "int8 with checkpointing",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow) for name in CASES]
)
def test_a_trace_is_what_the_allocator_of_a_real_step_counts(name: str, tokenizer: Any, tmp_path: Path) -> None:
    fields, changes, shorter, tolerance = CASES[name]
    settings = settings_of(fields, **changes)
    traced: MemoryEstimate = trace(fields, settings, Options(masked=shorter > 0))
    assert traced.peak_bytes == pytest.approx(real_peak(fields, settings, tokenizer, tmp_path, shorter), rel=tolerance)
