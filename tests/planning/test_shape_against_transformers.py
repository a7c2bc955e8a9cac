"""Counted parameters equal those of the model classes, instantiated without memory on the meta device."""

from __future__ import annotations

import pytest

from toolkit.planning.shape import SUPPORTED, read_shape

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
ROUTED = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {
    "num_key_value_heads": 6,
    "n_routed_experts": 5,
    "num_experts_per_tok": 2,
    "n_shared_experts": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 20,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
}
CONFIGS = {
    "llama": ("llama", {}),
    "llama with every bias": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama with tied embeddings": ("llama", {"tie_word_embeddings": True}),
    "mistral with wide heads": ("mistral", {"head_dim": 16}),
    "qwen2": ("qwen2", {}),
    "qwen2 with tied embeddings": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3 with the class's head_dim": ("qwen3", {}),
    "qwen3 with biases": ("qwen3", {"head_dim": 16, "attention_bias": True}),
    "qwen3_moe": ("qwen3_moe", ROUTED | {"head_dim": 16}),
    "qwen3_moe with dense layers": ("qwen3_moe", ROUTED | {"mlp_only_layers": [1], "decoder_sparse_step": 1}),
    "qwen3_moe with every other layer sparse": ("qwen3_moe", ROUTED | {"decoder_sparse_step": 2}),
    "deepseek_v2": ("deepseek_v2", LATENT),
    "deepseek_v2 with compressed queries": ("deepseek_v2", LATENT | {"q_lora_rank": 28, "attention_bias": True}),
    "deepseek_v3": ("deepseek_v3", LATENT | {"q_lora_rank": 28, "n_group": 1, "topk_group": 1}),
    "deepseek_v3 with plain queries": ("deepseek_v3", LATENT | {"n_group": 1, "topk_group": 1}),
}


def test_every_supported_architecture_is_counted_here() -> None:
    assert {model_type for model_type, _ in CONFIGS.values()} == set(SUPPORTED)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shape_counts_what_transformers_instantiates(name: str) -> None:
    model_type, fields = CONFIGS[name]
    config = SMALL | fields
    with torch.device("meta"):
        settings = transformers.AutoConfig.for_model(model_type, **config)
        model = transformers.AutoModelForCausalLM.from_config(settings)
    model.tie_weights()
    shape = read_shape({"model_type": model_type, **config})

    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    linear = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and path != "lm_head"
    }
    assert shape.linear_parameters == sum(module.weight.numel() for module in linear.values())
    experts = [value.numel() for path, value in model.named_parameters() if value.dim() == 3 and "experts" in path]
    assert shape.fused_expert_parameters == sum(experts)
    for matrix in shape.matrices:
        named = [module for path, module in linear.items() if path.endswith(f".{matrix.name}")]
        assert len(named) == matrix.count, matrix.name
        assert {(module.in_features, module.out_features) for module in named} == {(matrix.fan_in, matrix.fan_out)}
    for matrix in (*shape.expert_matrices, *shape.routers):
        name = f"{matrix.name}.weight" if matrix.name == "mlp.gate" else matrix.name
        held = [value for path, value in model.named_parameters() if path.endswith(f".{name}")]
        assert sum(value.numel() for value in held) == matrix.weights, matrix.name
        assert {value.shape[-2:] for value in held} <= {(matrix.fan_out, matrix.fan_in)}
    assert shape.linear_targets() == tuple(dict.fromkeys(matrix.name for matrix in shape.matrices))


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_the_default_targets_are_all_linear_matrices_of_a_dense_model(name: str) -> None:
    model_type, fields = CONFIGS[name]
    shape = read_shape({"model_type": model_type, **SMALL, **fields})
    assert shape.linear_targets() == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_configuration_reads_as_the_same_shape(name: str) -> None:
    """transformers rewrites a configuration when it saves one: other names, other order, defaults filled in."""
    model_type, fields = CONFIGS[name]
    config = SMALL | fields
    saved = transformers.AutoConfig.for_model(model_type, **config).to_dict()
    assert read_shape(saved) == read_shape({"model_type": model_type, **config})
