"""The run record as a value: everything that a card or a bill of materials will be made from, and nothing read twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toolkit
from toolkit.files.digests import FileDigest, sha256_file
from toolkit.training.data import TrainingData
from toolkit.training.data_report import data_facts
from toolkit.training.fit import Trained
from toolkit.training.methods import Rows
from toolkit.training.settings import Settings
from toolkit.training.start import Start
from toolkit.training.stream_rows import StreamedRows


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run found out, beside the papers it was given."""

    started: str  # ISO 8601, UTC
    finished: str
    wall_seconds: float
    base_files: Mapping[str, FileDigest]
    base_parameters: int
    licenses: Sequence[Mapping[str, str]]
    adapter_files: Mapping[str, FileDigest]
    adapted_modules: Sequence[str]
    saved_ranks: Sequence[int]
    trainable_parameters: int
    peak_memory_bytes: int
    baseline_memory_bytes: int
    versions: Mapping[str, str]
    hardware: Mapping[str, object]
    notes: Sequence[str]
    template: Mapping[str, object]


def build_record(
    papers: Mapping[str, Any],
    recipe: Any,
    plan: Any,
    snapshot: Any,
    settings: Settings,
    data: TrainingData,
    encoded: Rows | StreamedRows,
    trained: Trained,
    evaluation: Mapping[str, object] | None,
    facts: Facts,
) -> dict[str, object]:
    """The record of a finished run (schema `tk/run/1`). `papers` are the verdict and the permit as JSON."""
    flops, formula = training_flops(plan.shape, settings, trained, encoded.loss_tokens)
    record: dict[str, object] = {
        "schema": "tk/run/1",
        "id": run_id(facts.started, recipe.sha256),
        "started": facts.started,
        "finished": facts.finished,
        "tool": {"name": "tk", "version": toolkit.__version__},
        "recipe": {"path": recipe.path, "sha256": recipe.sha256, "resolved": recipe.to_json()},
        "plan": plan.to_json(),
        "verdict": papers["verdict"],
        "permit": papers["permit"],
        "use": recipe.use.to_json(),
        "base": {
            "id": snapshot.id,
            "revision": snapshot.revision,
            "source": snapshot.source,
            "files": {name: digest.to_json() for name, digest in facts.base_files.items()},
            "parameters": facts.base_parameters,
        },
        "licenses": list(facts.licenses),
        "data": data_facts(recipe, data, encoded, facts.template),
        "seed": settings.seed,
        "versions": dict(facts.versions),
        "hardware": dict(facts.hardware),
        "adapter": {
            "type": settings.adapter,
            "rank": settings.rank,
            "saved_rank": max(facts.saved_ranks),  # twice the rank where the adapter began as a part of the base
            "ranks": {"least": min(facts.saved_ranks), "most": max(facts.saved_ranks)},
            "alpha": settings.alpha,
            "dora": settings.dora,
            "rslora": settings.rslora,
            "init": settings.init,
            "lora_plus_ratio": settings.lora_plus_ratio,
            "new_tokens": list(settings.new_tokens),
            "target_modules": list(settings.targets),
            "adapted_modules": len(facts.adapted_modules),
            "trainable_parameters": facts.trainable_parameters,
            "files": {name: digest.to_json() for name, digest in facts.adapter_files.items()},
        },
        "metrics": {
            "train_loss": trained.mean_loss,
            "first_loss": trained.first_loss,
            "last_loss": trained.last_loss,
            "steps": trained.steps,
            "epochs": trained.epochs,
            "tokens_seen": trained.tokens,
            "train_seconds": trained.seconds,
            "wall_seconds": facts.wall_seconds,
            "tokens_per_second": tokens_per_second(trained),
            "peak_memory_bytes": facts.peak_memory_bytes,
            "baseline_memory_bytes": facts.baseline_memory_bytes,
            "planned_peak_bytes": plan.memory.peak_bytes,
            "flops": flops,
            "flops_formula": formula,
            "resumed_from_step": trained.resumed_from,
        },
        "memory": memory_facts(plan, encoded, facts.peak_memory_bytes - facts.baseline_memory_bytes),
        "notes": list(facts.notes),
    }
    if evaluation is not None:
        record["evaluation"] = evaluation
    if trained.loss_tokens is not None:
        record["data"]["loss_tokens"] = trained.loss_tokens  # type: ignore[index]
    return record


