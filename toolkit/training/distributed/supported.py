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
    where, sharded = recipe.path, value["sharding"] == "fsdp2"
    if plan.device.kind not in ("cuda", "rocm", "cpu"):
        text = f"several processes train on NVIDIA, AMD or CPUs, not on {plan.device.name}"
        raise TkError(text, where=where, hint="leave --gpus out")
    if recipe.method not in METHODS:
        text = f"method {recipe.method} trains on one device; on several {' and '.join(METHODS)} do"
        raise TkError(text, where=where, hint="leave --gpus out, or set train.sharding: none")
    if recipe.data.streaming:
        text = "streamed rows are dealt out to one process alone"
        raise TkError(text, where=where, hint="set data.streaming: false, or leave --gpus out")
    if recipe.adapter.new_tokens:
        text = "the rows of new tokens are trained in embedding and head, which several processes do not share"
        raise TkError(text, where=where, hint="leave adapter.new_tokens or --gpus out")
    if sharded and value["adapter"] not in ("lora", "qlora"):
        text = f"{value['adapter']} keeps constants beside its weights that FSDP2 does not cut"
        raise TkError(text, where=where, hint="set adapter.type: lora or qlora, or train.sharding: ddp")
    if sharded and value["adapter"] == "qlora" and plan.shape.fused_expert_parameters:
        text = "the routed experts of a mixture in 4 bits are not sharded: their scales are no parameters"
        raise TkError(text, where=where, hint="set train.sharding: ddp, or adapter.type: lora")
    if sharded and value["dtype"] == "float16":
        text = "float16 scales its gradients, which sharded ones do not take; FSDP2 needs bfloat16 or float32"
        raise TkError(text, where=where, hint="name a GPU with bfloat16, or set train.sharding: ddp")
