"""The closed form as it lies in the data, against the libraries that are installed.

These fail when an upgrade of torch, transformers, PEFT, TRL or bitsandbytes changes what a step holds:
`python benchmarks/derive_forms.py` derives the data again.
"""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.planning.configuration import config_fields
from toolkit.planning.forms import (
    FAMILIES,
    PRECISIONS,
    Products,
    Way,
    family_of,
    moments_of,
    ways,
)
from toolkit.planning.memory import estimate
from toolkit.planning.shape import read_shape
from toolkit.training.tracing.algebra import Algebra, toy_dimensions
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.derive import forms_of
from toolkit.training.tracing.prune import samples
from toolkit.training.tracing.trace import Options, trace

pytest.importorskip("torch")
pytest.importorskip("trl")

# No two dimensions agree, nor do their usual multiples.
WIDTHS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 1664,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 96,
    "vocab_size": 4000,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
}
ROUTED = {"num_experts": 16, "num_experts_per_tok": 3, "moe_intermediate_size": 352}
LATENT = WIDTHS | {
    "num_key_value_heads": 6,
    "n_routed_experts": 16,
    "num_experts_per_tok": 3,
    "n_shared_experts": 2,
    "moe_intermediate_size": 352,
    "first_k_dense_replace": 2,
    "q_lora_rank": 224,
    "kv_lora_rank": 160,
    "qk_nope_head_dim": 80,
    "qk_rope_head_dim": 32,
    "v_head_dim": 72,
    "n_group": 1,
    "topk_group": 1,
}
LATENT.pop("head_dim")  # which there is the rotary width
MODELS = {
    "llama": {"model_type": "llama", **WIDTHS},
    "llama without groups": {"model_type": "llama", **WIDTHS, "num_key_value_heads": 6},
    "mistral": {"model_type": "mistral", **WIDTHS, "sliding_window": None},
    "qwen2": {"model_type": "qwen2", **WIDTHS, "head_dim": 128},
    "qwen3": {"model_type": "qwen3", **WIDTHS},
    "qwen3_moe": {"model_type": "qwen3_moe", **WIDTHS, **ROUTED},
    "deepseek_v2": {"model_type": "deepseek_v2", **LATENT, "q_lora_rank": None},
    "deepseek_v2, compressed": {"model_type": "deepseek_v2", **LATENT},
    "deepseek_v3": {"model_type": "deepseek_v3", **LATENT},
}
STEPS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": "lora", "checkpointing": False},
    "lora with checkpointing": {"adapter": "lora", "checkpointing": True},
    "qlora": {"adapter": "qlora", "checkpointing": False},
    "qlora with checkpointing": {"adapter": "qlora", "checkpointing": True},
    "one row": {"adapter": "lora", "checkpointing": True, "batch": 1},
    "whole logits": {"adapter": "lora", "checkpointing": True, "loss": "logits"},
    "dropout": {"adapter": "qlora", "checkpointing": True, "dropout": 0.1},
    "accumulation": {"adapter": "lora", "checkpointing": True, "accumulation": 4},
    "on a CPU": {"adapter": "lora", "checkpointing": False, "device_kind": "cpu", "dtype": "float32"},
    "on a CPU with checkpointing": {
        "adapter": "qlora",
        "checkpointing": True,
        "device_kind": "cpu",
        "dtype": "float32",
    },
}


# Every model and nearly every way to run at least once; the rest of the table is slow.
DEFAULT = [(model, list(STEPS)[place % len(STEPS)]) for place, model in enumerate(MODELS)]
ALL = [
    pytest.param(model, step, marks=() if (model, step) in DEFAULT else pytest.mark.slow)
    for model in MODELS
    for step in STEPS
]


@pytest.mark.parametrize(("model", "step"), ALL)
def test_the_closed_form_is_what_a_trace_finds(model: str, step: str) -> None:
    shape = read_shape(MODELS[model])
    chosen: dict[str, Any] = {"rank": 8, "targets": shape.linear_targets(), "batch": 3, "length": 320}
    chosen |= {"dtype": "bfloat16", "device_kind": "cuda", **STEPS[step]}
    masked = chosen["batch"] > 1
    loss = chosen.get("loss", "chunked")
    traced = trace(MODELS[model], settings_for(**chosen), Options(loss=loss, masked=masked, block=1))
    form = estimate(shape, masked=masked, **chosen)
    assert form.peak_bytes == pytest.approx(traced.peak_bytes, rel=0.002)
    assert form.moment == traced.moment


SAMPLE = [way for place, way in enumerate(ways()) if place % 97 == 5]


@pytest.mark.slow
@pytest.mark.parametrize("way", SAMPLE, ids=lambda way: f"{way.key}, {way.loss}")
def test_deriving_again_gives_what_lies_in_the_data(way: Way) -> None:
    again, stored = forms_of(way), moments_of(way)
    for values, last, first in samples(way.family)[:200]:
        products = Products(values)
        now, then = (
            max(sum(form.bytes_by_part(products, last, first).values()) for form in forms) for forms in (again, stored)
        )
        assert then == pytest.approx(now, rel=2e-4)


def test_every_way_has_forms() -> None:
    for way in ways():
        assert moments_of(way), way


def test_every_family_and_precision_has_ways() -> None:
    assert {(way.family, way.precision) for way in ways()} == {(f, p) for f in FAMILIES for p in PRECISIONS}


@pytest.mark.parametrize("model", MODELS)
def test_every_supported_model_has_a_family(model: str) -> None:
    assert family_of(read_shape(MODELS[model])) in FAMILIES


def test_a_number_of_bytes_has_one_reading() -> None:
    values = toy_dimensions()
    algebra = Algebra(values, {})
    assert algebra.read(6 * values["B"] * values["S"] * values["H"]) == (6.0, ("B", "H", "S"))
    assert algebra.read(values["B"] * values["S"] * values["D"] * values["K"] * 2) == (2.0, ("B", "D", "K", "S"))
    assert algebra.read(4 * values["B"] * values["S1"]) == (4.0, ("B", "S1"))
    with pytest.raises(Exception, match="no product of the toy's dimensions"):
        algebra.read(9941)


def test_the_configuration_of_a_shape_is_traced_as_the_original_is() -> None:
    chosen = settings_for(
        adapter="lora", rank=8, targets=("q_proj",), batch=1, length=64, checkpointing=True, dtype="bfloat16"
    )
    assert trace(config_fields(read_shape(MODELS["llama"])), chosen) == trace(MODELS["llama"], chosen)
