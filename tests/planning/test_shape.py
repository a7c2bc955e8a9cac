"""Shapes are read from configurations as the hub and transformers spell them, and count to the parameter."""

from __future__ import annotations

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning.shape import read_shape

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}
MIXTURE = LLAMA | {"model_type": "qwen3_moe", "moe_intermediate_size": 768, "num_experts_per_tok": 8, "head_dim": 128}
LATENT = LLAMA | {
    "model_type": "deepseek_v2",
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}


def problems_of(config: dict[str, object]) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        read_shape(config, "base/config.json")
    return [str(problem) for problem in raised.value.problems]


def without(config: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in config.items() if name not in names}


def test_llama_3_1_8b_counts_to_the_parameter() -> None:
    shape = read_shape(LLAMA)
    assert (shape.parameters, shape.linear_parameters) == (8_030_261_248, 6_979_321_856)


def test_an_adapter_counts_rank_times_in_plus_out_of_every_target() -> None:
    shape = read_shape(LLAMA)
    assert shape.adapter_parameters(16, ["q_proj", "v_proj"]) == 32 * 16 * (4096 + 4096 + 4096 + 1024)
    assert shape.adapter_parameters(16, shape.linear_targets()) == 41_943_040


@pytest.mark.parametrize("spelling", ["num_experts", "n_routed_experts", "num_local_experts"])
def test_the_number_of_experts_is_read_under_every_spelling(spelling: str) -> None:
    experts = read_shape(MIXTURE | {spelling: 128}).experts
    assert experts is not None
    assert experts.count == 128


def test_spellings_that_disagree_are_a_contradiction() -> None:
    (problem,) = problems_of(MIXTURE | {"num_experts": 128, "num_local_experts": 64})
    assert "contradictory: num_experts 128 and num_local_experts 64" in problem


def test_a_null_head_dim_means_hidden_size_over_heads() -> None:
    assert read_shape(LLAMA | {"head_dim": None}).head_dim == 128


def test_a_qwen3_without_head_dim_has_heads_of_128_as_its_class_says() -> None:
    assert read_shape(LLAMA | {"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16}).head_dim == 128


def test_a_llama_without_key_value_heads_has_as_many_as_heads() -> None:
    assert read_shape(without(LLAMA, "num_key_value_heads")).kv_heads == 32


def test_a_mistral_without_key_value_heads_is_not_guessed() -> None:
    (problem,) = problems_of(without(LLAMA, "num_key_value_heads") | {"model_type": "mistral"})
    assert problem == "config.num_key_value_heads: is missing (base/config.json)"


def test_fields_that_do_not_change_the_size_are_left_alone() -> None:
    noise = {"torch_dtype": "bfloat16", "rope_scaling": {"rope_type": "llama3"}, "rope_parameters": None, "dtype": None}
    assert read_shape(LLAMA | noise) == read_shape(LLAMA)


def test_a_sliding_window_counts_only_where_it_is_used() -> None:
    assert read_shape(LLAMA | {"model_type": "mistral", "sliding_window": 4096}).sliding_window == 4096
    assert read_shape(LLAMA | {"model_type": "qwen2", "sliding_window": 4096}).sliding_window is None


def test_qwen2_has_biases_on_query_key_and_value_but_not_on_the_output() -> None:
    shape = read_shape(LLAMA | {"model_type": "qwen2"})
    assert shape.parameters - read_shape(LLAMA).parameters == 32 * (4096 + 1024 + 1024)


def test_all_problems_of_a_configuration_are_reported_at_once() -> None:
    config = without(LLAMA, "vocab_size", "intermediate_size") | {"num_key_value_heads": 5, "tie_word_embeddings": "no"}
    found = "\n".join(problems_of(config))
    for name in (
        "vocab_size: is missing",
        "intermediate_size: is missing",
        "5 does not divide",
        "must be true or false",
    ):
        assert name in found


def test_more_active_experts_than_there_are_is_a_contradiction() -> None:
    (problem,) = problems_of(LATENT | {"num_experts_per_tok": 65})
    assert "65 is more than the 64 experts" in problem


def test_a_width_that_heads_do_not_divide_needs_a_head_dim() -> None:
    (problem,) = problems_of(LLAMA | {"hidden_size": 4100, "num_key_value_heads": 32})
    assert "4100 is no multiple of the 32 heads" in problem


@pytest.mark.parametrize("value", [0, -1, "4096", 4096.5, True])
def test_a_size_must_be_a_positive_whole_number(value: object) -> None:
    assert "hidden_size: must be a whole number" in problems_of(LLAMA | {"hidden_size": value})[0]


@pytest.mark.parametrize("value", [None, "gemma3", "qwen2_vl"])
def test_an_unknown_architecture_is_answered_with_the_supported_ones(value: object) -> None:
    (problem,) = problems_of(LLAMA | {"model_type": value})
    assert "supported are llama, mistral, qwen2, qwen3, qwen3_moe, deepseek_v2, deepseek_v3" in problem


def test_a_near_miss_of_an_architecture_gets_a_suggestion() -> None:
    assert "did you mean 'deepseek_v3'?" in problems_of({"model_type": "deepseek-v3"})[0]


def test_query_ranks_of_latent_attention_must_be_stated_even_as_null() -> None:
    (problem,) = problems_of(without(LATENT, "q_lora_rank"))
    assert "q_lora_rank: is missing; null says" in problem


def test_adapters_of_a_mixture_leave_router_and_experts_alone() -> None:
    parts = [f"{holder}.{name}_proj" for holder in ("mlp", "shared_experts") for name in ("gate", "up", "down")]
    assert read_shape(LATENT).linear_targets() == ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", *parts)
    compressed = read_shape(LATENT | {"q_lora_rank": 1536}).linear_targets()
    assert compressed == ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", *parts)
    assert read_shape(MIXTURE | {"num_experts": 8}).linear_targets() == ("q_proj", "k_proj", "v_proj", "o_proj")


def test_weights_stored_quantised_are_noticed() -> None:
    assert read_shape(LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}}).quantization == "gptq"
    assert read_shape(LLAMA).quantization is None
