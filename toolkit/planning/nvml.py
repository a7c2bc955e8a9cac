"""NVIDIA's management library through ctypes, for containers that have the driver but not nvidia-smi.

Calls as in NVIDIA's NVML API reference: nvmlInit_v2, nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2,
nvmlDeviceGetUUID, nvmlDeviceGetName, nvmlDeviceGetMemoryInfo, nvmlShutdown.
"""

from __future__ import annotations

import ctypes

_LIBRARY = "libnvidia-ml.so.1"
_TEXT = 96  # at least NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def answer(library: str = _LIBRARY) -> str | None:
    """What nvidia-smi would say (uuid, name, total MiB, free MiB; a line for each GPU), None without a driver."""
    try:
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2() != 0:
            return None
    except (OSError, AttributeError):
        return None
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return None
        return "".join(_line(nvml, index) for index in range(count.value))
    finally:
        nvml.nvmlShutdown()


def _line(nvml: ctypes.CDLL, index: int) -> str:
    handle, memory = ctypes.c_void_p(), _Memory()
    uuid, name = ctypes.create_string_buffer(_TEXT), ctypes.create_string_buffer(_TEXT)
    failed = (
        nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle))
        or nvml.nvmlDeviceGetUUID(handle, uuid, ctypes.c_uint(_TEXT))
        or nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(_TEXT))
    )
    if failed:
        return ""
    sizes = "[N/A], [N/A]"  # unified memory
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
        sizes = f"{memory.total // 2**20}, {memory.free // 2**20}"
    return f"{uuid.value.decode()}, {name.value.decode()}, {sizes}\n"
