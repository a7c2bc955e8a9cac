"""tk's training beside TRL's and a loop written by hand: same base, rows, adapter, order and device, alternating.

    python benchmarks/training.py [--rounds 5] [--output benchmarks/results/training.json]
    python benchmarks/training.py --isa avx2           as on a CPU without native bfloat16
    python benchmarks/training.py --device cuda        random weights of real shapes, model FLOPs utilisation

Prints tokens a second (of the rows, padding left out) and ratios of the rounds' medians; ends with 1 when tk misses a
bound or a loss differs. Ratios on a CPU are of the process's CPU time, which other processes hardly touch.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from contenders import SIDES, Outcome, Workload, skewed_rows, unsloth  # noqa: E402

from toolkit.planning.gpu import named  # noqa: E402
from toolkit.planning.plan import make_plan  # noqa: E402
from toolkit.planning.recipe import Recipe  # noqa: E402
from toolkit.planning.recipe_values import AdapterSettings, DataSettings, TrainSettings  # noqa: E402
from toolkit.planning.shape import Shape, read_shape  # noqa: E402
from toolkit.training.settings import Settings, settings_of  # noqa: E402

# How many times tk's time each side must take. TRL as shipped trains in bfloat16: a CPU that has instructions for it
# multiplies three times as fast as in float32, one that has none six times as slowly, and the tenfold is for the latter.
BOUNDS = {"TRL, sane settings": 2.0, "TRL as shipped": 10.0, "hand-tuned loop": 0.97}
NATIVE_BFLOAT16_BOUNDS = {**BOUNDS, "TRL as shipped": 2.0}
GPU_BOUNDS = {"TRL as shipped": 2.0, "Unsloth": 1.0}

# Of the mean loss, relative: rounding in float32, and what bfloat16 changes.
LOSS_TOLERANCE = {"TRL as shipped": 2e-2, "Unsloth": 2e-2}
EXACT_TOLERANCE = 1e-4

MIDDLE = {
    "model_type": "qwen2",
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 24576,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
ON_A_GPU = ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-7B", "meta-llama/Llama-3.1-8B")
# Dense 16-bit FLOP/s as their makers state them (no sparsity), for the utilisation.
GPU_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


def workloads(asked: argparse.Namespace) -> Iterator[tuple[Workload, Shape]]:
    """The bases with their rows; sizes are such that a round takes minutes on one core."""
    if asked.device == "cuda":
        from toolkit.planning.bases import known_shape
        from toolkit.planning.configuration import config_fields

        for name in asked.base or ON_A_GPU:
            shape = known_shape(name)
            assert shape is not None, name
            yield workload(name, config_fields(shape), shape, asked, count=64, longest=2048), shape
        return
    from toolkit.licensing.library import library
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import Access, resolve

    snapshot = resolve(parse_reference("embedded:qwen2"), Access(library(), offline=True))
    small = read_shape(snapshot.config or {})
    if not asked.base or "embedded" in asked.base:
        yield workload("embedded:qwen2", snapshot.local_folder(), small, asked, count=64, longest=512), small
    middle = read_shape(MIDDLE)
    if not asked.base or "middle" in asked.base:
        name = f"qwen2 of {middle.parameters / 1e6:.0f} M parameters"
        yield workload(name, dict(MIDDLE), middle, asked, count=64, longest=1024, batch=8), middle


def workload(
    name: str,
    base: Path | dict[str, object],
    shape: Shape,
    asked: argparse.Namespace,
    *,
    count: int,
    longest: int,
    batch: int = 16,
) -> Workload:
    ids, labels = skewed_rows(count, shape.vocab, longest, seed=asked.seed)
    return Workload(name, base, ids, labels, settings(shape, asked, longest, batch))


def settings(shape: Shape, asked: argparse.Namespace, longest: int, batch: int) -> Settings:
    """What `tk plan` chooses on this device for a recipe that says no more than it must."""
    recipe = Recipe(
        base="benchmark",
        data=DataSettings("rows.jsonl", license="own"),
        output="run",
        path="benchmark.yaml",
        adapter=AdapterSettings(type="lora"),
        train=replace(
            TrainSettings(),
            batch_size=batch,
            max_steps=asked.steps,
            max_length=longest,
            learning_rate=2e-3,
            scheduler="constant",
            warmup=0.0,
            seed=asked.seed,
        ),
    )
    if asked.device == "cuda":
        from toolkit.planning.detect import detect

        device = detect()
    else:
        device = named("cpu")
    return settings_of(recipe, make_plan(recipe, shape, device).choices, device.kind)


def compare(work: Workload, sides: dict[str, object], rounds: int) -> dict[str, list[Outcome]]:
    """`rounds` rounds, each with every side once, in turns from the front and from the back."""
    found: dict[str, list[Outcome]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, side in list(sides.items())[:: 1 if number % 2 else -1]:
            outcome = side(work)  # type: ignore[operator]
            print(f"{work.name}, round {number}: {name} {outcome.cpu_seconds:.2f} s CPU", file=sys.stderr)
            found[name].append(outcome)
    return found


def summary(work: Workload, shape: Shape, found: dict[str, list[Outcome]], device: str) -> dict[str, dict[str, float]]:
    """Of each side: tokens a second, how many times as long as tk it takes, and its loss beside tk's."""
    from contenders import order_of

    order = order_of(work)
    drawn = [order[index % len(order)] for index in range(work.batch_size, work.steps * work.batch_size)]
    tokens = sum(len(work.input_ids[index]) for index in drawn)
    median = {
        name: statistics.median(seconds(outcome, device) for outcome in outcomes) for name, outcomes in found.items()
    }
    rows = {}
    for name, outcomes in found.items():
        ratios = [
            seconds(mine, device) / seconds(ours, device) for mine, ours in zip(outcomes, found["tk"], strict=True)
        ]
        mine, ours = outcomes[0].losses, found["tk"][0].losses
        rows[name] = {
            "seconds": round(median[name], 3),
            "wall_seconds": round(statistics.median(outcome.wall_seconds for outcome in outcomes), 3),
            "tokens_per_second": round(tokens / median[name], 1),
            "times_tk": round(median[name] / median["tk"], 3),
            "times_tk_least": round(min(ratios), 3),
            "times_tk_most": round(max(ratios), 3),
            "mean_loss": round(statistics.mean(mine), 6),
            "loss_difference": max(abs(a / b - 1) for a, b in zip(mine, ours, strict=True)),
        }
        if device == "cuda":
            rows[name]["model_flops_utilisation"] = round(utilisation(shape, tokens / median[name]), 4)
    return rows


