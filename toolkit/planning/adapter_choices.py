"""The choices that concern the adapter: what lies beneath, how strong it is, how it begins, what is trained with it."""

from __future__ import annotations

from math import sqrt

from toolkit.planning import targets
from toolkit.planning.adapter_kind import AdapterKind, takes_from_the_base, trained_parameters
from toolkit.planning.choice import ASKED, Choice
from toolkit.planning.gpu import Device, billions
from toolkit.planning.recipe import Recipe
from toolkit.planning.shape import Shape

RSLORA_ALPHA = 8  # at rank 16 as strong as LoRA with alpha twice the rank: 8 / sqrt(16) = 32 / 16
PISSA_RATE = 2e-5  # https://arxiv.org/abs/2404.02948, section 5
_LARGE = 30_000_000_000
_BITSANDBYTES_KINDS = {  # bitsandbytes 0.50 has no backend for Ascend, and none for int8 on Apple's GPUs
    "qlora": ("cuda", "rocm", "mps", "cpu"),
    "lora-8bit": ("cuda", "rocm", "cpu"),
}
_BEGINNINGS = {
    "default": "one factor is zero, so that training starts at the base itself",
    "gaussian": "A is drawn with standard deviation 1/rank, B is zero",
    "olora": "the factors are the first of the base's own QR decomposition, taken out of it while it trains; what is "
    "saved is of twice the rank and fits the original base",
    "eva": "A holds the main directions of the activations that the data makes, B is zero; ranks go where they explain "
    "most, at most twice the rank a matrix",
    "loftq": "the factors make up for what 4-bit quantisation lost, as far as a matrix of that rank can",
}
_PISSA = (
    "the factors are the principal part of the base's own matrices, taken out of it while it trains; what is saved is of "
    "twice the rank and fits the original base"
)


def can_quantise(device: Device, adapter: str = "qlora") -> bool:
    """Whether bitsandbytes holds a base for such an adapter on a device."""
    return device.kind in _BITSANDBYTES_KINDS[adapter]


def adapter_types(recipe: Recipe, shape: Shape, device: Device) -> tuple[str, ...]:
    """The adapters to try, the preferred one first. A base in int8 is nobody's first choice: it is had when asked for."""
    if recipe.adapter.type != "auto":
        return (recipe.adapter.type,)
    if shape.quantization == "bitsandbytes" or recipe.adapter.init == "loftq":
        return ("qlora",)
    if takes_from_the_base(recipe.adapter.init):
        return ("lora",)
    return ("lora", "qlora") if can_quantise(device) else ("lora",)


def kind_of(recipe: Recipe) -> AdapterKind:
    """What sizes depend on beside rank and matrices."""
    adapter = recipe.adapter
    return AdapterKind(adapter.dora, len(adapter.new_tokens), adapter.init == "eva")


def adapter_choices(recipe: Recipe, shape: Shape) -> dict[str, Choice]:
    """Every choice about the adapter that does not depend on what fits; of the rarer kinds those that are asked for."""
    adapter = recipe.adapter
    found = {
        "adapter_dtype": Choice("float32", "in 16 bits small updates round away, and a resumed run would differ"),
        "target_modules": _targets(recipe, shape),
        "rank": Choice(adapter.rank, f"{ASKED}; 16 where it says nothing"),
        "alpha": _alpha(recipe),
        "dropout": _dropout(recipe),
        "init": _init(recipe, shape),
        "learning_rate": _learning_rate(recipe, shape),
    }
    if adapter.dora:
        why = (
            f"{ASKED}: a magnitude for each output beside the direction; a step takes longer, as it weighs every matrix"
        )
        found["dora"] = Choice(True, why)
    if adapter.rslora:
        found["rslora"] = Choice(True, f"{ASKED}: updates are scaled by alpha/sqrt(rank) instead of alpha/rank")
    if adapter.lora_plus_ratio is not None:
        why = f"{ASKED}: B learns at {adapter.lora_plus_ratio:g} times the rate of A"
        found["lora_plus_ratio"] = Choice(adapter.lora_plus_ratio, why)
    if adapter.new_tokens:
        rows = "embedding, which is the head too" if shape.tied else "embedding and of the head"
        why = f"{ASKED}: added to the tokenizer; their rows of the {rows}, are trained, every other row stays"
        found["new_tokens"] = Choice(adapter.new_tokens, why.replace("head, are", "head are"))
    return found


