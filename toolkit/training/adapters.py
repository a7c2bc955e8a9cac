"""LoRA on a base: the modules of the plan and no others, in float32 also over a 4-bit base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.files.atomic import staged_folder, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.training.settings import Settings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def add_adapter(model: PreTrainedModel, settings: Settings) -> PeftModel:
    """Wrap `model` with a LoRA adapter, initialised from the seed.

    Raises TkError when a target names no linear module of the base, or when PEFT would put it on the experts or the
    router of a mixture-of-experts base instead of the module that bears the name.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    _check_targets(model, settings.targets)
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    if moved := getattr(config, "target_parameters", None):
        # PEFT reads the pre-fusion names gate_proj, up_proj, down_proj of a mixture of experts as its routed experts.
        raise TkError(
            f"PEFT puts these targets on the routed experts of {model.config.model_type} ({', '.join(sorted(moved))})",
            where="adapter.target_modules",
            hint="leave gate_proj, up_proj and down_proj out; the attention matrices can be adapted",
        )
    to_float32(adapted)
    return adapted


def to_float32(model: PeftModel) -> None:
    """Hold the adapter in float32: in bf16 small updates round away, and a resumed run differs from a straight one."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def trainable_parameters(model: PeftModel) -> int:
    """How many parameters training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def adapted_modules(model: PeftModel) -> tuple[str, ...]:
    """Full names of the modules that carry an adapter, in the base's own naming, sorted."""
    prefix, marker = "base_model.model.", ".lora_A."
    return tuple(
        sorted({name.split(marker)[0].removeprefix(prefix) for name, _ in model.named_parameters() if marker in name})
    )


def save_adapter(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path, base_id: str, revision: str | None
) -> None:
    """Write the adapter, its configuration and the tokenizer to `folder`, all or nothing.

    The configuration names the base by its id, not by a path on this machine; PEFT's own model card is left out,
    because the card of a release is made from the run record.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base_id, revision
    with staged_folder(folder) as staging:
        # With "auto", PEFT would ask the hub for the base's configuration to compare vocabularies.
        model.save_pretrained(str(staging), save_embedding_layers=False)
        tokenizer.save_pretrained(str(staging))
        (staging / "README.md").unlink(missing_ok=True)
        written = json.loads((staging / CONFIG).read_text(encoding="utf-8"))
        written["target_modules"] = sorted(written["target_modules"])  # a set: its order differs from run to run
        write_json(staging / CONFIG, written)
        (staging / WEIGHTS).chmod((staging / CONFIG).stat().st_mode)  # safetensors makes it readable by the owner alone


def _check_targets(model: PreTrainedModel, targets: tuple[str, ...]) -> None:
    import torch

    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    missing = [
        target for target in targets if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if missing or not targets:
        known = sorted({name.rsplit(".", 1)[-1] for name in linear if name.rsplit(".", 1)[-1] != "lm_head"})
        named = ", ".join(missing) or "no target at all"
        raise TkError(
            f"the base has no linear module {named}", where="adapter.target_modules", hint=f"it has {', '.join(known)}"
        )
    if any(target.rsplit(".", 1)[-1] in ("lm_head", "embed_tokens") for target in targets):
        raise TkError(
            "an adapter on lm_head is ignored by the trainer", where="adapter.target_modules", hint="leave it out"
        )