def seconds(outcome: Outcome, device: str) -> float:
    return outcome.wall_seconds if device == "cuda" else outcome.cpu_seconds


def utilisation(shape: Shape, tokens_per_second: float) -> float:
    """Model FLOPs utilisation of LoRA without recomputation: 4 operations a weight and token, no weight gradients."""
    import torch

    name = torch.cuda.get_device_name(0)
    peak = next((rate for part, rate in GPU_FLOPS.items() if part in name), float("nan"))
    return 4 * shape.parameters * tokens_per_second / peak


def has_native_bfloat16(asked: argparse.Namespace) -> bool:
    import torch

    return asked.isa == "native" and torch.cpu._is_avx512_bf16_supported()


def bounds_of(asked: argparse.Namespace) -> dict[str, float]:
    if asked.device == "cuda":
        return GPU_BOUNDS
    return NATIVE_BFLOAT16_BOUNDS if has_native_bfloat16(asked) else BOUNDS


def misses(name: str, rows: dict[str, dict[str, float]], bounds: dict[str, float]) -> Iterator[str]:
    """In words, every bound that a base's figures do not meet."""
    for side, bound in bounds.items():
        if side in rows and rows[side]["times_tk"] < bound:
            yield f"{name}: {side} takes {rows[side]['times_tk']:.2f} times tk's time, not {bound}"
    for side, row in rows.items():
        if row["loss_difference"] > LOSS_TOLERANCE.get(side, EXACT_TOLERANCE):
            yield f"{name}: the loss of {side} differs by {row['loss_difference']:.1e}"


def machine(asked: argparse.Namespace) -> dict[str, object]:
    import torch

    names = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
    facts: dict[str, object] = {name: importlib.metadata.version(name) for name in names}
    facts |= {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    facts |= {"cpu": cpu_name(), "threads": torch.get_num_threads(), "isa": asked.isa}
    facts["native_bfloat16"] = has_native_bfloat16(asked)
    facts["load_average"] = os.getloadavg()[0]
    if asked.device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(0)
    return facts


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def as_on(isa: str) -> None:
    """Start this process again with the instructions of an older CPU, which libraries read when they are loaded."""
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    if isa == "avx2" and os.environ.get("ONEDNN_MAX_CPU_ISA") != "AVX2":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--isa", choices=("native", "avx2"), default="native")
    parser.add_argument("--base", action="append", help="embedded or middle; with --device cuda a hub id (repeatable)")
    parser.add_argument("--side", action="append", choices=list(SIDES), help="this side beside tk (repeatable)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch; ratios of CPU time are exact with one")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, help="add the figures to this JSON file")
    asked = parser.parse_args()
    as_on(asked.isa)
    warnings.filterwarnings("ignore")
    from toolkit.training import environment

    environment.prepare()
    import torch

    torch.set_num_threads(asked.threads)
    sides: dict[str, object] = {
        name: side for name, side in SIDES.items() if name == "tk" or name in (asked.side or SIDES)
    }
    if asked.device == "cuda" and importlib.util.find_spec("unsloth"):
        sides["Unsloth"] = unsloth
    bases, wrong = {}, []
    with tempfile.TemporaryDirectory() as folder, environment.quiet_libraries(Path(folder) / "log.txt"):
        for work, shape in workloads(asked):
            found = compare(work, sides, asked.rounds)
            bases[work.name] = summary(work, shape, found, asked.device)
            wrong += misses(work.name, bases[work.name], bounds_of(asked))
    for name, rows in bases.items():
        print(f"\n{name:24} {'tokens/s':>9} {'times tk':>9} {'(range)':>15} {'mean loss':>10} {'difference':>11}")
        for side, row in rows.items():
            spread = f"{row['times_tk_least']:.2f}-{row['times_tk_most']:.2f}"
            print(
                f"  {side:22} {row['tokens_per_second']:9.0f} {row['times_tk']:9.2f} {spread:>15} "
                f"{row['mean_loss']:10.4f} {row['loss_difference']:11.1e}"
                + (f"   MFU {row['model_flops_utilisation']:.1%}" if "model_flops_utilisation" in row else "")
            )
    if asked.output:
        entry = {"machine": machine(asked), "rounds": asked.rounds, "steps": asked.steps, "bases": bases}
        known = json.loads(asked.output.read_text()) if asked.output.exists() else {}
        key = "cuda" if asked.device == "cuda" else asked.isa
        asked.output.write_text(json.dumps({**known, key: entry}, indent=1) + "\n", encoding="utf-8")
    print("\n" + "\n".join(wrong or ["every bound is met"]))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
