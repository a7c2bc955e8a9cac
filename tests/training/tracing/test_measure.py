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
