"""Weights and optimiser states of a sharded adapter as whole tensors, in the files that one process would write.

So a checkpoint does not tell how many processes made it, and any number can go on from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def whole_adapter(model: Any) -> dict[str, Any]:
    """Every trained parameter by its name in `model`, whole and on the CPU. All processes must call this."""
    return {name: _whole(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}


def whole_optimizer(optimizer: Any) -> dict[str, Any]:
    """The state of `optimizer` with whole tensors on the CPU, laid out as torch does. All processes must call this."""
    state = optimizer.state_dict()
    whole = {
        number: {name: _whole(value) for name, value in values.items()} for number, values in state["state"].items()
    }
    return {**state, "state": whole}


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Give each parameter of `optimizer` its part of the states in `path`, which hold whole tensors."""
    import torch
    from torch.distributed.tensor import DTensor, distribute_tensor

    saved = torch.load(path, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in saved["state"].items():
        parameter = parameters[number]
        for name, value in values.items():
            if isinstance(parameter, DTensor) and value.shape == parameter.shape:
                local = value.to(parameter.device)
                values[name] = distribute_tensor(local, parameter.device_mesh, parameter.placements, src_data_rank=None)
    optimizer.load_state_dict(saved)


def _whole(value: Any) -> Any:
    import torch
    from torch.distributed.tensor import DTensor

    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value
