"""What a recipe's adapter cannot be: combinations that a base, a device, a method or PEFT itself rules out."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.errors import Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning import targets
from toolkit.planning.adapter_choices import adapter_types, can_quantise, needs_modules, unsharded
from toolkit.planning.adapter_kind import takes_from_the_base
from toolkit.planning.gpu import Device
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import INITS
from toolkit.planning.shape import Shape

# Methods whose reference model is the base with its adapter switched off, and those whose rows EVA can read.
_WITH_REFERENCE = ("dpo", "kto", "grpo")
_EVA_METHODS = ("sft", "pretrain")


def adapter_problems(recipe: Recipe, shape: Shape, device: Device, gpus: int) -> Iterator[Problem]:
    """Every problem of the adapter, each at its key."""
    for key, text in (
        *_types(recipe, shape, device),
        *_targets(recipe, shape),
        *_beginning(recipe, shape, device),
        *_others(recipe, gpus),
    ):
        yield Problem(f"recipe.adapter.{key}", text, recipe.path)


def _types(recipe: Recipe, shape: Shape, device: Device) -> Iterator[tuple[str, str]]:
    kind = recipe.adapter.type
    if kind in ("lora", "lora-8bit") and shape.quantization == "bitsandbytes":
        yield (
            "type",
            f"the base is stored in 4 or 8 bits; {kind} needs the 16-bit base it came from, qlora takes this one",
        )
    if kind in ("qlora", "lora-8bit") and not can_quantise(device, kind):
        yield "type", f"{kind} needs bitsandbytes, which does not run on {device.name}"


def _targets(recipe: Recipe, shape: Shape) -> Iterator[tuple[str, str]]:
    asked = recipe.adapter.target_modules
    if asked == ():
        yield "target_modules", "is empty: nothing would be trained"
    found = list(targets.problems(shape, asked or ()))
    yield from (("target_modules", text) for text in found)
    if not asked or found or not any("." in name for name in targets.resolve(shape, asked)):
        return
    wanted = needs_modules(recipe)
    if wanted == "dropout":
        text = "must be 0 with adapters outside attention: PEFT has no dropout for parameters of a mixture of experts"
        yield "dropout", text
    elif wanted:
        text = (
            f"{wanted} is for linear modules alone, which of a mixture of experts are those of attention; say attention"
        )
        yield "target_modules", text


def _beginning(recipe: Recipe, shape: Shape, device: Device) -> Iterator[tuple[str, str]]:
    adapter, init = recipe.adapter, recipe.adapter.init
    taken = takes_from_the_base(init)
    if init not in INITS and not taken:
        yield "init", f"{init!r} is not one of {', '.join(INITS)}{did_you_mean(init, INITS)}"
        return
    if init == "pissa_niter_N":
        yield "init", "N stands for a number of iterations, such as pissa_niter_16"
        return
    kinds = adapter_types(recipe, shape, device)
    if taken and kinds != ("lora",):
        text = f"{init} takes its factors out of the base's 16-bit matrices, which {kinds[0]} has not; say type: lora"
        yield "init", text
    if init == "loftq" and (kinds != ("qlora",) or shape.quantization is not None):
        yield (
            "init",
            "loftq makes up for the quantisation of a 16-bit base to NF4; say type: qlora and name such a base",
        )
    if taken and adapter.dropout:
        yield (
            "dropout",
            f"must be 0 with init: {init}, whose factors are a part of the base: it would drop base weights",
        )
    if adapter.dora and (taken or init == "loftq"):
        yield "init", f"{init} moves what dora takes its magnitudes from; leave one of the two out"
    if adapter.start is not None and init != "default":
        yield (
            "init",
            f"{init} says how an adapter begins, and start brings one that is trained; leave one of the two out",
        )
    if taken and adapter.new_tokens:
        yield "init", f"what PEFT writes of {init} for the original base leaves rows of new tokens out; leave one out"
    if (taken or init == "loftq") and recipe.method in _WITH_REFERENCE:
        text = f"{recipe.method} compares with the base without its adapter, which {init} does not start from"
        yield "init", text
    if init == "eva" and recipe.method not in _EVA_METHODS:
        yield "init", f"eva reads the rows of {' and '.join(_EVA_METHODS)}, not those of {recipe.method}"
    yield from _ranks(recipe, shape)


def _ranks(recipe: Recipe, shape: Shape) -> Iterator[tuple[str, str]]:
    """A decomposition has no more parts than the matrix has rows or columns."""
    adapter, init = recipe.adapter, recipe.adapter.init
    if init in ("default", "gaussian"):
        return
    asked = adapter.target_modules
    names = targets.resolve(shape, asked) if asked and not list(targets.problems(shape, asked)) else ()
    adapted = [matrix for matrix in shape.matrices if matrix.name in (names or shape.linear_targets())]
    least = min((min(matrix.fan_in, matrix.fan_out) for matrix in adapted), default=adapter.rank)
    if init == "eva":  # which looks for twice the rank among the inputs
        least = min((matrix.fan_in for matrix in adapted), default=2 * adapter.rank) // 2
    if adapter.rank > least:
        yield "rank", f"{adapter.rank} is more than the {least} that {init} can begin with on this base"


def _others(recipe: Recipe, gpus: int) -> Iterator[tuple[str, str]]:
    adapter, train = recipe.adapter, recipe.train
    if adapter.lora_plus_ratio is not None and train.optimizer == "sgd":
        yield "lora_plus_ratio", "its two rates are made for Adam's steps; leave it or train.optimizer: sgd out"
    if gpus > 1 and adapter.new_tokens:
        yield "new_tokens", "their rows are trained by one process alone; leave it or --gpus out"
    elif gpus > 1 and train.sharding == "fsdp2" and (found := unsharded(recipe)):
        yield found
    if len(set(adapter.new_tokens)) < len(adapter.new_tokens):
        yield "new_tokens", "names a token twice"
    for token in adapter.new_tokens:
        if not token:
            yield "new_tokens", "an empty text is no token"
        elif token != token.strip():
            yield (
                "new_tokens",
                f"{token!r} begins or ends with a space, which tokenizers keep as a token's own; write it without",
            )
