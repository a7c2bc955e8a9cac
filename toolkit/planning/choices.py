"""The choices of a plan that memory does not decide, each with its reason, and the checks of a recipe's overrides.

Those about the adapter stand in `adapter_choices` and `adapter_problems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from toolkit.errors import Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning.adapter_choices import adapter_choices, adapter_types, can_quantise
from toolkit.planning.adapter_problems import adapter_problems
from toolkit.planning.choice import ASKED, Choice
from toolkit.planning.gpu import Device, gib
from toolkit.planning.memory import ELEMENT_BYTES, OPTIMIZER_BYTES
from toolkit.planning.method_steps import step_of
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import TrainSettings
from toolkit.planning.shape import Shape

__all__ = ["ASKED", "Choice", "adapter_types", "can_quantise", "fixed_choices", "loss_choice", "override_problems"]

_DEFAULT_LENGTH = TrainSettings().max_length


def fixed_choices(recipe: Recipe, shape: Shape, device: Device) -> dict[str, Choice]:
    """Every choice that does not depend on what fits. The recipe must have passed `override_problems`."""
    return {
        **adapter_choices(recipe, shape),
        "dtype": _dtype(recipe, device),
        "max_length": _max_length(recipe, shape),
        "attention": _attention(recipe, shape, device),
        "optimizer": _optimizer(recipe, device),
    }


def override_problems(recipe: Recipe, shape: Shape, device: Device, gpus: int = 1) -> Iterator[Problem]:
    """What a recipe asks for that this base or `gpus` of this device cannot do."""
    where = recipe.path
    train = recipe.train
    if shape.quantization not in (None, "bitsandbytes"):
        text = f"its weights are stored as {shape.quantization}, and adapters train on 16-bit weights; name such a base"
        yield Problem("recipe.base", text, where)
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
    yield from adapter_problems(recipe, shape, device, gpus)


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
    if gpus > 1 and not step_of(recipe).shares:
        text = f"{recipe.method} trains on one GPU; leave --gpus out, or name a GPU that holds it alone"
        yield Problem("recipe.method", text, where)
    if gpus > 1 and recipe.data.streaming:
        text = "streamed rows are dealt out to one process alone; set it to false, or leave --gpus out"
        yield Problem("recipe.data.streaming", text, where)
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
    if device.kind in ("cuda", "cpu"):
        return Choice("adamw_torch_fused", f"one kernel and no temporary copy of the adapter; {small}")
    return Choice("adamw_torch", small)


def loss_choice(shape: Shape, tokens: int, device: Device, dtype: str, *, ours: bool = False) -> Choice:
    """The loss is formed in tiles; the reason counts what whole logits would take (12 bytes each at their peak).

    On CUDA and ROCm the tiles are TRL's (1.16, kernels/chunked_logprob.py: up to 4096 tokens by 32768 words in the format
    of the base), elsewhere and where the loss is `ours` those of `toolkit.training.losses` (2^26 logits in float32, and
    `logsumexp` as much again).
    """
    if device.kind in ("cuda", "rocm") and not ours:
        tile = min(tokens, 4096) * min(shape.vocab, 32768) * ELEMENT_BYTES[dtype]
    else:
        tile = 8 * min(tokens * shape.vocab, 2**26)
    whole = gib(12 * tokens * shape.vocab)
    return Choice("chunked", f"whole logits would take {whole}, its tiles take at most {tile / 2**20:,.0f} MiB")
