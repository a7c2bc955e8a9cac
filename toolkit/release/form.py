"""In which form a fine-tune is handed over: the adapter alone, or the weights of the base with the adapter in them."""

from __future__ import annotations

from dataclasses import dataclass

FORMS = ("merged", "gguf")
QUANTIZATIONS = ("f32", "bf16", "f16", "q8_0", "q4_0")  # of GGUF files


@dataclass(frozen=True, slots=True)
class Form:
    """`kind` is adapter, merged or gguf. Of weights: how they were merged (`base`: into the base's own weights,
    `dequantised`: into the quantised base, dequantised), their format, how they were quantised afterwards, and the mean
    KL divergence (nats a token) of the trained model from them. `paper_sha256` is that of export.json, canonical."""

    kind: str = "adapter"
    merge: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kl: float | None = None
    paper_sha256: str | None = None

    @property
    def has_weights(self) -> bool:
        """Whether the base's weights are handed on with it."""
        return self.kind != "adapter"

    @property
    def noun(self) -> str:
        """What to call it in a sentence: `this adapter`, `this model`."""
        return "model" if self.has_weights else "adapter"

    @property
    def relation(self) -> str:
        """How the hub calls its relation to its base."""
        return "finetune" if self.has_weights else "adapter"

    @property
    def library(self) -> str:
        """The library that loads it, as the hub names it."""
        return {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}[self.kind]

    @property
    def suffix(self) -> str:
        """How its files of weights end."""
        return ".gguf" if self.kind == "gguf" else ".safetensors"

    @property
    def config(self) -> str | None:
        """The configuration that must lie beside the weights; a GGUF file has it inside."""
        return {"adapter": "adapter_config.json", "merged": "config.json"}.get(self.kind)

    def named(self, adapter_type: str, base: str) -> str:
        """What it is, in a phrase: `A LoRA adapter for X`."""
        if not self.has_weights:
            return f"A {adapter_type} adapter for {base}"
        return f"{base} with a {adapter_type} adapter merged into its weights" + (
            f", as GGUF ({self.quantization})" if self.kind == "gguf" else ""
        )

    def made(self, adapter_type: str, base: str) -> str:
        """What was changed, as NOTICE says it, without the date."""
        if not self.has_weights:
            return f"this is an adapter ({adapter_type}) made by fine-tuning {base}"
        changed = f"this is {base} changed by fine-tuning: an adapter ({adapter_type}) was merged into its weights"
        if self.merge == "dequantised":
            changed += ", which had been quantised for training and were dequantised for that"
        return changed + (f"; they were then written as GGUF ({self.quantization})" if self.kind == "gguf" else "")


ADAPTER = Form()