def unsharded(recipe: Recipe) -> tuple[str, str] | None:
    """What a recipe asks for that sharded parameters (FSDP2) cannot do: its key, and why; None where nothing is."""
    adapter = recipe.adapter
    if adapter.type == "lora-8bit":
        return "type", "int8 weights cannot be sharded; say type: qlora, or sharding: ddp"
    if adapter.init not in ("default", "gaussian"):
        return "init", f"{adapter.init} decomposes whole matrices, of which a process has a shard; say sharding: ddp"
    if adapter.lora_plus_ratio is not None:
        return "lora_plus_ratio", "its optimiser is made before parameters are sharded; say sharding: ddp"
    return None


def needs_modules(recipe: Recipe) -> str | None:
    """What a recipe asks for that PEFT does on linear modules alone, not on parameters of a mixture of experts."""
    adapter = recipe.adapter
    if adapter.dropout:
        return "dropout"
    if adapter.dora:
        return "DoRA"
    return adapter.init if adapter.init not in ("default", "gaussian") else None


def _targets(recipe: Recipe, shape: Shape) -> Choice:
    asked = recipe.adapter.target_modules
    if asked is not None and asked != (targets.EVERY_LINEAR,):
        names = targets.resolve(shape, asked)
        return Choice(names, f"{ASKED}: {targets.counted(shape, names)}")
    names = shape.linear_targets()
    if shape.experts is None:
        why = f"every linear matrix of the layers ({targets.counted(shape, names)}); query and value alone learn less"
        return Choice(names, why)
    if needs_modules(recipe):
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
    adapter = recipe.adapter
    if not adapter.rslora:
        return Choice(adapter.alpha, ASKED) if adapter.alpha is not None else Choice(2 * adapter.rank, "twice the rank")
    alpha = adapter.alpha if adapter.alpha is not None else RSLORA_ALPHA
    scaled = f"rslora scales updates by alpha/sqrt(rank), here {alpha / sqrt(adapter.rank):.3g}"
    if adapter.alpha is not None:
        return Choice(alpha, f"{ASKED}; {scaled}")
    return Choice(alpha, f"{scaled}; at rank 16 that is as strong as LoRA, and other ranks need no other alpha")


def _dropout(recipe: Recipe) -> Choice:
    if recipe.adapter.dropout:
        return Choice(recipe.adapter.dropout, ASKED)
    return Choice(0.0, "every adapted matrix would keep a mask and a copy of its input; the rank limits what is learnt")


def _init(recipe: Recipe, shape: Shape) -> Choice:
    init = recipe.adapter.init
    why = _BEGINNINGS.get(init, _PISSA)
    if init == "default":
        return Choice(init, why)
    if init == "eva":
        names = _targets(recipe, shape).value
        assert isinstance(names, tuple)
        most = trained_parameters(shape, recipe.adapter.rank, names, kind_of(recipe))
        why += f", so that the parameters come to at most {most:,}"
    return Choice(init, f"{ASKED}: {why}")


def _learning_rate(recipe: Recipe, shape: Shape) -> Choice:
    if recipe.train.learning_rate is not None:
        return Choice(recipe.train.learning_rate, ASKED)
    adapter = recipe.adapter
    if adapter.init.startswith("pissa"):
        why = "what PiSSA's authors used: its factors are the base's principal ones, which a LoRA rate would spoil"
        return Choice(PISSA_RATE, why)
    rate, why = 2e-4, "usual for LoRA below 30 B parameters; ten times what full fine-tuning takes"
    if shape.parameters >= _LARGE:
        rate = 1e-4
        why = f"usual for LoRA from 30 B parameters on; this base has {billions(shape.parameters)}"
    if adapter.lora_plus_ratio is not None:
        faster = f"B learns at {rate / 2 * adapter.lora_plus_ratio:.2g}"
        return Choice(rate / 2, f"that of A under LoRA+, half of what is usual without; {faster}")
    if adapter.rslora and adapter.alpha is None:
        return Choice(rate, f"{why}; rslora's alpha keeps updates at rank 16 as strong")
    return Choice(rate, f"{why}; DoRA's directions learn as LoRA does" if adapter.dora else why)
