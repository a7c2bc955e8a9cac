"""What is added to a plain adapter's memory for the rarer kinds: never less than a trace of the step says, nor much more."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.planning.adapter_kind import AdapterKind
from toolkit.planning.memory import estimate
from toolkit.planning.shape import read_shape
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.trace import Options, trace

pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

FIELDS: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DORA, ROWS, PLAIN = AdapterKind(dora=True), AdapterKind(new_tokens=8), AdapterKind()
GPU, CPU = ("cuda", "bfloat16"), ("cpu", "float32")
# adapter, kind, device and format, recomputation, most that may be planned too much
CASES = [
    ("lora-8bit", PLAIN, GPU, True, 0.001),
    ("lora-8bit", PLAIN, CPU, True, 0.001),
    ("lora", DORA, GPU, True, 0.05),
    ("qlora", DORA, GPU, False, 0.12),
    ("lora", ROWS, GPU, False, 0.12),
    ("lora-8bit", PLAIN, GPU, False, 0.001),
    ("lora", DORA, GPU, False, 0.10),
    ("lora", DORA, CPU, True, 0.15),
    ("lora", DORA, CPU, False, 0.05),
    ("qlora", DORA, GPU, True, 0.20),
    ("qlora", DORA, CPU, True, 0.25),
    ("lora-8bit", DORA, GPU, True, 0.15),
    ("lora", ROWS, GPU, True, 0.25),
    ("lora", ROWS, CPU, True, 0.05),
]
SLOW = len(CASES) - 5


@pytest.mark.parametrize(
    ("adapter", "kind", "device", "checkpointing", "most"),
    [*CASES[:5], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[-SLOW:])],
)
@pytest.mark.parametrize(("batch", "length"), [(2, 512), pytest.param(8, 1024, marks=pytest.mark.slow)])
def test_a_kind_takes_what_is_planned_for_it_and_little_less(
    adapter: str, kind: AdapterKind, device: tuple[str, str], checkpointing: bool, most: float, batch: int, length: int
) -> None:
    demand: dict[str, Any] = {
        "adapter": adapter, "rank": 16, "targets": MATRICES, "batch": batch, "length": length, "kind": kind,
        "checkpointing": checkpointing, "dtype": device[1], "device_kind": device[0],
    }  # fmt: skip
    traced = trace(FIELDS, settings_for(**demand), Options(masked=True))
    planned = estimate(read_shape(FIELDS), masked=True, **demand)
    assert 0.99 * traced.peak_bytes <= planned.peak_bytes <= (1 + most) * traced.peak_bytes
    exact = ("base_weights", "quantisation_state", "adapter", "optimizer")
    assert [planned.parts.get(part, 0) for part in exact] == pytest.approx(
        [traced.parts.get(part, 0) for part in exact],
        rel=0.002,
        abs=2**18,  # NF4's tables, one a matrix
    )
    assert planned.answered_by.endswith("added") or planned.answered_by == "closed form"
