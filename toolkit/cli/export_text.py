"""What a person reads of an export: how near it is to the model that was trained, and for whom it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.training.export.papers import Papers
    from toolkit.training.export.report import ExportReport

_MERGED = {"base": "merged into the base's own weights", "dequantised": "merged into the quantised base, dequantised"}


def export_text(report: ExportReport) -> str:
    """What was written, and the comparison."""
    paper = report.paper
    size = sum(entry["bytes"] for entry in paper["files"].values()) / 2**20
    base, files = paper["base"]["id"], len(paper["files"])
    if paper["kind"] == "adapter":
        return f"Wrote what serves the adapter on {base} to {report.folder}: {files} files, {size:.1f} MiB."
    method = paper["method"]
    written = f"GGUF, {method['quantization']}" if paper["kind"] == "gguf" else method["dtype"]
    head = f"Exported {base} with the adapter {_MERGED[method['merge']]} ({written})"
    return "\n".join([f"{head} to {report.folder}: {files} files, {size:.1f} MiB.", *_comparison(paper["comparison"])])


def after_text(report: ExportReport, papers: Papers, run: Path) -> Iterator[str]:
    """For stderr: who may get it, what is owed, and what to do next."""
    reach = papers.stays_inside
    if reach:
        yield f"The run was judged for {reach} use, which passes no weights on: keep this export inside."
        yield "To hand weights to others, state `use.distribution: weights` in the recipe and let the gate judge that."
    owed = [entry["id"] for entry in report.paper["obligations"]]
    if owed:
        yield f"Owed wherever it goes: {', '.join(dict.fromkeys(owed))}."
    if report.paper["kind"] == "adapter":
        yield f"Next: {report.folder}/serve.sh"
        return
    serving = " or serve.sh" if "serve.sh" in report.paper["files"] else ""
    yield f"Next: tk release {run} --export {report.folder} --to FOLDER{serving}"


def _comparison(comparison: dict[str, Any]) -> Iterator[str]:
    rows, loss, kl = comparison["rows"], comparison["loss"], comparison["kl"]
    yield ""
    yield f"rows: {rows['count']} ({rows['which']}), {rows['tokens']:,} tokens, computed in {comparison['computed_in']}"
    yield f"  {'':30} {'trained':>10}  {'exported':>10}"
    yield f"  {'loss':30} {loss['trained']:>10.5g}  {loss['exported']:>10.5g}"
    yield f"  {'KL(trained || exported)':30} {'':>10}  {kl['mean']:>10.2g} nats a token, at most {kl['largest']:.2g}"
    yield f"  {'same first choice':30} {'':>10}  {comparison['same_first_choice']:>10.1%}"
