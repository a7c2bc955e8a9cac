"""Which families of bases have a GGUF, under which architecture of llama.cpp, and what each writes of itself.

Each is held to llama.cpp by a test: greedy answers equal those of transformers, token by token. A family that was not
compared in that way is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.schema import did_you_mean


@dataclass(frozen=True, slots=True)
class Family:
    """`arch` is llama.cpp's name. `permuted`: its rotary embedding turns neighbouring rows of query and key, where
    transformers turns the two halves of a head. `latent`: attention through compressed keys and values (DeepSeek)."""

    arch: str
    permuted: bool = False
    latent: bool = False


FAMILIES = {
    "deepseek_v2": Family("deepseek2", latent=True),
    "deepseek_v3": Family("deepseek2", latent=True),
    "llama": Family("llama", permuted=True),
    "mistral": Family("llama", permuted=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3"),
    "qwen3_moe": Family("qwen3moe"),
}
_LITE_LAYERS = (26, 27)  # llama.cpp, deepseek2: DeepSeek-V2-Lite and its kin
_SCALINGS = ("default", "linear", "llama3", "yarn")


def require_family(base: Path) -> None:
    """Raise TkError, before anything is loaded, unless a base with this configuration can be written as GGUF."""
    if find_spec("gguf") is None:
        raise TkError("writing GGUF needs the package gguf", hint="pip install 'tk-toolkit[gguf]'")
    config = read_config(base)
    if lacking := _lacking(config):
        raise TkError(
            f"no GGUF is written for {config.get('model_type')}{lacking}",
            where=str(base / "config.json"),
            hint="export the merged weights (--merge) and use llama.cpp's own converter",
        )


def _lacking(config: Mapping[str, Any]) -> str | None:
    """What a configuration has that llama.cpp computes otherwise, as the end of a sentence; None when nothing is."""
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        return f"{did_you_mean(kind, FAMILIES)}; it was compared with llama.cpp for {known}"
    scaling = rope(config).get("rope_type", "default")
    if scaling not in _SCALINGS or (FAMILIES[kind].latent and scaling not in ("default", "yarn")):
        return f" with rotary embeddings scaled as {scaling}"
    if config.get("rope_interleave") is False:
        return " whose rotary embedding is not interleaved"
    if kind == "qwen3_moe":
        odd = (
            not config.get("norm_topk_prob")
            or config.get("mlp_only_layers")
            or config.get("decoder_sparse_step", 1) != 1
        )
        return " with dense layers between, or experts whose weights do not add up to one" if odd else None
    if not FAMILIES[kind].latent:
        return None
    if not config.get("q_lora_rank") and config["num_hidden_layers"] not in _LITE_LAYERS:
        return " with uncompressed queries; llama.cpp knows those by 26 or 27 layers alone"
    if (
        kind == "deepseek_v2"
        and config.get("topk_method") == "group_limited_greedy"
        and (config.get("n_group") or 1) > 1
    ):
        return " that chooses experts by groups, which llama.cpp does as DeepSeek-V3 does"
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """The model's configuration."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the rotary embedding, as transformers 5 or as earlier versions wrote them."""
    settings = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "type" in settings:
        settings.setdefault("rope_type", settings.pop("type"))
    if "rope_theta" in config:
        settings.setdefault("rope_theta", config["rope_theta"])
    return settings


def add_architecture(writer: Any, config: Mapping[str, Any]) -> None:
    """Write the numbers of the architecture, in llama.cpp's keys."""
    family = FAMILIES[str(config["model_type"])]
    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(min(filter(None, (config["max_position_embeddings"], _window(config)))))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(float(rope(config).get("rope_theta", 10000.0)))
    if family.latent:
        _add_latent(writer, config)
    else:
        writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(head)
    _add_scaling(writer, config)
    _add_experts(writer, config)


def _window(config: Mapping[str, Any]) -> int | None:
    """Attention over a window: these architectures of llama.cpp attend to everything, which is the same within it."""
    return config.get("sliding_window") if config.get("use_sliding_window", True) else None


def _add_latent(writer: Any, config: Mapping[str, Any]) -> None:
    """Multi-head latent attention, computed by llama.cpp as if all heads shared one compressed key and value."""
    compressed, turned = config["kv_lora_rank"], config["qk_rope_head_dim"]
    writer.add_head_count_kv(1)
    writer.add_kv_lora_rank(compressed)
    if config.get("q_lora_rank"):
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_key_length(compressed + turned)
    writer.add_value_length(compressed)
    writer.add_key_length_mla(config["qk_nope_head_dim"] + turned)
    writer.add_value_length_mla(config["v_head_dim"])
    writer.add_rope_dimension_count(turned)


def _add_scaling(writer: Any, config: Mapping[str, Any]) -> None:
    """Longer contexts than were trained; llama3's way is a tensor (see `rope_factors`)."""
    from gguf import RopeScalingType

    settings = rope(config)
    kind = settings.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType.LINEAR if kind == "linear" else RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(settings["factor"]))
    if kind == "yarn" and settings.get("mscale_all_dim"):
        writer.add_rope_scaling_yarn_log_mul(0.1 * float(settings["mscale_all_dim"]))
    if kind == "yarn":
        length = settings.get("original_max_position_embeddings") or config["max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(int(length))


def _add_experts(writer: Any, config: Mapping[str, Any]) -> None:
    from gguf import ExpertGatingFuncType

    family = FAMILIES[str(config["model_type"])]
    if config["model_type"] == "qwen3_moe":
        writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if family.latent:
        is_third = config["model_type"] == "deepseek_v3"
        writer.add_leading_dense_block_count(config["first_k_dense_replace"])
        writer.add_expert_count(config["n_routed_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        writer.add_expert_weights_scale(float(config["routed_scaling_factor"]))
        writer.add_expert_weights_norm(bool(config["norm_topk_prob"]))
        writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID if is_third else ExpertGatingFuncType.SOFTMAX)
        writer.add_expert_group_count((config.get("n_group") or 1) if is_third else 1)
        writer.add_expert_group_used_count((config.get("topk_group") or 1) if is_third else 1)


def rope_factors(config: Mapping[str, Any]) -> list[float] | None:
    """What each frequency of a Llama 3 base is divided by (tensor `rope_freqs`); None for other ways of scaling.

    Low frequencies by the factor, high ones not at all, those between by steps (Llama 3.1's own rule).
    """
    import math

    settings = rope(config)
    if settings.get("rope_type") != "llama3":
        return None
    head = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    factor, low, high = (float(settings[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    length = float(settings["original_max_position_embeddings"])
    factors = []
    for index in range(0, head, 2):
        wave = 2 * math.pi * float(settings["rope_theta"]) ** (index / head)
        smooth = min(max((length / wave - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
