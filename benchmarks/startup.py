"""What a licence check and a plan cost: whole-process CPU time, beside importing click and yaml, in one run.

    python benchmarks/startup.py [--rounds 21]

Prints the medians, their ratios and the peak memory; ends with 1 when one is above its bound. Rounds alternate, so that
whatever else the machine does touches both sides. A lineage is a chain of cards in a hub cache, the last of them naming
a model of the catalogue.
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
CHECK = [*TK, "license-check"]
COMMANDS = {
    "license-check of a hub id": [*CHECK, "Qwen/Qwen2.5-7B-Instruct", *USE, "--offline"],
    "license-check of a folder": [*CHECK, "embedded:qwen2", *USE],
    "lineage of depth 1": [*CHECK, "acme/depth-1", *USE, "--offline"],
    "lineage of depth 5": [*CHECK, "acme/depth-5", *USE, "--offline"],
}
PLAN = {"plan": [*TK, "plan", "recipes/qwen-lora.yaml", "--gpu", "24GiB", "--offline"]}
BOUND = 2.5  # times importing click and yaml
PLAN_BOUND = 5.0
DEPTH_BOUND = 1.2  # depth 5 beside depth 1
MEMORY_BOUND_MIB = 60


def cpu_seconds(command: list[str], env: dict[str, str]) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_lineage(hub: Path) -> None:
    """`acme/depth-N` descends from `acme/depth-(N-1)` and so on to a model of the catalogue."""
    for depth in range(1, 6):
        store = hub / f"models--acme--depth-{depth}"
        snapshot = store / "snapshots" / "main"
        snapshot.mkdir(parents=True)
        base = f"acme/depth-{depth - 1}" if depth > 1 else "Qwen/Qwen2.5-7B"
        body = "\n".join(f"Line {line} of what cards say about training and evaluation." for line in range(60))
        card = f"---\nlicense: apache-2.0\nbase_model: {base}\ntags:\n- text-generation\n---\n# Model\n\n{body}\n"
        (snapshot / "README.md").write_text(card)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as caches:
        make_lineage(Path(caches) / "hub")
        env = {**os.environ, "HF_HOME": caches, "TK_CACHE": caches}
        commands = {"import click, yaml": BASELINE, **COMMANDS, **PLAN}
        for command in commands.values():
            cpu_seconds(command, env)  # bytecode is compiled once, as an installed package has it
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(cpu_seconds(command, env))
    medians = {name: statistics.median(values) for name, values in times.items()}
    baseline = medians["import click, yaml"]
    worst = False
    for name, median in medians.items():
        bound = PLAN_BOUND if name in PLAN else BOUND
        print(f"{name:28} {median * 1000:6.1f} ms   {median / baseline:.2f} x (bound {bound})")
        worst |= median / baseline > bound
    deeper = medians["lineage of depth 5"] / medians["lineage of depth 1"]
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"depth 5 beside depth 1: {deeper:.2f} x (bound {DEPTH_BOUND})")
    print(f"peak memory of the largest process: {peak_mib:.0f} MiB (bound {MEMORY_BOUND_MIB})")
    return int(worst or deeper > DEPTH_BOUND or peak_mib > MEMORY_BOUND_MIB)


if __name__ == "__main__":
    raise SystemExit(main())
