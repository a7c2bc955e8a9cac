"""Detection, on recorded answers of nvidia-smi and of Linux."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import pytest

from toolkit.errors import UsageError
from toolkit.planning.detect import Machine, detect, detect_cpu, device_of
from toolkit.planning.gpu import GIB
from toolkit.planning.nvml import answer

A100 = "GPU-aaaa, NVIDIA A100-SXM4-80GB, 81920, 81220\n"
RTX_4090 = "GPU-bbbb, NVIDIA GeForce RTX 4090, 24564, 23001\n"
# The first as NVIDIA's MIG guide shows it.
SLICED = """GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-c6d4f1ef)
  MIG 1g.10gb     Device  1: (UUID: MIG-cba663e8)
"""
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
    listed: str | None = None,
    nvml: str | None = None,
    modules: Sequence[str] = (),
) -> Machine:
    """A machine whose nvidia-smi gives `answer` (None: there is none) and, with -L, `listed`."""

    def run(command: Sequence[str]) -> str | None:
        if seen is not None:
            seen.append(command)
        if command[0] != "nvidia-smi":
            return None
        return listed if command[-1] == "-L" else answer

    known = {"/proc/meminfo": MEMINFO, "/proc/cpuinfo": CPUINFO} if files is None else files
    read: Callable[[str], str | None] = known.get
    return Machine(run, read, lambda name: name in modules, environment or {}, system, processor, lambda: nvml)


def test_one_gpu_is_known_by_its_name_and_what_is_free_on_it() -> None:
    device = detect(machine(A100))
    assert (device.kind, device.name, device.count, device.bf16) == ("cuda", "NVIDIA A100-SXM4-80GB", 1, True)
    assert (device.total_bytes, device.free_bytes) == (80 * GIB, 81220 * 2**20)
    assert device.usable_bytes == int(79.15 * GIB)
    assert device.tflops == 312
    assert "gpus.csv (A100 80GB SXM)" in device.source


def test_memory_that_others_hold_is_not_usable() -> None:
    device = detect(machine("GPU-cccc, NVIDIA A100-SXM4-80GB, 81920, 30000\n"))
    assert device.usable_bytes == 30000 * 2**20
    assert "other processes hold 50.7 of 80.0 GiB" in device.source


def test_of_unequal_gpus_one_run_takes_the_roomiest_and_a_run_on_all_the_smallest() -> None:
    device = detect(machine(RTX_4090 + A100))
    assert (device.name, device.count, device.visible) == ("NVIDIA A100-SXM4-80GB", 2, "GPU-aaaa")
    assert (device.in_a_group.name, device.in_a_group.count) == ("NVIDIA GeForce RTX 4090", 2)
    assert "the GPUs differ (NVIDIA GeForce RTX 4090 22.5 GiB, NVIDIA A100-SXM4-80GB 79.1 GiB)" in device.source


def test_a_gpu_that_others_use_gives_way_to_a_free_one() -> None:
    busy = "GPU-cccc, NVIDIA A100-SXM4-80GB, 81920, 2000\n"
    device = detect(machine(busy + A100))
    assert (device.visible, device.usable_bytes) == ("GPU-aaaa", int(79.15 * GIB))
    assert device.in_a_group.usable_bytes == 2000 * 2**20


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


def test_cuda_visible_devices_picks_by_uuid_or_its_beginning_and_stops_at_the_first_it_does_not_know() -> None:
    by_uuid = detect(machine(A100 + RTX_4090, environment={"CUDA_VISIBLE_DEVICES": "GPU-bb,GPU-none,0"}))
    assert (by_uuid.name, by_uuid.count) == ("NVIDIA GeForce RTX 4090", 1)


def test_without_nvidia_smi_the_management_library_answers() -> None:
    assert detect(machine(None, nvml=A100)).name == "NVIDIA A100-SXM4-80GB"


def test_a_library_that_is_absent_or_is_another_gives_no_answer() -> None:
    assert answer("libno-such-library.so.9") is None
    assert answer("libc.so.6") is None


def test_a_process_gets_one_slice_of_a_sliced_gpu() -> None:
    device = detect(machine(A100, listed=SLICED))
    assert (device.name, device.count, device.visible) == ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 1, "MIG-c6d4f1ef")
    assert device.usable_bytes == int(0.95 * 40 * GIB)
    assert (device.tflops, device.bandwidth_bytes) == (pytest.approx(312 * 3 / 7), pytest.approx(2039e9 / 2))
    assert "one MIG slice of 2" in device.source


def test_cuda_visible_devices_names_the_slice() -> None:
    device = detect(machine(A100, listed=SLICED, environment={"CUDA_VISIBLE_DEVICES": "MIG-cba663e8"}))
    assert device.name.endswith("MIG 1g.10gb")


def test_slices_are_only_asked_for_where_there_can_be_any() -> None:
    seen: list[Sequence[str]] = []
    detect(machine(RTX_4090, seen=seen))
    assert [command[-1] for command in seen] == ["--format=csv,noheader,nounits"]


def test_a_card_before_ampere_lacks_bfloat16() -> None:
    assert not detect(machine("GPU-cccc, Tesla T4, 15360, 15100\n")).bf16
    assert not detect(machine("GPU-cccc, NVIDIA GeForce RTX 2080 Ti, 11264, 11000\n")).bf16


def test_a_card_that_is_not_in_the_table_is_sized_by_its_driver() -> None:
    device = detect(machine("GPU-cccc, NVIDIA Z9000, 49152, 49152\n"))
    assert device.usable_bytes == int(0.97 * 48 * GIB)
    assert device.tflops is None
    assert "not in gpus.csv" in device.source


def test_unified_memory_that_nvidia_smi_does_not_report_is_the_machines() -> None:
    device = detect(machine("GPU-cccc, NVIDIA GB10, [N/A], [N/A]\n"))
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


def stand_in(name: str, free_gib: int, count: int, hip: str | None = None) -> SimpleNamespace:
    """torch as far as detection asks it, with the answers of a machine that is not here."""
    backend = SimpleNamespace(
        is_available=lambda: count > 0,
        device_count=lambda: count,
        get_device_name=lambda index: name,
        mem_get_info=lambda index: (free_gib * GIB, 64 * GIB),
        get_device_capability=lambda index: (9, 0),
    )
    none = SimpleNamespace(is_available=lambda: False)
    cuda, npu = (none, backend) if "910" in name else (backend, none)
    return SimpleNamespace(cuda=cuda, npu=npu, version=SimpleNamespace(hip=hip))


def test_amd_gpus_are_found_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in("AMD Instinct MI210", 63, 4, hip="7.2"))
    device = detect(machine(None))
    assert (device.kind, device.count, device.bf16, device.capability) == ("rocm", 4, True, "gfx90a")
    assert device.usable_bytes == 63 * GIB


def test_of_unequal_gpus_that_torch_lists_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = stand_in("AMD Instinct MI210", 10, 2, hip="7.2")
    torch.cuda.mem_get_info = lambda index: ((10 + 40 * index) * GIB, 64 * GIB)
    monkeypatch.setitem(sys.modules, "torch", torch)
    device = detect(machine(None))
    assert (device.usable_bytes, device.in_a_group.usable_bytes) == (10 * GIB, 10 * GIB)
    assert "one run takes the first" in device.source


def test_ascend_npus_are_found_through_torch_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in("Ascend910B2", 60, 8))
    monkeypatch.setitem(sys.modules, "torch_npu", SimpleNamespace())
    device = detect(machine(None, modules=["torch_npu"]))
    assert (device.kind, device.name, device.count, device.usable_bytes) == ("npu", "Ascend910B2", 8, 60 * GIB)
    assert device.tflops == 313


def test_a_gpu_that_only_torch_knows_is_judged_by_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in("NVIDIA Z9000", 30, 1))
    device = detect(machine(None))
    assert (device.kind, device.bf16, device.capability, device.tflops) == ("cuda", True, "9.0", None)


def test_the_threads_a_run_may_use_are_the_least_of_cores_quota_and_environment() -> None:
    sixteen = {"/proc/cpuinfo": "processor\t: 0\n" * 16}
    assert machine(files=sixteen).threads() == 16
    assert machine(files=sixteen | {"/sys/fs/cgroup/cpu.max": "400000 100000\n"}).threads() == 4
    assert machine(files=sixteen, environment={"OMP_NUM_THREADS": "1"}).threads() == 1
    assert machine(files={}).threads() is None


def test_gpus_multiply_a_named_gpu_and_pick_among_those_at_hand() -> None:
    assert device_of("H20", 8).count == 8
    assert device_of(None, 2, machine(A100 * 4)).count == 2
    assert device_of(None, None, machine(A100 * 4)).count == 4


@pytest.mark.parametrize(
    ("name", "count", "answer", "message"),
    [
        (None, 8, A100 * 4, "--gpus 8: this machine shows 4"),
        ("Apple M4 Max 128GB", 2, None, "is one device"),
    ],
)
def test_more_gpus_than_there_can_be_are_a_usage_error(
    name: str | None, count: int, answer: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        device_of(name, count, machine(answer))


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
