"""NVIDIA GPUs as nvidia-smi or NVML describes them: which a process sees, what is free on each, and MIG slices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.planning.gpu import GIB, UNKNOWN_CARD_SHARE, Device, card_of, lacks_bf16
from toolkit.planning.machine import Machine

QUERY = ("nvidia-smi", "--query-gpu=uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")
LIST = ("nvidia-smi", "-L")

# `nvidia-smi -L` puts a GPU's slices below it: "  MIG 3g.20gb     Device  0: (UUID: MIG-…)". A profile's name has
# sevenths of the compute units and its nominal memory; 4864 MiB of the 5 GB of 1g.5gb can be had, and so on.
_SLICE = re.compile(r"\s+MIG (?:\d+c\.)?(\d)g\.(\d+)gb\S*\s+Device\s+\d+: \(UUID: (MIG-[^)\s]+)\)")
_GPU = re.compile(r"GPU \d+: .*\(UUID: (GPU-[^)\s]+)\)")
_SLICE_SHARE, _SEVENTHS = 0.95, 7
_CAN_BE_SLICED = re.compile(r"\b(?:A100|A800|A30|H100|H800|H200?|H20|GH200|G?B[23]00|RTX PRO 6000)\b")


@dataclass(frozen=True, slots=True)
class _Slice:
    uuid: str
    sevenths: int
    nominal_gb: int


def nvidia_devices(machine: Machine) -> list[Device]:
    """Every NVIDIA GPU that a process would see, in the order of CUDA_VISIBLE_DEVICES; of sliced GPUs one slice, as
    CUDA gives a process no more. Empty without a driver, or where CUDA_VISIBLE_DEVICES hides all."""
    answer = machine.run(QUERY) or machine.nvml() or ""
    lines = [line for line in answer.splitlines() if line.count(",") >= 3]
    slices = _slices(machine, lines)
    found: list[Device] = []
    for uuid, slice_uuid in _visible(machine, lines, slices):
        line = next(line for line in lines if line.startswith(uuid))
        device = _device(line, machine)
        if device is None:
            continue
        if own := slices.get(uuid):
            wanted = next((item for item in own if item.uuid == slice_uuid), own[0])
            found.append(_sliced(device, wanted, len(own)))
        else:
            found.append(device)
    sliced = [device for device in found if (device.visible or "").startswith("MIG-")]
    return sliced[:1] or found


def _visible(
    machine: Machine, lines: Sequence[str], slices: dict[str, list[_Slice]]
) -> Iterator[tuple[str, str | None]]:
    """(GPU, slice or None) for each entry of CUDA_VISIBLE_DEVICES; CUDA stops at the first it does not know."""
    uuids = [line.partition(",")[0] for line in lines]
    wanted = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        yield from ((uuid, None) for uuid in uuids)
        return
    for entry in (part.strip() for part in wanted.split(",")):
        if entry.isdecimal():
            matching = uuids[int(entry) : int(entry) + 1]
        elif entry.startswith("MIG-"):
            matching = [gpu for gpu, own in slices.items() if any(item.uuid == entry for item in own)]
        else:
            matching = [uuid for uuid in uuids if entry and uuid.startswith(entry)]  # a prefix will do
        if len(matching) != 1:
            return
        yield matching[0], entry if entry.startswith("MIG-") else None


def _slices(machine: Machine, lines: Sequence[str]) -> dict[str, list[_Slice]]:
    """The MIG slices of each GPU that has any. Only asked for where a GPU could be sliced."""
    if not any(_CAN_BE_SLICED.search(line) for line in lines):
        return {}
    found: dict[str, list[_Slice]] = {}
    gpu = ""
    for line in (machine.run(LIST) or "").splitlines():
        if match := _GPU.match(line):
            gpu = match[1]
        elif gpu and (match := _SLICE.match(line)):
            found.setdefault(gpu, []).append(_Slice(match[3], int(match[1]), int(match[2])))
    return found


def _device(line: str, machine: Machine) -> Device | None:
    head, total_text, free_text = (part.strip() for part in line.rsplit(",", 2))
    uuid, _, name = (part.strip() for part in head.partition(","))
    total, free = _mebibytes(total_text), _mebibytes(free_text)
    card = card_of(name, total)
    source = "nvidia-smi"
    if total is None:  # unified memory (GB10) is reported as [N/A]
        memory = machine.memory()
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
        link_bytes=card.link_bytes if card else None,
        capability=card.capability if card else "",
        visible=uuid,
    )


def _sliced(device: Device, own: _Slice, of: int) -> Device:
    """One slice of a GPU. nvidia-smi gives the memory of the whole; what others hold of the slice is not known."""
    share, of_memory = own.sevenths / _SEVENTHS, min(1.0, own.nominal_gb * GIB / device.total_bytes)
    total = int(own.nominal_gb * GIB * _SLICE_SHARE)
    return replace(
        device,
        name=f"{device.name} MIG {own.sevenths}g.{own.nominal_gb}gb",
        total_bytes=total,
        free_bytes=None,
        usable_bytes=total,
        tflops=device.tflops * share if device.tflops else None,
        bandwidth_bytes=device.bandwidth_bytes * of_memory if device.bandwidth_bytes else None,
        link_bytes=None,
        visible=own.uuid,
        source=f"nvidia-smi; one MIG slice of {of}, as a process gets no more: {own.sevenths}/{_SEVENTHS} of the compute units",
    )


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdecimal() else None
