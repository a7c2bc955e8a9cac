"""What a licence check costs: whole-process CPU time, beside importing click and yaml, in one run.

    python benchmarks/startup.py [--rounds 21]

Prints the medians and their ratio; ends with 1 when a ratio is above its bound. Rounds alternate, so that whatever else
the machine does touches both sides.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = [sys.executable, "-c", "import click, yaml"]
TK = [sys.executable, "-m", "toolkit"]
USE = ["--distribution", "internal", "--commercial"]
COMMANDS = {
    "license-check of a hub id": ([*TK, "license-check", "Qwen/Qwen2.5-7B-Instruct", *USE, "--offline"], 2.5),
    "license-check of a folder": ([*TK, "license-check", "embedded:qwen2", *USE], 2.5),
}


def cpu_seconds(command: list[str], env: dict[str, str]) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as caches:
        env = {**os.environ, "HF_HOME": caches, "TK_CACHE": caches}
        cpu_seconds(BASELINE, env)
        for command, _ in COMMANDS.values():
            cpu_seconds(command, env)  # bytecode is compiled once, as an installed package has it
        times: dict[str, list[float]] = {name: [] for name in ("baseline", *COMMANDS)}
        for _ in range(rounds):
            times["baseline"].append(cpu_seconds(BASELINE, env))
            for name, (command, _) in COMMANDS.items():
                times[name].append(cpu_seconds(command, env))
    baseline = statistics.median(times["baseline"])
    print(f"{'import click, yaml':28} {baseline * 1000:6.1f} ms")
    worst = 0
    for name, (_, bound) in COMMANDS.items():
        median = statistics.median(times[name])
        ratio = median / baseline
        print(f"{name:28} {median * 1000:6.1f} ms   {ratio:.2f} x (bound {bound})")
        worst |= ratio > bound
    return int(worst)


if __name__ == "__main__":
    raise SystemExit(main())
