"""What `benchmarks/memory.py --device cuda` runs: its random bases are what a trace counts, and the steps on a GPU."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.planning.bases import known_shape
from toolkit.planning.configuration import config_fields
from toolkit.planning.memory import estimate
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.measure import measured, random_base
from toolkit.training.tracing.trace import trace

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

FIELDS: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def chosen(**changes: Any) -> Any:
    step = {"adapter": "lora", "rank": 4, "targets": TARGETS, "batch": 2, "length": 32, "checkpointing": False}
    return settings_for(**(step | {"dtype": "float32", "device_kind": "cpu"} | changes))  # type: ignore[arg-type]


MIXTURE: dict[str, Any] = FIELDS | {
    "model_type": "qwen3_moe",
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "head_dim": 32,
    "tie_word_embeddings": False,
}


def test_the_experts_of_a_random_base_are_quantised_as_training_does() -> None:
    from toolkit.training.experts import FUSED, experts_forward, is_fused, is_quantised, shape_of

    model = random_base(MIXTURE, chosen(adapter="qlora", targets=("q_proj",)))
    fused = [module for module in model.modules() if is_fused(module)]
    assert len(fused) == 3
    for experts in fused:
        assert not hasattr(experts, "quant_state")
        for name in FUSED:
            weight = getattr(experts, name)
            assert is_quantised(weight)
            assert weight.quant_state.dtype == torch.float32
    assert shape_of(fused[0].gate_up_proj) == (4, 128, 128)
    hidden, chosen_ones = torch.ones(3, 128), torch.tensor([[0, 1], [1, 2], [3, 0]])
    assert torch.isfinite(experts_forward(fused[0], hidden, chosen_ones, torch.full((3, 2), 0.5))).all()
    with torch.no_grad():
        assert torch.isfinite(model(input_ids=torch.ones((1, 8), dtype=torch.int64)).logits).all()


def test_a_random_base_in_int8_weighs_what_a_trace_says() -> None:
    settings = chosen(adapter="lora-8bit")
    model = random_base(FIELDS, settings)
    stored = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    assert sum(stored.values()) == pytest.approx(trace(FIELDS, settings).parts["base_weights"], abs=4096)


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_a_random_base_weighs_what_a_trace_says_and_runs(adapter: str) -> None:
    settings = chosen(adapter=adapter)
    model = random_base(FIELDS, settings)
    parts = trace(FIELDS, settings).parts
    states = [parameter.quant_state for parameter in model.parameters() if hasattr(parameter, "quant_state")]
    scales = [state.state2 for state in states]
    kept = [tensor for state in states for tensor in (state.absmax, state.code, state.offset)]
    kept += [tensor for scale in scales for tensor in (scale.absmax, scale.code)]
    stored = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    assert sum(stored.values()) == pytest.approx(parts["base_weights"], abs=4096)
    assert sum(tensor.nbytes for tensor in kept) == pytest.approx(parts.get("quantisation_state", 0), abs=4096)
    with torch.no_grad():
        assert torch.isfinite(model(input_ids=torch.ones((1, 8), dtype=torch.int64)).logits).all()
    gc.collect()


def test_measuring_without_a_gpu_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(TkError, match="no CUDA device"):
        measured(FIELDS, chosen())


@pytest.mark.gpu
@pytest.mark.parametrize("adapter", ["lora", "qlora"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_step_on_a_gpu_takes_what_the_closed_form_says(adapter: str, checkpointing: bool) -> None:
    """At most 8 % off, and never more than 2 % above the estimate."""
    shape = known_shape("Qwen/Qwen2.5-0.5B")
    assert shape is not None
    step: dict[str, Any] = {"adapter": adapter, "rank": 16, "targets": shape.linear_targets(), "batch": 2}
    step |= {"length": 1024, "checkpointing": checkpointing, "dtype": "bfloat16", "device_kind": "cuda"}
    found = measured(config_fields(shape), settings_for(**step))
    assert found is not None
    assert 0.98 < estimate(shape, masked=True, **step).peak_bytes / found.peak_bytes < 1.08
