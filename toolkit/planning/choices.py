"""The choices of a plan that memory does not decide, each with its reason, and the checks of a recipe's overrides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from toolkit.errors import Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning import targets
from toolkit.planning.gpu import Device, billions, gib
from toolkit.planning.memory import OPTIMIZER_BYTES
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import TrainSettings
from toolkit.planning.shape import Shape

ASKED = "as the recipe says"
_LARGE = 30_000_000_000
_DEFAULT_LENGTH = TrainSettings().max_length
_BITSANDBYTES_KINDS = ("cuda", "rocm", "mps", "cpu")  # bitsandbytes 0.50 has no backend for Ascend


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision and its reason."""

    value: str | int | float | bool | tuple[str, ...]
    why: str

    def to_json(self) -> dict[str, object]:
        return {"value": list(self.value) if isinstance(self.value, tuple) else self.value, "why": self.why}


def fixed_choices(recipe: Recipe, shape: Shape, device: Device) -> dict[str, Choice]:
    """Every choice that does not depend on what fits. The recipe must have passed `override_problems`."""
    rank = recipe.adapter.rank
    return {
        "dtype": _dtype(recipe, device),
        "target_modules": _targets(recipe, shape),
        "rank": Choice(rank, f"{ASKED}; 16 where it says nothing"),
        "alpha": _alpha(recipe),
        "learning_rate": _learning_rate(recipe, shape),
        "max_length": _max_length(recipe, shape),
        "attention": _attention(recipe, shape, device),
        "optimizer": _optimizer(recipe, device),
    }


def adapter_types(recipe: Recipe, shape: Shape, device: Device) -> tuple[str, ...]:
    """The adapters to try, the preferred one first."""
    if recipe.adapter.type != "auto":
        return (recipe.adapter.type,)
    if shape.quantization == "bitsandbytes":
        return ("qlora",)
    return ("lora", "qlora") if can_quantise(device) else ("lora",)


def can_quantise(device: Device) -> bool:
    """Whether bitsandbytes runs on such a device."""
    return device.kind in _BITSANDBYTES_KINDS


def override_problems(recipe: Recipe, shape: Shape, device: Device, gpus: int = 1) -> Iterator[Problem]:
    """What a recipe asks for that this base or `gpus` of this device cannot do."""
    where = recipe.path
    train, adapter = recipe.train, recipe.adapter
    if shape.quantization not in (None, "bitsandbytes"):
        text = f"its weights are stored as {shape.quantization}, and adapters train on 16-bit weights; name such a base"
        yield Problem("recipe.base", text, where)
    if adapter.type == "lora" and shape.quantization == "bitsandbytes":
        text = "the base is stored in 4 or 8 bits; lora needs the 16-bit base it came from, qlora takes this one"
        yield Problem("recipe.adapter.type", text, where)
    if adapter.type == "qlora" and not can_quantise(device):
        yield Problem("recipe.adapter.type", f"qlora needs bitsandbytes, which does not run on {device.name}", where)
    if train.dtype == "bfloat16" and not device.bf16 and device.kind != "cpu":
        yield Problem("recipe.train.dtype", f"{device.name} has no bfloat16 hardware; use float16", where)
    if train.dtype == "float16" and device.kind == "cpu":
        yield Problem("recipe.train.dtype", "float16 does not train on a CPU; use float32", where)
    if train.optimizer is not None and train.optimizer not in OPTIMIZER_BYTES:
        near = did_you_mean(train.optimizer, OPTIMIZER_BYTES)
        text = f"{train.optimizer!r} is not an optimiser that tk can size{near}; known are {', '.join(OPTIMIZER_BYTES)}"
        yield Problem("recipe.train.optimizer", text, where)
    elif train.optimizer is not None and needs_bitsandbytes(train.optimizer) and not can_quantise(device):
        text = f"{train.optimizer} needs bitsandbytes, which does not run on {device.name}"
        yield Problem("recipe.train.optimizer", text, where)
    if train.max_length > shape.max_positions and train.max_length != _DEFAULT_LENGTH:
        text = f"{train.max_length} tokens are more than the {shape.max_positions} positions of the base"
        yield Problem("recipe.train.max_length", text, where)
    yield from _attention_problems(recipe, device)
    yield from _device_problems(recipe, device, gpus)
    yield from _target_problems(recipe, shape)


