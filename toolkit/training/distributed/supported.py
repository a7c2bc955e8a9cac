"""What several processes do not train yet, said before anything is loaded."""

from __future__ import annotations

from toolkit.errors import TkError
from toolkit.planning.plan import Plan
from toolkit.planning.recipe import Recipe

METHODS = ("sft", "pretrain")  # their loss is a sum over tokens, whoever computes it


def require_supported(plan: Plan, recipe: Recipe) -> None:
    """Raise TkError for a plan on several devices that would not train what one device trains."""
    if plan.gpus == 1:
        return
    value = {name: choice.value for name, choice in plan.choices.items()}
    where = recipe.path
    if recipe.method not in METHODS:
        text = f"method {recipe.method} trains on one device; on several {' and '.join(METHODS)} do"
        raise TkError(text, where=where, hint="leave --gpus out, or set train.sharding: none")
    if value["sharding"] == "fsdp2" and value["adapter"] == "qlora" and plan.shape.fused_expert_parameters:
        text = "the routed experts of a mixture in 4 bits are not sharded: their scales are no parameters"
        raise TkError(text, where=where, hint="set train.sharding: ddp, or adapter.type: lora")
    if value["sharding"] == "fsdp2" and value["dtype"] == "float16":
        text = "float16 scales its gradients, which sharded ones do not take; FSDP2 needs bfloat16 or float32"
        raise TkError(text, where=where, hint="name a GPU with bfloat16, or set train.sharding: ddp")
