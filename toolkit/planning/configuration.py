"""A shape as the fields of a `config.json`: what `toolkit.planning.shape` reads, written back.

For bases known by their shape alone; fields that decide no size are left to the defaults of transformers' classes.
"""

from __future__ import annotations

from toolkit.planning.architecture import Shape


def config_fields(shape: Shape) -> dict[str, object]:
    """Fields from which `read_shape` reads the same shape, and from which transformers builds the model."""
    fields: dict[str, object] = {
        "model_type": shape.model_type,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        "tie_word_embeddings": shape.tied,
    }
    if shape.latent is None:
        fields["head_dim"] = shape.head_dim
    if shape.model_type != "qwen2":
        fields["attention_bias"] = shape.attention_bias
    if shape.model_type in ("llama", "deepseek_v2"):
        fields["mlp_bias"] = shape.mlp_bias
    if shape.model_type == "mistral":
        fields["sliding_window"] = shape.sliding_window
    elif shape.sliding_window is not None:
        fields |= {"use_sliding_window": True, "sliding_window": shape.sliding_window}
    return fields | _experts(shape) | _latent(shape)


def _experts(shape: Shape) -> dict[str, object]:
    experts = shape.experts
    if experts is None:
        return {}
    fields: dict[str, object] = {
        "num_experts_per_tok": experts.per_token,
        "moe_intermediate_size": experts.intermediate,
    }
    if shape.model_type == "qwen3_moe":
        return fields | {"num_experts": experts.count, "mlp_only_layers": list(range(experts.dense_layers))}
    fields |= {
        "n_routed_experts": experts.count,
        "n_shared_experts": experts.shared,
        "first_k_dense_replace": experts.dense_layers,
    }
    if shape.model_type == "deepseek_v3" and experts.count % 8:
        fields |= {"n_group": 1, "topk_group": 1}  # the class's own eight groups would not divide the experts
    return fields


def _latent(shape: Shape) -> dict[str, object]:
    latent = shape.latent
    if latent is None:
        return {}
    return {
        "q_lora_rank": latent.q_rank,
        "kv_lora_rank": latent.kv_rank,
        "qk_nope_head_dim": latent.qk_nope,
        "qk_rope_head_dim": latent.qk_rope,
        "v_head_dim": latent.v,
    }