def _attention_problems(recipe: Recipe, device: Device) -> Iterator[Problem]:
    where, train = recipe.path, recipe.train
    if train.attention != "flash_attention_2":
        return
    key = "recipe.train.attention"
    if not device.flash_attention:
        yield Problem(key, f"flash_attention_2 does not run on {device.name}; leave it out, or say sdpa", where)
    elif device.visible is not None and find_spec("flash_attn") is None:
        yield Problem(key, "flash_attention_2 needs the package flash-attn, which is not installed; sdpa is", where)
    if train.dtype == "float32":
        yield Problem(key, "flash_attention_2 has no float32; set train.dtype: bfloat16, or say sdpa", where)
    if recipe.method == "pretrain" and train.micro_batch_size != 1:
        text = "flash_attention_2 keeps the documents of a row apart only in micro-batches of 1; set that, or say sdpa"
        yield Problem(key, text, where)
    if train.packing:
        # transformers 5, modeling_flash_attention_utils.py: `_is_packed_sequence` wants a batch of one.
        text = "flash_attention_2 keeps packed rows apart only in batches of one line; leave packing out, or say sdpa"
        yield Problem(key, text, where)


def _device_problems(recipe: Recipe, device: Device, gpus: int) -> Iterator[Problem]:
    """What several devices ask of a recipe, and of one device a recipe that wants several."""
    where, train = recipe.path, recipe.train
    key = "recipe.train.sharding"
    if gpus == 1:
        if train.sharding in ("ddp", "fsdp2"):
            yield Problem(key, f"{train.sharding} is for several GPUs; leave it out, or plan with --gpus N", where)
    elif train.sharding == "none":
        yield Problem(key, f"none runs on one GPU, and {gpus} are asked for; leave it out, or say ddp or fsdp2", where)
    if train.batch_size % gpus:
        lower = train.batch_size - train.batch_size % gpus
        would = f"{lower} or {lower + gpus}" if lower else f"{gpus}"
        text = f"{train.batch_size} examples cannot be shared evenly by {gpus} GPUs; {would} can"
        yield Problem("recipe.train.batch_size", text, where)
    elif train.micro_batch_size is not None and recipe.rows_per_step // gpus % train.micro_batch_size:
        of = f"batch_size, {recipe.rows_per_step}"
        if gpus > 1:
            of = f"the {recipe.rows_per_step // gpus} examples of a GPU (batch_size {recipe.rows_per_step} on {gpus})"
        yield Problem("recipe.train.micro_batch_size", f"{train.micro_batch_size} does not divide {of}", where)
    if train.sharding == "fsdp2" and train.optimizer is not None and needs_bitsandbytes(train.optimizer):
        text = f"{train.optimizer} cannot update sharded parameters (bitsandbytes #1633); use adamw_torch, or say ddp"
        yield Problem("recipe.train.optimizer", text, where)


def _target_problems(recipe: Recipe, shape: Shape) -> Iterator[Problem]:
    asked, where = recipe.adapter.target_modules, recipe.path
    if asked == ():
        yield Problem("recipe.adapter.target_modules", "is empty: nothing would be trained", where)
    found = list(targets.problems(shape, asked or ()))
    yield from (Problem("recipe.adapter.target_modules", text, where) for text in found)
    if asked and not found and recipe.adapter.dropout and any("." in name for name in targets.resolve(shape, asked)):
        text = "must be 0 with adapters outside attention: PEFT has no dropout for parameters of a mixture of experts"
        yield Problem("recipe.adapter.dropout", text, where)


def needs_bitsandbytes(optimizer: str) -> bool:
    """Whether an optimiser is one of bitsandbytes', which does not run everywhere nor on sharded parameters."""
    return "8bit" in optimizer or optimizer.startswith("paged")


