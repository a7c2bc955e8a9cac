"""The machine that detection looks at: commands, files, modules and the environment, each replaceable by a recording."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TIMEOUT_SECONDS = 10


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


def _nvml() -> str | None:
    from toolkit.planning.nvml import answer

    return answer()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where detection looks: how commands run, files are read and modules are found, the environment, and NVIDIA's
    management library.

    Tests give recorded answers; `Machine()` is the machine this runs on.
    """

    run: Callable[[Sequence[str]], str | None] = _run
    read: Callable[[str], str | None] = _read
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    system: str = field(default_factory=platform.system)
    processor: str = field(default_factory=platform.machine)
    nvml: Callable[[], str | None] = _nvml

    def memory(self) -> tuple[int, int | None] | None:
        """Total and available main memory in bytes."""
        rows = {}
        for line in (self.read("/proc/meminfo") or "").splitlines():
            name, _, value = line.partition(":")
            amount = value.split()
            if amount and amount[0].isdecimal():
                rows[name] = int(amount[0]) * 1024
        if "MemTotal" in rows:
            return rows["MemTotal"], rows.get("MemAvailable")
        if self.system == "Darwin" and (text := (self.run(("sysctl", "-n", "hw.memsize")) or "").strip()).isdecimal():
            return int(text), None
        return None

    def cpu_facts(self, name: str) -> list[str]:
        """The values of one field of /proc/cpuinfo, one for each processor."""
        lines = (self.read("/proc/cpuinfo") or "").splitlines()
        return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name]

    def threads(self) -> int | None:
        """How many processors a run may keep busy: all, a container's share, or what OMP_NUM_THREADS says."""
        counts = [len(self.cpu_facts("processor"))]
        quota, _, period = (self.read("/sys/fs/cgroup/cpu.max") or "").strip().partition(" ")
        if quota.isdecimal() and period.isdecimal():
            counts.append(max(1, round(int(quota) / int(period))))
        if (asked := self.environment.get("OMP_NUM_THREADS", "")).isdecimal():
            counts.append(int(asked))
        return min(count for count in counts if count > 0) if counts[0] else None
