"""A finished run in a few lines: what was learnt, what it cost, where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli.plan_text import size
from toolkit.errors import TkError
from toolkit.release.evaluated import gate_words, scores, unmet

if TYPE_CHECKING:
    from toolkit.training.resume_proof import ResumeProof


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
        before, after = scores(record, "before"), scores(record, "after")
        lines += [_score_line(name, before.get(name), after.get(name), evaluation) for name in after]
        lines += gate_lines(record)
    return "\n".join(
        [*lines, "", f"The run lies in {run}. Next: tk chat {run}, tk card {run}, tk release {run} --to FOLDER"]
    )


def gate_lines(record: Mapping[str, Any]) -> list[str]:
    """What the recipe requires of the evaluation, each with its figures."""
    gate = (record.get("evaluation") or {}).get("gate")
    if not gate:
        return []
    outcome = "met" if gate["passed"] else "NOT met"
    marks = {True: "ok", False: "!!"}
    return ["", f"required by the recipe: {outcome}"] + [
        f"  {marks[bool(item['passed'])]}  {gate_words(item)}" for item in gate["requirements"]
    ]


def refuse_unmet(record: Mapping[str, Any], run: Path) -> None:
    """Raise TkError where the evaluation is not what the recipe requires."""
    if failed := unmet(record):
        hint = "train with other settings; the record and the adapter are kept, and tk release refuses this run"
        raise TkError(f"the run does not meet what its recipe requires: {'; '.join(failed)}", where=str(run), hint=hint)


def resume_text(proof: ResumeProof) -> str:
    """Both ways side by side."""
    lines = [f"{'step':>6}{'in one go':>14}{'killed, resumed':>18}"]
    for step, (one, other) in enumerate(zip(proof.whole_losses, proof.resumed_losses, strict=True), 1):
        lines.append(f"{step:>6}{one:>14.6f}{other:>18.6f}")
    lines += [
        f"adapter  {proof.whole_sha256[:16]}… in one go",
        f"         {proof.resumed_sha256[:16]}… killed in step 3 and resumed",
    ]
    if proof.exact:
        return "\n".join([*lines, "Exact: a stopped run of this recipe goes on to the same adapter, bit for bit."])
    said = "within what this device's order of sums explains" if proof.holds else "not the same run"
    return "\n".join([*lines, f"The largest difference of a weight is {proof.largest_difference:.3g}: {said}."])


def _score_line(name: str, before: float | None, after: float | None, evaluation: Mapping[str, Any]) -> str:
    if name == "exact_match" and before is not None and after is not None:
        said = f"  exact, of {evaluation['generated']}"
        return f"{said:24}{before:>10.0%}{after:>10.0%}"
    return f"  {name:22}{_figure(before):>10}{_figure(after):>10}"


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
