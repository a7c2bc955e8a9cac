"""Reads a base model's shape from its `config.json`, as the hub, transformers 4 and transformers 5 spell it."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.errors import InvalidInput, Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning.architecture import Experts, Latent, Shape

__all__ = ["SUPPORTED", "Experts", "Latent", "Shape", "read_shape"]

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3")
_LATENT = ("deepseek_v2", "deepseek_v3")
_MIXTURES = ("qwen3_moe", *_LATENT)

# One thing under several names: the first is what messages say.
_SPELLINGS = {
    "num_experts": ("num_experts", "n_routed_experts", "num_local_experts"),
    "n_shared_experts": ("n_shared_experts", "num_shared_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "moe_top_k"),
}


def read_shape(config: Mapping[str, object], where: str = "") -> Shape:
    """Read the shape from the mapping of a `config.json`; `where` is the file that messages point to.

    Defaults are those of the transformers 5 configuration classes, and only where real configurations leave a field
    out. Raises InvalidInput with every missing, malformed or contradictory field at once.
    """
    return _Reader(config, where).shape()


class _Reader:
    def __init__(self, config: Mapping[str, object], where: str) -> None:
        self.config = config
        self.where = where
        self.problems: list[Problem] = []
        self.model_type = ""

    def shape(self) -> Shape:
        self._read_model_type()
        hidden = self._count("hidden_size")
        heads = self._count("num_attention_heads")
        layers = self._count("num_hidden_layers")
        kv_heads = self._kv_heads(heads)
        biased = self.model_type == "qwen2" or self._flag("attention_bias")
        shape = Shape(
            model_type=self.model_type,
            hidden=hidden,
            intermediate=self._count("intermediate_size"),
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=self._head_dim(hidden, heads),
            vocab=self._count("vocab_size"),
            tied=self._flag("tie_word_embeddings"),
            attention_bias=biased,
            qk_norm=self.model_type in ("qwen3", "qwen3_moe"),
            max_positions=self._count("max_position_embeddings"),
            sliding_window=self._sliding_window(),
            experts=self._experts(layers) if self.model_type in _MIXTURES else None,
            latent=self._latent() if self.model_type in _LATENT else None,
            output_bias=biased and self.model_type != "qwen2",
            mlp_bias=self.model_type in ("llama", "deepseek_v2") and self._flag("mlp_bias"),
            quantization=self._quantization(),
        )
        if heads and kv_heads and heads % kv_heads:
            self._wrong("num_key_value_heads", f"{kv_heads} does not divide num_attention_heads, {heads}")
        if self.problems:
            raise InvalidInput(self.problems)
        return shape

    def _read_model_type(self) -> None:
        value = self.config.get("model_type")
        supported = ", ".join(SUPPORTED)
        if isinstance(value, str) and value in SUPPORTED:
            self.model_type = value
            return
        # Nothing else can be judged without knowing the architecture.
        if value is None:
            message = f"is missing; supported are {supported}"
        else:
            near = did_you_mean(value, SUPPORTED)
            message = f"{value!r} is not an architecture that tk can size{near}; supported are {supported}"
        self._wrong("model_type", message)
        raise InvalidInput(
            self.problems, hint="name a base of one of these architectures, or trace it: tk plan --exact"
        )

    def _kv_heads(self, heads: int) -> int:
        absent = "num_key_value_heads" not in self.config
        if absent and self.model_type not in ("llama", *_LATENT):
            self._wrong("num_key_value_heads", "is missing")  # the classes' defaults here are other models' numbers
            return 0
        return heads if self.config.get("num_key_value_heads") is None else self._count("num_key_value_heads")

    def _head_dim(self, hidden: int, heads: int) -> int:
        if self.model_type in _LATENT:
            return self._count("qk_rope_head_dim")  # what transformers calls head_dim there
        if self.config.get("head_dim") is not None:
            return self._count("head_dim")
        if self.model_type == "qwen3" and "head_dim" not in self.config:
            return 128  # Qwen3Config's own default, which is not hidden_size / num_attention_heads
        if hidden and heads and hidden % heads:
            self._wrong("hidden_size", f"{hidden} is no multiple of the {heads} heads, and head_dim is not given")
        return hidden // heads if heads else 0

    def _sliding_window(self) -> int | None:
        if self.model_type != "mistral":
            if not self._flag("use_sliding_window"):
                return None
        elif "sliding_window" not in self.config:
            return 4096  # MistralConfig's own default; later models say null
        return None if self.config.get("sliding_window") is None else self._count("sliding_window")

    def _experts(self, layers: int) -> Experts:
        count = self._count("num_experts")
        per_token = self._count("num_experts_per_tok")
        deepseek = self.model_type in _LATENT
        dense = self._count("first_k_dense_replace", least=0) if deepseek else self._plain_layers(layers)
        experts = Experts(
            count=count,
            per_token=per_token,
            shared=self._count("n_shared_experts") if deepseek else 0,
            intermediate=self._count("moe_intermediate_size"),
            dense_layers=dense,
        )
        if count and per_token > count:
            self._wrong("num_experts_per_tok", f"{per_token} is more than the {count} experts there are")
        if layers and dense > layers:
            self._wrong("first_k_dense_replace", f"{dense} is more than the {layers} layers there are")
        return experts

    def _plain_layers(self, layers: int) -> int:
        """Layers of a Qwen3 mixture that have a plain MLP (Qwen3MoeDecoderLayer's rule)."""
        step = self._count("decoder_sparse_step") if self.config.get("decoder_sparse_step") is not None else 1
        plain = self.config.get("mlp_only_layers") or []
        if not isinstance(plain, list):
            self._wrong("mlp_only_layers", f"must be a list of layer numbers, not {plain!r}")
            return 0
        return sum(index in plain or (index + 1) % max(step, 1) != 0 for index in range(layers))

    def _latent(self) -> Latent:
        if "q_lora_rank" not in self.config:
            self._wrong("q_lora_rank", "is missing; null says that queries are not compressed")
        return Latent(
            q_rank=None if self.config.get("q_lora_rank") is None else self._count("q_lora_rank"),
            kv_rank=self._count("kv_lora_rank"),
            qk_nope=self._count("qk_nope_head_dim"),
            qk_rope=self._count("qk_rope_head_dim", again=True),
            v=self._count("v_head_dim"),
        )

    def _quantization(self) -> str | None:
        stored = self.config.get("quantization_config")
        if stored is None:
            return None
        method = stored.get("quant_method") if isinstance(stored, Mapping) else None
        return str(method) if method else "unknown"

    def _count(self, name: str, *, least: int = 1, again: bool = False) -> int:
        """A whole number under any of its spellings; 0 (and a problem) when it is missing or wrong.

        `again` reads a field whose problems have been reported already.
        """
        spellings = _SPELLINGS.get(name, (name,))
        found = {spelling: self.config[spelling] for spelling in spellings if self.config.get(spelling) is not None}
        if not found:
            if not again:
                others = f" (also spelled {', '.join(spellings[1:])})" if spellings[1:] else ""
                self._wrong(name, f"is missing{others}")
            return 0
        if len(set(map(repr, found.values()))) > 1:
            stated = " and ".join(f"{spelling} {value}" for spelling, value in found.items())
            self._wrong(name, f"contradictory: {stated}")
        spelling, value = next(iter(found.items()))
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            if not again:
                self._wrong(spelling, f"must be a whole number of at least {least}, not {value!r}")
            return 0
        return value

    def _flag(self, name: str) -> bool:
        value = self.config.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self._wrong(name, f"must be true or false, not {value!r}")
            return False
        return value

    def _wrong(self, name: str, message: str) -> None:
        self.problems.append(Problem(f"config.{name}", message, self.where))
