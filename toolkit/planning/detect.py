"""Finds the device at hand without importing torch: nvidia-smi, Ascend, Apple, else the CPU with its memory."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.planning.gpu import GIB, UNKNOWN_CARD_SHARE, Device, card_of, lacks_bf16

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
_TIMEOUT_SECONDS = 10
_CPU_SHARE = 0.9  # the operating system and the page cache need the rest
_BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))  # x86 twice, then arm64


def _run(command: Sequence[str]) -> str | None:
    """Standard output of a command, None when it is absent, fails or takes too long."""
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where detection looks: how commands run, files are read and modules are found, and the environment.

    Tests give recorded answers; `Machine()` is the machine this runs on.
    """

    run: Callable[[Sequence[str]], str | None] = _run
    read: Callable[[str], str | None] = _read
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    system: str = field(default_factory=platform.system)
    processor: str = field(default_factory=platform.machine)


def detect(machine: Machine | None = None, *, ask_torch: bool = False) -> Device:
    """The device that training would use here.

    nvidia-smi is asked first. torch, which takes seconds to import, is asked only where nvidia-smi has no answer and
    either torch is loaded already, an AMD driver is present, or `ask_torch` is set.
    """
    machine = machine or Machine()
    if device := detect_nvidia(machine):
        return device
    amd = machine.system == "Linux" and machine.read("/sys/module/amdgpu/initstate") is not None
    if (ask_torch or "torch" in sys.modules or (amd and machine.has_module("torch"))) and (
        device := detect_with_torch()
    ):
        return device
    if machine.has_module("torch_npu") and (device := detect_ascend()):
        return device
    if machine.system == "Darwin" and machine.processor == "arm64":
        return detect_apple(machine)
    return detect_cpu(machine)


def detect_nvidia(machine: Machine) -> Device | None:
    """The smallest visible NVIDIA GPU; None when nvidia-smi is absent or fails, or CUDA_VISIBLE_DEVICES hides all."""
    visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
    wanted = [part.strip() for part in visible.split(",")] if visible is not None else []
    by_index = all(part.isdecimal() for part in wanted)
    if visible is not None and (not visible.strip() or wanted[0].startswith("-") or wanted[0] == "NoDevFiles"):
        return None
    # nvidia-smi resolves UUIDs itself; numbers are picked from the full list, as its own --id fails on one bad number.
    command = _QUERY if by_index else (*_QUERY, f"--id={','.join(wanted)}")
    lines = [line for line in (machine.run(command) or "").splitlines() if line.count(",") >= 2]
    if visible is not None and by_index:
        lines = [lines[int(part)] for part in wanted if int(part) < len(lines)]
    devices = [device for line in lines if (device := _nvidia_line(line, machine))]
    if not devices:
        return None
    smallest = min(devices, key=lambda device: device.usable_bytes)
    source = smallest.source
    if len({(device.name, device.usable_bytes) for device in devices}) > 1:
        listed = ", ".join(f"{device.name} {device.usable_bytes / GIB:.1f} GiB" for device in devices)
        source += f"; the GPUs differ ({listed}), the smallest is planned for"
    return replace(smallest, count=len(devices), source=source)


def _nvidia_line(line: str, machine: Machine) -> Device | None:
    name, total_text, free_text = (part.strip() for part in line.rsplit(",", 2))
    total, free = _mebibytes(total_text), _mebibytes(free_text)
    card = card_of(name, total)
    source = "nvidia-smi"
    if total is None:  # unified memory (GB10) is reported as [N/A]
        memory = _memory(machine)
        if memory is None and card is None:
            return None
        total, free = memory or (int(card.memory_gib * GIB), None) if card else memory or (0, None)
        source += "; it shares the machine's memory"
    usable = int(total * UNKNOWN_CARD_SHARE)
    if card is not None and abs(card.memory_gib * GIB - total) < 0.1 * total:
        usable = min(int(card.usable_gib * GIB), total)
        source += f", usable memory from gpus.csv ({card.name})"
    if free is not None and free < usable:
        source += f"; other processes hold {(total - free) / GIB:.1f} of {total / GIB:.1f} GiB"
        usable = free
    return Device(
        kind="cuda",
        name=name,
        total_bytes=total,
        free_bytes=free,
        usable_bytes=usable,
        count=1,
        bf16=card.bf16 if card else not lacks_bf16(name),
        tflops=card.bf16_tflops if card else None,
        bandwidth_bytes=card.bandwidth_gb_s * 1e9 if card else None,
        source=source + ("" if card else "; not in gpus.csv"),
    )


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdecimal() else None


