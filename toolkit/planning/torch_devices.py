"""Devices as torch sees them: CUDA where nvidia-smi is missing, ROCm, and Ascend NPUs. Importing torch takes seconds."""

from __future__ import annotations

from typing import Any

from toolkit.planning.gpu import Device, card_of


def cuda_devices() -> list[Device]:
    """Every CUDA or ROCm device that torch sees; empty without torch or without one."""
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    kind = "rocm" if getattr(torch.version, "hip", None) is not None else "cuda"
    return [_device(torch.cuda, index, kind, "torch") for index in range(torch.cuda.device_count())]


def ascend_devices() -> list[Device]:
    """Every Ascend NPU that torch_npu sees; empty without it or without one."""
    try:
        import torch
        import torch_npu  # noqa: F401  # registers torch.npu
    except (ImportError, OSError, RuntimeError):
        return []
    if not torch.npu.is_available():
        return []
    return [_device(torch.npu, index, "npu", "torch_npu") for index in range(torch.npu.device_count())]


def _device(backend: Any, index: int, kind: str, source: str) -> Device:
    """One device of `torch.cuda` or `torch.npu`. What it has free is usable: the context is part of what it holds."""
    name = str(backend.get_device_name(index))
    free, total = backend.mem_get_info(index)
    card = card_of(name, total)
    capability = card.capability if card else ""
    bf16 = card.bf16 if card else kind != "cuda"
    if kind == "cuda" and not capability:
        major, minor = backend.get_device_capability(index)
        capability, bf16 = f"{major}.{minor}", major >= 8
    return Device(
        kind=kind,
        name=name,
        total_bytes=total,
        free_bytes=free,
        usable_bytes=free,
        count=1,
        bf16=bf16,
        tflops=card.bf16_tflops if card else None,
        bandwidth_bytes=card.bandwidth_gb_s * 1e9 if card else None,
        source=source + ("" if card else "; not in gpus.csv"),
        link_bytes=card.link_bytes if card else None,
        capability=capability,
    )
