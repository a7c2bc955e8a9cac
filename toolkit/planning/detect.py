"""Finds the device at hand without importing torch: nvidia-smi or NVML, Ascend, Apple, else the CPU with its memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from toolkit.errors import UsageError
from toolkit.planning.gpu import GIB, Device, card_of, gib, named
from toolkit.planning.machine import Machine
from toolkit.planning.nvidia import nvidia_devices

__all__ = ["Machine", "detect", "detect_apple", "detect_cpu", "device_of"]

_CPU_SHARE = 0.9  # the operating system and the page cache need the rest
_BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))  # x86 twice, then arm64

# float32 matrix products of torch on one thread of a 2-core x86 server with AVX2, measured; wider vectors do more.
_CPU_TFLOPS_PER_THREAD = 0.05
_CPU_BANDWIDTH = 10e9  # bytes per second that one or two threads draw from server memory; assumed


def detect(machine: Machine | None = None, *, ask_torch: bool = False) -> Device:
    """The device that training would use here: of several GPUs the one with most usable memory, how many there are,
    and the smallest where they differ.

    nvidia-smi and NVML are asked first. torch, which takes seconds to import, is asked only where they have no answer
    and either torch is loaded already, an AMD driver is present, or `ask_torch` is set.
    """
    machine = machine or Machine()
    if devices := nvidia_devices(machine):
        return together(devices)
    amd = machine.system == "Linux" and machine.read("/sys/module/amdgpu/initstate") is not None
    ascend = machine.has_module("torch_npu")
    if ask_torch or ascend or "torch" in sys.modules or (amd and machine.has_module("torch")):
        from toolkit.planning.torch_devices import ascend_devices, cuda_devices

        if devices := cuda_devices() or (ascend_devices() if ascend else []):
            return together(devices, roomiest=False)  # torch has its order already, and a process trains on the first
    if machine.system == "Darwin" and machine.processor == "arm64":
        return detect_apple(machine)
    return detect_cpu(machine)


def device_of(name: str | None, count: int | None = None, machine: Machine | None = None) -> Device:
    """The device that `--gpu` and `--gpus` ask for: named (`count` of them), else the one at hand.

    Several on a CPU are processes that share it. Raises UsageError for an unknown name and for more GPUs than this
    machine has.
    """
    device = named(name) if name else detect(machine)
    if count is None or count == 1:
        return device
    if device.kind == "cpu":
        return shared_cpu(device, count)
    if device.kind == "mps":
        hint = "name the GPU to plan for, such as --gpu 'A100 80GB' --gpus 8"
        raise UsageError(f"--gpus {count}: {device.name} is one device", hint=hint)
    if name:
        return replace(device, count=count)
    if count > device.count:
        hint = "to plan for another machine name its GPU, such as --gpu 'A100 80GB' --gpus 8"
        raise UsageError(f"--gpus {count}: this machine shows {device.count} ({device.name})", hint=hint)
    return replace(device, count=count)


def on_nodes(device: Device, nodes: int) -> Device:
    """`device.count` devices on each of `nodes` machines as one value. Between machines the link is not known."""
    return device if nodes == 1 else replace(device, count=device.count * nodes, link_bytes=None)


def shared_cpu(device: Device, count: int) -> Device:
    """A CPU as each of `count` processes has it that share its memory, its threads and its bandwidth."""
    return replace(
        device,
        count=count,
        usable_bytes=device.usable_bytes // count,
        tflops=device.tflops / count if device.tflops else None,
        bandwidth_bytes=device.bandwidth_bytes / count if device.bandwidth_bytes else None,
        link_bytes=device.bandwidth_bytes / count if device.bandwidth_bytes else None,
        source=f"{device.source}; {count} processes share it",
    )


def together(devices: Sequence[Device], *, roomiest: bool = True) -> Device:
    """Several devices as one value: the roomiest (or the first), their number, and the smallest where they differ."""
    largest = max(devices, key=lambda device: device.usable_bytes) if roomiest else devices[0]
    smallest = min(devices, key=lambda device: device.usable_bytes)
    if len({(device.name, device.usable_bytes) for device in devices}) == 1:
        return replace(largest, count=len(devices))
    listed = ", ".join(f"{device.name} {device.usable_bytes / GIB:.1f} GiB" for device in devices)
    which = "roomiest" if roomiest else "first"
    source = f"{largest.source}; the GPUs differ ({listed}): one run takes the {which}, a run on all the smallest"
    return replace(largest, count=len(devices), source=source, smallest=smallest)


def detect_apple(machine: Machine) -> Device:
    """Apple silicon: of the unified memory Metal takes about two thirds up to 36 GB and three quarters above."""
    total, free = machine.memory() or (8 * GIB, None)
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
    total, free = machine.memory() or (4 * GIB, None)
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
        source += f"; {gib(usable)} are free now"
    threads = machine.threads()
    flags = {
        flag for field in ("flags", "Features") for flags in machine.cpu_facts(field)[:1] for flag in flags.split()
    }
    return Device(
        kind="cpu",
        name=next(iter(machine.cpu_facts("model name")), machine.processor or "CPU"),
        total_bytes=total,
        free_bytes=free,
        usable_bytes=usable,
        count=1,
        bf16=bool(_BF16_FLAGS & flags),
        tflops=_CPU_TFLOPS_PER_THREAD * threads if threads else None,
        bandwidth_bytes=_CPU_BANDWIDTH if threads else None,
        source=source,
    )