def add_lineage(record: dict[str, Any], start: Start | None, rewards: Mapping[str, str]) -> None:
    """Write down what else the adapter descends from: an earlier run's adapter with its data, and the files of reward
    functions, which the run executed."""
    if start is not None:
        record["adapter"]["start"] = start.to_json()
    if rewards:
        record["rewards"] = [{"function": name, "sha256": digest} for name, digest in rewards.items()]


def run_id(started: str, recipe_sha256: str) -> str:
    """The name of a run that no other has: when it began (UTC) and the recipe's digest."""
    return f"{started.replace('-', '').replace(':', '')[:15]}-{recipe_sha256[:8]}"


def memory_facts(plan: Any, encoded: Rows | StreamedRows, measured_bytes: int) -> dict[str, object]:
    """Planned and measured peak side by side, the plan's once for rows of max_length and once for the longest row that
    there was. The latter is what was measured, so `error_percent` compares the two: above zero where more was needed.

    `measured_bytes` leave out what the process held before the base was loaded (on a CPU: Python and its libraries).
    What is resident includes the evaluation and what libraries keep for themselves; a plan counts a step's tensors.
    """
    longest = encoded.longest
    planned = plan.peak_bytes_at(longest)
    return {
        "planned_peak_bytes": plan.memory.peak_bytes,
        "longest_row_tokens": longest,
        "planned_peak_bytes_of_longest_row": planned,
        "measured_peak_bytes": measured_bytes,
        "measured": "allocated" if plan.device.kind in ("cuda", "rocm") else "resident",
        "error_percent": round(100 * (measured_bytes / planned - 1), 2),
    }


def training_flops(shape: Any, settings: Settings, trained: Trained, loss_tokens: int) -> tuple[float, str]:
    """Floating-point operations of the matrix products of training, and the formula as words.

    A product costs 2 operations a weight and token forwards and 2 backwards for the input's gradient; frozen weights
    need no gradient of their own, the adapter's do. Recomputing activations adds a forward pass. Attention scores,
    norms and dequantisation are left out.
    """
    weights = shape.linear_parameters
    if shape.experts is not None:
        weights += shape.fused_expert_parameters * shape.experts.per_token // shape.experts.count
    passes = 6 if settings.checkpointing else 4
    scored = trained.loss_tokens if trained.loss_tokens is not None else loss_tokens * trained.epochs
    head = shape.vocab * shape.hidden
    adapter = shape.active_adapter_parameters(settings.rank, settings.targets)
    flops = passes * weights * trained.tokens + 4.0 * head * scored + 6.0 * adapter * trained.tokens
    formula = (
        f"{passes} x active matrix weights x tokens + 4 x head weights x loss tokens + "
        "6 x active adapter weights x tokens"
    )
    if trained.forward_tokens:
        flops += 2.0 * (weights + adapter) * trained.forward_tokens
        formula += " + 2 x active weights x tokens read without gradient (reference, sampling)"
    return float(flops), formula


def tokens_per_second(trained: Trained) -> float:
    """Tokens a second of this session: what was done before a resume is not counted."""
    share = 1 - (trained.resumed_from or 0) / trained.steps if trained.steps else 0.0
    return trained.tokens * share / trained.seconds if trained.seconds else 0.0


def digests_of(folder: Path, prefix: str) -> dict[str, FileDigest]:
    """Digest of each file directly in `folder`, named `prefix/file`."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {f"{prefix}/{path.name}": FileDigest(sha256_file(path), path.stat().st_size) for path in files}