def _dtype(recipe: Recipe, device: Device) -> Choice:
    if recipe.train.dtype != "auto":
        slow = recipe.train.dtype == "bfloat16" and device.kind == "cpu" and not device.bf16
        return Choice(recipe.train.dtype, ASKED + ("; slow, this CPU has no native bfloat16" if slow else ""))
    if device.kind == "cpu":
        why = "this CPU has no native bfloat16, which would be several times slower"
        if device.bf16:
            why = "on a CPU a recipe trains the same everywhere; this one could also do bfloat16, if asked"
        return Choice("float32", why)
    if device.bf16:
        return Choice("bfloat16", f"{device.name} computes in bfloat16; adapters stay in float32")
    return Choice("float16", f"{device.name} has no bfloat16 hardware; adapters stay in float32")


def _targets(recipe: Recipe, shape: Shape) -> Choice:
    asked = recipe.adapter.target_modules
    if asked is not None and asked != (targets.EVERY_LINEAR,):
        names = targets.resolve(shape, asked)
        return Choice(names, ASKED if shape.experts is None else f"{ASKED}: {targets.counted(shape, names)}")
    names = shape.linear_targets()
    if shape.experts is None:
        return Choice(names, "every linear matrix of the layers; query and value alone learn less")
    if recipe.adapter.dropout:  # PEFT has none for what it names as a parameter
        names = targets.groups(shape)["attention"]
    rank = recipe.adapter.rank
    routed = shape.adapter_parameters(rank, targets.groups(shape)["experts"])
    times = 1 + routed / shape.adapter_parameters(rank, names)
    why = (
        f"{targets.counted(shape, names)}; the {shape.experts.count} routed experts of a layer would make the adapter "
        f"{times:.0f} times as large (add experts to target_modules to train them), and the router stays as it is"
    )
    return Choice(names, why)


def _alpha(recipe: Recipe) -> Choice:
    if recipe.adapter.alpha is not None:
        return Choice(recipe.adapter.alpha, ASKED)
    return Choice(2 * recipe.adapter.rank, "twice the rank")


def _learning_rate(recipe: Recipe, shape: Shape) -> Choice:
    if recipe.train.learning_rate is not None:
        return Choice(recipe.train.learning_rate, ASKED)
    if shape.parameters >= _LARGE:
        return Choice(1e-4, f"usual for LoRA from 30 B parameters on; this base has {billions(shape.parameters)}")
    return Choice(2e-4, "usual for LoRA below 30 B parameters; ten times what full fine-tuning takes")


def _max_length(recipe: Recipe, shape: Shape) -> Choice:
    asked = recipe.train.max_length
    if asked > shape.max_positions:  # only the default gets here
        return Choice(shape.max_positions, f"the base has {shape.max_positions} positions")
    if asked == _DEFAULT_LENGTH:
        return Choice(asked, f"the default; the base has {shape.max_positions} positions")
    return Choice(asked, ASKED)


def _attention(recipe: Recipe, shape: Shape, device: Device) -> Choice:
    if recipe.train.attention != "auto":
        return Choice(recipe.train.attention, ASKED)
    part = "part of torch, no other kernel has to be installed"
    if device.kind == "cpu" and shape.latent is not None:
        return Choice("sdpa", f"{part}; on a CPU latent attention is written out as matrix products")
    if device.flash_attention:
        return Choice("sdpa", f"{part}; its flash kernel where rows need no mask, else the memory-efficient one")
    if device.kind == "cuda":
        return Choice("sdpa", f"{part}; its memory-efficient kernel, as {device.name} is older than the flash kernel")
    return Choice("sdpa", part)


def _optimizer(recipe: Recipe, device: Device) -> Choice:
    if recipe.train.optimizer is not None:
        return Choice(recipe.train.optimizer, ASKED)
    small = "states of an adapter are small, so nothing is gained by 8 bits"
    if device.kind == "cuda":
        return Choice("adamw_torch_fused", f"one kernel and no temporary copy of the adapter; {small}")
    return Choice("adamw_torch", small)


def loss_choice(shape: Shape, tokens: int) -> Choice:
    """The loss is formed in tiles; the reason counts what whole logits would take (12 bytes each at their peak)."""
    return Choice(
        "chunked", f"whole logits would take {gib(12 * tokens * shape.vocab)}, its tiles take at most 512 MiB"
    )
