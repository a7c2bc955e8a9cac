"""The tracer: anchors traced apart from this code, depths, architectures without forms, and what it refuses."""

from __future__ import annotations

import pytest

from toolkit.errors import TkError
from toolkit.planning.bases import known_bases, known_shape
from toolkit.planning.configuration import config_fields
from toolkit.planning.gpu import GIB
from toolkit.planning.shape import read_shape
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.trace import Options, trace

pytest.importorskip("torch")
pytest.importorskip("trl")

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LLAMA = "meta-llama/Llama-3.1-8B"
SMALL: dict[str, object] = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
    "max_position_embeddings": 256,
}


def fields_of(base: str) -> dict[str, object]:
    shape = known_shape(base)
    assert shape is not None
    return config_fields(shape)


def settings(**changes: object):  # type: ignore[no-untyped-def]
    step: dict[str, object] = {
        "adapter": "lora",
        "rank": 16,
        "targets": MATRICES,
        "batch": 4,
        "length": 2048,
        "checkpointing": True,
        "dtype": "bfloat16",
    }
    return settings_for(**(step | changes))  # type: ignore[arg-type]


def small(**changes: object):  # type: ignore[no-untyped-def]
    return settings(**({"batch": 2, "length": 64, "rank": 4} | changes))


# GiB for Llama 3.1 8B: a tracer that was written apart from this one, over the same libraries. Adapters in bfloat16
# are TRL's own choice on a 4-bit base.
ANCHORS = [
    (20.06, {}, Options(masked=False)),
    (73.58, {"checkpointing": False}, Options(masked=True)),
    (79.28, {"checkpointing": False, "dropout": 0.05}, Options(masked=False)),
    (29.29, {}, Options(masked=False, loss="logits")),
    (60.91, {"checkpointing": False}, Options(masked=False, adapter_dtype="bfloat16")),
    (9.46, {"adapter": "qlora"}, Options(masked=False, adapter_dtype="bfloat16")),
    (51.26, {"adapter": "qlora", "checkpointing": False}, Options(masked=False, adapter_dtype="bfloat16")),
]


@pytest.mark.parametrize(
    ("gib", "changes", "options"),
    [pytest.param(*anchor, marks=() if place in (1, 5) else pytest.mark.slow) for place, anchor in enumerate(ANCHORS)],
)
def test_a_trace_agrees_with_one_made_apart(gib: float, changes: dict[str, object], options: Options) -> None:
    assert trace(fields_of(LLAMA), settings(**changes), options).peak_bytes / GIB == pytest.approx(gib, abs=0.006)


@pytest.mark.parametrize(("checkpointing", "kind"), [(True, "cuda"), (False, "cpu")])
def test_short_traces_give_what_full_depth_does(checkpointing: bool, kind: str) -> None:
    fields = {"model_type": "llama", **SMALL}
    chosen = small(checkpointing=checkpointing, device_kind=kind, dtype="bfloat16" if kind == "cuda" else "float32")
    short, full = (trace(fields, chosen, Options(full_depth=deep)) for deep in (False, True))
    assert short.answered_by == "traces of 2 and 3 of its 5 layers"
    assert full.answered_by == "a trace of all 5 layers"
    assert short.parts == full.parts
    assert short.moment == full.moment


def test_the_parts_of_a_trace_add_up_and_are_those_of_the_closed_form() -> None:
    found = trace({"model_type": "llama", **SMALL}, small(adapter="qlora", accumulation=2))
    assert sum(found.parts.values()) == found.peak_bytes
    assert {"base_weights", "quantisation_state", "adapter", "gradients", "optimizer", "activations"} <= set(
        found.parts
    )
    assert found.parts["optimizer"] == 2 * found.parts["adapter"]


FOREIGN: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "gemma": (SMALL | {"hidden_activation": "gelu_pytorch_tanh"}, ("q_proj", "v_proj")),
    "olmo2": (SMALL, MATRICES),
    "phi": (SMALL, ("q_proj", "k_proj", "v_proj", "dense")),
    "gpt_neox": (SMALL, ("query_key_value", "dense")),
    "granite": (SMALL, MATRICES),
    "cohere": (SMALL, MATRICES),
    "mixtral": (SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2}, ("q_proj", "v_proj")),
    "gemma3_text": (SMALL | {"sliding_window": 32, "layer_types": None}, ("q_proj", "v_proj")),
}


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=() if name in ("gpt_neox", "mixtral") else pytest.mark.slow) for name in FOREIGN],
)
def test_an_architecture_without_forms_is_traced(model_type: str) -> None:
    fields, targets = FOREIGN[model_type]
    found = trace({"model_type": model_type, **fields}, small(targets=targets))
    assert found.answered_by.startswith(("traces of", "a trace of"))
    assert found.peak_bytes > found.parts["base_weights"] > 4 * 128 * 320


def test_a_mixture_keeps_its_first_layers_at_any_depth() -> None:
    fields = fields_of("deepseek-ai/DeepSeek-V3")
    found = trace(fields, settings(batch=1, targets=("q_a_proj", "q_b_proj", "kv_b_proj", "o_proj")))
    assert found.answered_by == "traces of 4 and 5 of its 61 layers"
    assert found.parts["base_weights"] == pytest.approx(2 * 671_026_404_352, rel=1e-5)


def test_what_transformers_cannot_build_is_refused_with_the_reason() -> None:
    with pytest.raises(TkError, match="transformers cannot read this configuration"):
        trace({"model_type": "no-such-thing"}, small())
    with pytest.raises(TkError, match="transformers cannot read this configuration"):
        trace({"model_type": "llama", **SMALL, "hidden_size": "wide"}, small())
    contradictory = {"model_type": "deepseek_v3", **SMALL, "head_dim": 48}
    with pytest.raises(TkError, match="the step of deepseek_v3 fails"):
        trace(contradictory, small(targets=("q_a_proj",)))
    with pytest.raises(TkError, match="cannot build a causal language model"):
        trace({"model_type": "vit"}, small())
    with pytest.raises(TkError, match="no linear module c_attn"):
        trace({"model_type": "llama", **SMALL}, small(targets=("c_attn",)))


@pytest.mark.parametrize("base", known_bases(), ids=lambda base: base.ids[0])
def test_a_known_shape_written_as_a_configuration_reads_as_itself(base) -> None:  # type: ignore[no-untyped-def]
    assert read_shape(config_fields(base.shape)) == base.shape