def detect_with_torch() -> Device | None:
    """The smallest CUDA or ROCm device as torch sees it; None without one. Imports torch."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    rocm = getattr(torch.version, "hip", None) is not None
    devices = []
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        free, total = torch.cuda.mem_get_info(index)
        card = card_of(name, total)
        devices.append(
            Device(
                kind="rocm" if rocm else "cuda",
                name=name,
                total_bytes=total,
                free_bytes=free,
                usable_bytes=free,
                count=1,
                bf16=card.bf16 if card else torch.cuda.get_device_capability(index) >= (8, 0),
                tflops=card.bf16_tflops if card else None,
                bandwidth_bytes=card.bandwidth_gb_s * 1e9 if card else None,
                source="torch",
            )
        )
    return replace(min(devices, key=lambda device: device.usable_bytes), count=len(devices)) if devices else None


def detect_ascend() -> Device | None:
    """The Ascend NPU as torch_npu sees it; None without one. Imports torch."""
    try:
        import torch
        import torch_npu  # noqa: F401  # registers torch.npu
    except (ImportError, OSError, RuntimeError):
        return None
    if not torch.npu.is_available():
        return None
    name = torch.npu.get_device_name(0)
    free, total = torch.npu.mem_get_info(0)
    card = card_of(name, total)
    return Device(
        kind="npu",
        name=name,
        total_bytes=total,
        free_bytes=free,
        usable_bytes=free,
        count=torch.npu.device_count(),
        bf16=True,
        tflops=card.bf16_tflops if card else None,
        bandwidth_bytes=card.bandwidth_gb_s * 1e9 if card else None,
        source="torch_npu",
    )


def detect_apple(machine: Machine) -> Device:
    """Apple silicon: of the unified memory Metal takes about two thirds up to 36 GB and three quarters above."""
    total, free = _memory(machine) or (8 * GIB, None)
    name = (machine.run(("sysctl", "-n", "machdep.cpu.brand_string")) or "Apple silicon").strip()
    usable = int(total * (0.75 if total > 36 * GIB else 2 / 3))
    card = card_of(name, total)
    return Device(
        kind="mps",
        name=name,
        total_bytes=total,
        free_bytes=free,
        usable_bytes=usable,
        count=1,
        bf16=True,
        tflops=card.bf16_tflops if card else None,
        bandwidth_bytes=card.bandwidth_gb_s * 1e9 if card else None,
        source="unified memory; Metal's default working-set limit",
    )


def detect_cpu(machine: Machine | None = None) -> Device:
    """This machine's processor and the memory that is free on it (the container's limit where there is one)."""
    machine = machine or Machine()
    total, free = _memory(machine) or (4 * GIB, None)
    usable = int(total * _CPU_SHARE)
    source = "/proc/meminfo" if machine.system == "Linux" else "the operating system"
    limit = (machine.read("/sys/fs/cgroup/memory.max") or "").strip()
    if limit.isdecimal() and int(limit) < total:
        used = (machine.read("/sys/fs/cgroup/memory.current") or "").strip()
        total = int(limit)
        free = min(free or total, total - int(used)) if used.isdecimal() else free
        usable = int(total * _CPU_SHARE)
        source += ", memory limit of the container"
    if free is not None and free < usable:
        usable = max(free, 0)
        source += "; limited to what is free now"
    return Device(
        kind="cpu",
        name=_processor_name(machine),
        total_bytes=total,
        free_bytes=free,
        usable_bytes=usable,
        count=1,
        bf16=bool(_BF16_FLAGS & set(_cpu_flags(machine))),
        tflops=None,
        bandwidth_bytes=None,
        source=source,
    )


def _memory(machine: Machine) -> tuple[int, int | None] | None:
    """Total and available memory in bytes."""
    rows = {}
    for line in (machine.read("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        amount = value.split()
        if amount and amount[0].isdecimal():
            rows[name] = int(amount[0]) * 1024
    if "MemTotal" in rows:
        return rows["MemTotal"], rows.get("MemAvailable")
    if machine.system == "Darwin" and (text := (machine.run(("sysctl", "-n", "hw.memsize")) or "").strip()).isdecimal():
        return int(text), None
    return None


def _cpu_flags(machine: Machine) -> list[str]:
    for line in (machine.read("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("flags", "Features")):
            return line.partition(":")[2].split()
    return []


def _processor_name(machine: Machine) -> str:
    for line in (machine.read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return machine.processor or "CPU"
