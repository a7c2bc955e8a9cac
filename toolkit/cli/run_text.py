"""A finished run in a few lines: what was learnt, what it cost, where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.cli.plan_text import size


def run_text(record: Mapping[str, Any], run: Path) -> str:
    """The run as a terminal shows it."""
    metrics, adapter, evaluation = record["metrics"], record["adapter"], record.get("evaluation")
    lines = [
        f"Trained {record['base']['id']} with {adapter['type']} (rank {adapter['rank']}, "
        f"{adapter['trainable_parameters']:,} parameters) in {metrics['train_seconds']:.0f} s: "
        f"{metrics['steps']} steps, {metrics['tokens_seen']:,} tokens, {metrics['tokens_per_second']:,.0f} tokens/s",
        memory_line(record),
    ]
    if evaluation:
        lines += ["", f"{'held-out rows: ' + str(evaluation['rows']):24}{'before':>10}{'after':>10}"]
        before, after = evaluation["before"], evaluation["after"]
        lines += [
            f"  {name:22}{_figure(before[name]):>10}{_figure(after[name]):>10}" for name in ("loss", "perplexity")
        ]
        if after.get("exact_match") is not None:
            said = f"  exact, of {evaluation['generated']}"
            lines.append(f"{said:24}{before['exact_match']:>10.0%}{after['exact_match']:>10.0%}")
    return "\n".join(
        [*lines, "", f"The run lies in {run}. Next: tk chat {run}, tk card {run}, tk release {run} --to FOLDER"]
    )


def memory_line(record: Mapping[str, Any]) -> str:
    """The measured peak beside the planned one, and how far they are apart."""
    memory = record.get("memory")
    if memory is None:  # a record made before 0.2 has the two figures alone
        metrics = record["metrics"]
        return (
            f"Memory: {size(metrics['peak_memory_bytes'])} at its peak, {size(metrics['planned_peak_bytes'])} planned"
        )
    measured, planned = size(memory["measured_peak_bytes"]), size(memory["planned_peak_bytes_of_longest_row"])
    words = f"{planned} planned for rows of {memory['longest_row_tokens']} tokens ({memory['error_percent']:+.1f} %)"
    longest = f"{size(memory['planned_peak_bytes'])} for the longest allowed"
    return f"Memory: {measured} {memory['measured']} at its peak, {words}; {longest}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
