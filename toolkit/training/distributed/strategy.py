"""DDP and FSDP2 put on a model in place: it keeps its class and its name for everything, and only its decoder acts.

Both are torch's own: `replicate`, which is DistributedDataParallel as hooks, and `fully_shard`. accelerate (1.15)
switches FSDP on for GPUs alone and gives DDP on a CPU without a word, and its DDP wraps the model in another that has
none of its methods. Adapters live in the decoder, so the decoder is the root of both: the loss calls it directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.distributed.team import Team

if TYPE_CHECKING:
    from peft import PeftModel


def distribute(model: PeftModel, sharding: str, team: Team, device_type: str) -> None:
    """Make `model` train in `team` as `sharding` (ddp or fsdp2) says. With fsdp2 it may lie on the CPU: each layer is
    moved to the device and cut before the next, so that no device ever holds the whole.

    Raises TkError where what came about is not what was asked for.
    """
    if team.size == 1:
        return
    _keep_float32(model)
    _begin_alike(model)
    (_shard if sharding == "fsdp2" else _replicate)(model, device_type)
    # An official mark: accelerate (1.15, `prepare_model`) wraps what bears it in nothing.
    model._is_accelerate_prepared = True
    check(model, sharding, team)


def decoder_of(model: PeftModel) -> Any:
    """The base's stack of layers with its embeddings: everything but the head."""
    return model.get_base_model().base_model


def is_sharded(model: Any) -> bool:
    """Whether trained parameters are cut into shards."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters() if parameter.requires_grad)


def check(model: PeftModel, sharding: str, team: Team) -> None:
    """Raise TkError unless gradients of every trained parameter are shared in the way that was asked for."""
    import torch.distributed as dist
    from torch.distributed._composable.contract import _get_registry
    from torch.distributed.tensor import DTensor

    if dist.get_world_size() != team.size:
        raise TkError(f"{dist.get_world_size()} processes are at work, not {team.size}")
    inside = {id(parameter) for parameter in decoder_of(model).parameters()}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if outside := [name for name, parameter in trained if id(parameter) not in inside]:
        raise TkError(f"{outside[0]} is trained outside the layers, which several processes do not share")
    cut = sum(isinstance(parameter, DTensor) for _, parameter in trained)
    expected = len(trained) if sharding == "fsdp2" else 0
    registered = "fully_shard" if sharding == "fsdp2" else "replicate"
    if cut != expected or registered not in (_get_registry(decoder_of(model)) or {}):
        raise TkError(
            f"the plan asks for {sharding}, and {cut} of {len(trained)} trained tensors are sharded",
            hint="report this with the versions that tk doctor prints",
        )


def _begin_alike(model: PeftModel) -> None:
    """One seed gives every process the same adapter; an initialisation that depends on the machine would not."""
    import torch.distributed as dist

    for parameter in model.parameters():
        if parameter.requires_grad:
            dist.broadcast(parameter.data, src=0)


def _replicate(model: PeftModel, device_type: str) -> None:
    import torch
    from torch.distributed._composable.replicate import replicate

    device = torch.device(device_type, torch.cuda.current_device()) if device_type == "cuda" else torch.device("cpu")
    # The frozen base was read from the same files everywhere (`Team.agree`), and is not sent around.
    decoder = decoder_of(model)
    replicate(decoder, init_sync=False, broadcast_buffers=False, device_id=device)
    # By itself it would look for what is trained at the first forward pass, when the evaluation before training has
    # switched the adapter off.
    replicate.state(decoder).lazy_init()


def _shard(model: PeftModel, device_type: str) -> None:
    """Layer by layer, then what no layer owns; an untied head by itself, since the loss takes its weight from outside."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device_type, (dist.get_world_size(),))
    decoder, head = decoder_of(model), model.get_base_model().get_output_embeddings()
    # Processes write answers of different lengths; transformers lets those that are done go on until all are.
    model.get_base_model()._is_fsdp_managed_module = True
    for layer in decoder.layers:
        _move_scales(layer, device_type)
        fully_shard(layer, mesh=mesh)
    fully_shard(decoder, mesh=mesh)
    if head is not None and head.weight is not decoder.get_input_embeddings().weight:
        fully_shard(head, mesh=mesh, reshard_after_forward=False)
        decoder.register_forward_hook(lambda *_: head.unshard())
        decoder.register_forward_pre_hook(lambda *_: head.reshard())


def _keep_float32(model: PeftModel) -> None:
    """TRL (1.16, `SFTTrainer.__init__`) rounds the adapter of a model that says it is in 4 bits to bf16 by assigning
    `.data`, which neither a reduction nor a shard survives. The adapter begins rounded, as on one device."""
    base = model.get_base_model()
    if not getattr(base, "is_loaded_in_4bit", False):
        return
    base.is_loaded_in_4bit = False
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16().float()


def _move_scales(layer: Any, device_type: str) -> None:
    """The constants of 4-bit matrices are no parameters; `fully_shard` leaves them where they are."""
    import torch

    if device_type == "cpu":
        return
    from bitsandbytes.nn import Linear4bit

    for module in layer.modules():
        if isinstance(module, Linear4bit):
            module.quant_state.to(torch.device(device_type, torch.cuda.current_device()))
