"""Adapters on a base: the modules of the plan and no others, of the kind asked for, in float32 whatever lies beneath."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.files.atomic import staged_folder, write_json
from toolkit.training.expert_adapters import use_these_layers
from toolkit.training.experts import use_these_experts
from toolkit.training.initialisation import begin, peft_init, saved_beginning
from toolkit.training.new_tokens import resize, rows_wanted, trained_rows

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.training.encoding import Encoded
    from toolkit.training.settings import Settings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def add_adapter(
    model: PreTrainedModel,
    settings: Settings,
    tokenizer: PreTrainedTokenizerBase | None = None,
    rows: Encoded | None = None,
) -> PeftModel:
    """Wrap `model` with an adapter of the kind that `settings` say, initialised from the seed.

    `tokenizer` is needed for new tokens, which it and the model have already; the training `rows` for EVA. A target is the end of the path of a linear module; with a dot in it, it may also be of a fused parameter of a
    mixture of experts (`experts.down_proj`) or of its router (`mlp.gate`). Raises TkError when a target names nothing
    of the base, or when PEFT would put it on the routed experts instead of the module that bears the name.
    """
    import torch
    from peft import EvaConfig, LoraConfig, get_peft_model

    _check_targets(model, settings.targets)
    torch.manual_seed(settings.seed)
    parameters = _parameters(settings.targets)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=[target for target in settings.targets if "." not in target],
        target_parameters=list(parameters) or None,
        bias="none",
        task_type="CAUSAL_LM",
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        init_lora_weights=peft_init(settings),
        trainable_token_indices=trained_rows(model, tokenizer, settings.new_tokens),
        **({"eva_config": EvaConfig()} if settings.init == "eva" else {}),
    )
    _prepare(model, config)
    adapted = get_peft_model(model, config)
    if moved := set(getattr(config, "target_parameters", None) or ()) - set(parameters):
        # PEFT reads the pre-fusion names gate_proj, up_proj, down_proj of a mixture of experts as its routed experts.
        raise TkError(
            f"PEFT puts these targets on the routed experts of {model.config.model_type} ({', '.join(sorted(moved))})",
            where="adapter.target_modules",
            hint="write mlp.up_proj, shared_experts.up_proj or experts for what is meant",
        )
    begin(adapted, settings, rows)
    to_float32(adapted)
    if settings.dora and settings.bits is not None and settings.dtype != "float32":
        _hand_on_in_16_bits(adapted, settings.dtype)
    return adapted


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """`model`, quantised or not, with the adapter that `save_adapter` wrote to `folder` and room for its new tokens."""
    from peft import LoraConfig, PeftModel

    config = LoraConfig.from_pretrained(str(folder))
    resize(model, rows_wanted(config))
    _prepare(model, config)
    return PeftModel.from_pretrained(model, str(folder), config=config)


def _prepare(model: PreTrainedModel, config: LoraConfig) -> None:
    """Make PEFT and the model ready for adapters on parameters."""
    use_these_layers(config)
    if any(name.startswith("experts.") for name in config.target_parameters or ()):
        use_these_experts(model)


def _hand_on_in_16_bits(model: PeftModel, dtype: str) -> None:
    """Let DoRA layers on a quantised base hand on the format that they were given.

    PEFT (0.21.2, tuners/lora/bnb.py) leaves that to CUDA's autocast, but DoRA's magnitudes are in float32 and so is what
    they multiply: everything after them would be twice as large.
    """
    import torch

    wanted = getattr(torch, dtype)
    for module in model.modules():
        if getattr(module, "lora_magnitude_vector", None):
            module.register_forward_hook(lambda layer, given, result: result.to(wanted))


def to_float32(model: PeftModel) -> None:
    """Hold the adapter in float32: in bf16 small updates round away, and a resumed run differs from a straight one."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:  # shards do not survive an assignment
            parameter.data = parameter.data.float()


def trainable_parameters(model: PeftModel) -> int:
    """How many parameters training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def adapted_modules(model: PeftModel) -> tuple[str, ...]:
    """Full names of the modules (of fused experts and routers: the parameters) that carry an adapter, sorted."""
    prefix = "base_model.model."
    found = set()
    for name, module in model.named_modules():
        if getattr(module, "lora_A", None):
            parameter = getattr(module, "parameter_name", "")
            found.add(f"{name.replace('.base_layer', '').removeprefix(prefix)}.{parameter}".rstrip("."))
    return tuple(sorted(found))


def counts(names: Iterable[str]) -> dict[str, int]:
    """How many layers have an adapter on each kind of matrix; `names` as `adapted_modules` gives them."""
    return dict(Counter(name.partition(".layers.")[2].partition(".")[2] for name in names))


def load_weights(model: PeftModel, folder: Path) -> None:
    """Give the adapter of `model` the weights that a checkpoint in `folder` has."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / WEIGHTS))


def save_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    base_id: str,
    revision: str | None,
    whole: dict[str, Tensor] | None = None,
) -> None:
    """Write the adapter, its configuration and the tokenizer to `folder`, all or nothing. `whole` are its tensors by
    their names in `model` where that holds only shards of them.

    What is written fits the original base, also where the adapter began as a part of it (`saved_beginning`). The
    configuration names the base by its id, not by a path on this machine; PEFT's own model card is left out, because the
    card of a release is made from the run record.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base_id, revision
    with staged_folder(folder) as staging, saved_beginning(model) as beginning:
        # With "auto", PEFT would ask the hub for the base's configuration to compare vocabularies.
        model.save_pretrained(
            str(staging),
            save_embedding_layers=False,
            state_dict=whole,
            path_initial_model_for_weight_conversion=beginning,
        )
        tokenizer.save_pretrained(str(staging))
        (staging / "README.md").unlink(missing_ok=True)
        written = json.loads((staging / CONFIG).read_text(encoding="utf-8"))
        for name in ("target_modules", "target_parameters"):  # sets: their order differs from run to run
            written[name] = sorted(written[name]) if written.get(name) else written.get(name)
        write_json(staging / CONFIG, written)
        (staging / WEIGHTS).chmod((staging / CONFIG).stat().st_mode)  # safetensors makes it readable by the owner alone


def saved_ranks(folder: Path) -> tuple[int, ...]:
    """The ranks that occur in an adapter that `save_adapter` wrote, ascending."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    moved = config.get("rank_pattern") or {}
    return tuple(sorted({*moved.values(), config["r"]} if moved else {config["r"]}))


def _parameters(targets: Iterable[str]) -> tuple[str, ...]:
    """What PEFT's `target_parameters` must say for the targets that it would not find by a module's name."""
    return tuple(target if target.startswith("experts.") else f"{target}.weight" for target in targets if "." in target)


def _check_targets(model: PreTrainedModel, targets: tuple[str, ...]) -> None:
    import torch

    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    parameters = [name for name, _ in model.named_parameters()]
    missing = [target for target in targets if "." not in target and not _ends(linear, target)]
    missing += [name for name in _parameters(targets) if not _ends(parameters, name)]
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


def _ends(names: Iterable[str], target: str) -> bool:
    return any(name == target or name.endswith(f".{target}") for name in names)
