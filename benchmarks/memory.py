"""The closed form of `tk plan` beside the traced peak: bases, adapters, lengths, batches, checkpointing, losses.

    python benchmarks/memory.py [--quick] [--output benchmarks/results/memory.json]
    python benchmarks/memory.py --device cuda

Without a device every point is traced on fake tensors (about a second each) and nothing needs a GPU. With one, real
steps with random weights of real shapes run there, and the closed form is compared with what the allocator counted.
Ends with 1 when the errors are above their bounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from toolkit.planning.bases import known_shape  # noqa: E402
from toolkit.planning.configuration import config_fields  # noqa: E402
from toolkit.planning.estimates import MemoryEstimate  # noqa: E402
from toolkit.planning.memory import estimate  # noqa: E402
from toolkit.planning.shape import Shape  # noqa: E402
from toolkit.training.tracing.demand import settings_for  # noqa: E402

BASES = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-30B-A3B",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "mistralai/Mistral-7B-v0.3",
    "mistralai/Mistral-Nemo-Base-2407",
    "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek-ai/DeepSeek-V3",
)
ROWS = ((1, 512), (8, 512), (4, 1024), (1, 2048), (4, 2048), (2, 4096), (1, 8192), (8, 8192))  # batch, length
QUICK = ("Qwen/Qwen2.5-0.5B", "meta-llama/Llama-3.1-8B", "deepseek-ai/DeepSeek-V2-Lite")
ON_A_GPU = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-7B",
    "meta-llama/Llama-3.1-8B",
    "deepseek-ai/DeepSeek-V2-Lite",
)
RANK = 16

# Per cent, the median's and the worst's absolute value: against traces, and against a GPU.
BOUNDS = {"trace": (0.05, 0.5), "cuda": (3.0, 8.0)}


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration; all in bfloat16 with a float32 adapter on every matrix that gets one by default."""

    base: str
    adapter: str
    checkpointing: bool
    loss: str
    batch: int
    length: int

    def settings(self) -> dict[str, object]:
        """As `toolkit.planning.memory.estimate` takes them."""
        return {
            "adapter": self.adapter,
            "rank": RANK,
            "targets": shape_of(self.base).linear_targets(),
            "batch": self.batch,
            "length": self.length,
            "checkpointing": self.checkpointing,
            "dtype": "bfloat16",
            "loss": self.loss,
            "masked": self.batch > 1,
            "device_kind": "cuda",
        }


def shape_of(base: str) -> Shape:
    shape = known_shape(base)
    assert shape is not None, base
    return shape


def points(bases: tuple[str, ...], rows: tuple[tuple[int, int], ...], losses: tuple[str, ...]) -> Iterator[Point]:
    for base, adapter, checkpointing, loss, (batch, length) in itertools.product(
        bases, ("lora", "qlora"), (True, False), losses, rows
    ):
        yield Point(base, adapter, checkpointing, loss, batch, length)


def traced(point: Point) -> MemoryEstimate:
    from toolkit.training.tracing.trace import Options, trace

    settings = settings_for(**point.settings())  # type: ignore[arg-type]
    return trace(config_fields(shape_of(point.base)), settings, Options(loss=point.loss))


def compare(chosen: list[Point], judge: str) -> list[dict[str, object]]:
    """A row for each point: bytes and moments of both, and the closed form's error in per cent."""
    rows = []
    for number, point in enumerate(chosen, 1):
        begun = time.perf_counter()
        if judge == "trace":
            truth = traced(point)
        else:
            from toolkit.training.tracing.measure import measured

            settings = settings_for(**point.settings())  # type: ignore[arg-type]
            found = measured(config_fields(shape_of(point.base)), settings)
            if found is None:
                print(f"[{number}/{len(chosen)}] {point}: does not fit here", file=sys.stderr)
                continue
            truth = found
        form = estimate(shape_of(point.base), **point.settings())  # type: ignore[arg-type]
        error = 100 * (form.peak_bytes / truth.peak_bytes - 1)
        rows.append(
            {
                **asdict(point),
                "peak_bytes": truth.peak_bytes,
                "moment": truth.moment,
                "closed_form_bytes": form.peak_bytes,
                "closed_form_moment": form.moment,
                "error_percent": round(error, 4),
                "seconds": round(time.perf_counter() - begun, 2),
            }
        )
        if number % 16 == 0 or abs(error) > BOUNDS[judge][1]:
            print(f"[{number}/{len(chosen)}] {error:+.3f} % {point} {truth.moment} | {form.moment}", file=sys.stderr)
    return rows


def summary(rows: list[dict[str, object]]) -> dict[str, float]:
    errors = sorted(abs(float(str(row["error_percent"]))) for row in rows)
    return {
        "points": len(errors),
        "median_percent": round(statistics.median(errors), 4),
        "p95_percent": round(errors[int(0.95 * (len(errors) - 1))], 4),
        "worst_percent": errors[-1],
    }


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    yield f"{'base':34} {'points':>6} {'median':>8} {'p95':>8} {'worst':>8}   absolute error of the closed form, %"
    groups = {str(row["base"]): [] for row in rows}  # type: dict[str, list[dict[str, object]]]
    for row in rows:
        groups[str(row["base"])].append(row)
    for name, members in [*groups.items(), ("all", rows)]:
        found = summary(members)
        figures = " ".join(f"{found[key]:8.3f}" for key in ("median_percent", "p95_percent", "worst_percent"))
        yield f"{name:34} {len(members):6} {figures}"


def machine(judge: str) -> dict[str, object]:
    names = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")
    facts: dict[str, object] = {name: importlib.metadata.version(name) for name in names}
    facts |= {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    if judge == "cuda":
        import torch

        facts["gpu"] = torch.cuda.get_device_name(0)
    return facts


def write(path: Path, head: dict[str, object], rows: list[dict[str, object]]) -> None:
    """As JSON with a line for every point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f'{json.dumps(head)[:-1]}, "points": [\n{lines}\n]}}\n', encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three bases and three shapes of micro-batch")
    parser.add_argument("--device", choices=("cuda",), help="run real steps there instead of traces")
    parser.add_argument("--base", action="append", help="only this base (repeatable)")
    parser.add_argument("--output", type=Path, help="write every point as JSON")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    judge = asked.device or "trace"
    bases = tuple(asked.base or (QUICK if asked.quick else ON_A_GPU if judge == "cuda" else BASES))
    losses = ("chunked",) if judge == "cuda" else ("chunked", "logits")
    rows = compare(list(points(bases, ROWS[1:5:3] + ROWS[6:7] if asked.quick else ROWS, losses)), judge)
    if not rows:
        print("no point fits on this device", file=sys.stderr)
        return 1
    print("\n".join(table(rows)))
    found = summary(rows)
    if asked.output:
        write(asked.output, {"judge": judge, "machine": machine(judge), "summary": found}, rows)
    median, worst = BOUNDS[judge]
    return int(found["median_percent"] > median or found["worst_percent"] > worst)


if __name__ == "__main__":
    raise SystemExit(main())
