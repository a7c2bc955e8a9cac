"""Detection, on recorded answers of nvidia-smi and of Linux."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import pytest

from toolkit.planning.detect import Machine, detect, detect_cpu
from toolkit.planning.gpu import GIB

A100 = "NVIDIA A100-SXM4-80GB, 81920, 81220\n"
RTX_4090 = "NVIDIA GeForce RTX 4090, 24564, 23001\n"
MEMINFO = "MemTotal:       32784440 kB\nMemFree:         1200000 kB\nMemAvailable:   20971520 kB\n"
CPUINFO = "processor : 0\nmodel name : AMD EPYC 7B13\nflags : fpu avx2\n"


def machine(
    answer: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    seen: list[Sequence[str]] | None = None,
    system: str = "Linux",
    processor: str = "x86_64",
) -> Machine:
    """A machine whose nvidia-smi gives `answer` (None: there is none), without torch_npu."""

    def run(command: Sequence[str]) -> str | None:
        if seen is not None:
            seen.append(command)
        return answer if command[0] == "nvidia-smi" else None

    known = {"/proc/meminfo": MEMINFO, "/proc/cpuinfo": CPUINFO} if files is None else files
    read: Callable[[str], str | None] = known.get
    return Machine(run, read, lambda name: False, environment or {}, system, processor)


def test_one_gpu_is_known_by_its_name_and_what_is_free_on_it() -> None:
    device = detect(machine(A100))
    assert (device.kind, device.name, device.count, device.bf16) == ("cuda", "NVIDIA A100-SXM4-80GB", 1, True)
    assert (device.total_bytes, device.free_bytes) == (80 * GIB, 81220 * 2**20)
    assert device.usable_bytes == int(79.15 * GIB)
    assert device.tflops == 312
    assert "gpus.csv (A100 80GB SXM)" in device.source


def test_memory_that_others_hold_is_not_usable() -> None:
    device = detect(machine("NVIDIA A100-SXM4-80GB, 81920, 30000\n"))
    assert device.usable_bytes == 30000 * 2**20
    assert "other processes hold 50.7 of 80.0 GiB" in device.source


def test_unequal_gpus_are_planned_for_the_smallest_and_it_says_so() -> None:
    device = detect(machine(A100 + RTX_4090))
    assert (device.name, device.count) == ("NVIDIA GeForce RTX 4090", 2)
    assert "the GPUs differ (NVIDIA A100-SXM4-80GB 79.1 GiB, NVIDIA GeForce RTX 4090 22.5 GiB)" in device.source


def test_equal_gpus_are_counted() -> None:
    device = detect(machine(A100 * 4))
    assert device.count == 4
    assert "differ" not in device.source


def test_cuda_visible_devices_picks_by_number() -> None:
    device = detect(machine(A100 + RTX_4090, environment={"CUDA_VISIBLE_DEVICES": "0"}))
    assert (device.name, device.count) == ("NVIDIA A100-SXM4-80GB", 1)


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles", "7"])
def test_cuda_visible_devices_can_hide_every_gpu(value: str) -> None:
    assert detect(machine(A100, environment={"CUDA_VISIBLE_DEVICES": value})).kind == "cpu"


def test_cuda_visible_devices_by_uuid_is_left_to_nvidia_smi() -> None:
    seen: list[Sequence[str]] = []
    detect(machine(A100, environment={"CUDA_VISIBLE_DEVICES": "GPU-8932f937,GPU-11a2"}, seen=seen))
    assert seen[0][-1] == "--id=GPU-8932f937,GPU-11a2"


def test_a_card_before_ampere_lacks_bfloat16() -> None:
    assert not detect(machine("Tesla T4, 15360, 15100\n")).bf16
    assert not detect(machine("NVIDIA GeForce RTX 2080 Ti, 11264, 11000\n")).bf16


def test_a_card_that_is_not_in_the_table_is_sized_by_its_driver() -> None:
    device = detect(machine("NVIDIA Z9000, 49152, 49152\n"))
    assert device.usable_bytes == int(0.97 * 48 * GIB)
    assert device.tflops is None
    assert "not in gpus.csv" in device.source


def test_unified_memory_that_nvidia_smi_does_not_report_is_the_machines() -> None:
    device = detect(machine("NVIDIA GB10, [N/A], [N/A]\n"))
    assert device.kind == "cuda"
    assert device.usable_bytes <= 20971520 * 1024
    assert "shares the machine's memory" in device.source


@pytest.mark.parametrize("answer", [None, "", "No devices were found\n"])
def test_without_an_answer_of_nvidia_smi_it_is_the_cpu(answer: str | None) -> None:
    device = detect(machine(answer))
    assert (device.kind, device.name, device.bf16) == ("cpu", "AMD EPYC 7B13", False)
    assert device.usable_bytes == 20971520 * 1024


def test_a_container_has_what_its_limit_leaves() -> None:
    limits = {"/sys/fs/cgroup/memory.max": f"{8 * GIB}\n", "/sys/fs/cgroup/memory.current": f"{GIB}\n"}
    device = detect_cpu(machine(files={"/proc/meminfo": MEMINFO} | limits))
    assert (device.total_bytes, device.free_bytes) == (8 * GIB, 7 * GIB)
    assert "limit of the container" in device.source


def test_a_cpu_with_native_bfloat16_says_so() -> None:
    flags = "model name : Xeon\nflags : avx512f avx512_bf16 amx_bf16\n"
    assert detect_cpu(machine(files={"/proc/meminfo": MEMINFO, "/proc/cpuinfo": flags})).bf16


def test_apple_silicon_has_part_of_its_memory() -> None:
    def run(command: Sequence[str]) -> str | None:
        return {"hw.memsize": f"{64 * GIB}\n", "machdep.cpu.brand_string": "Apple M1 Max\n"}.get(command[-1])

    device = detect(Machine(run, lambda path: None, lambda name: False, {}, "Darwin", "arm64"))
    assert (device.kind, device.name, device.usable_bytes) == ("mps", "Apple M1 Max", 48 * GIB)


def test_a_command_that_hangs_or_is_absent_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(subprocess, "run", hang)
    assert Machine().run(("nvidia-smi",)) is None
    monkeypatch.undo()
    assert Machine().run(("no-such-command-here",)) is None


def test_planning_starts_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from toolkit.planning.detect import Machine, detect\n"
        "from toolkit.planning.plan import make_plan\n"
        "from toolkit.planning.bases import known_shape\n"
        "detect(); known_shape('Qwen/Qwen2.5-7B')\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pydantic', 'peft', 'psutil', 'huggingface_hub'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
