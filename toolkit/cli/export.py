"""`tk export`: a run in the form that others load: merged weights, GGUF, or what a vLLM server needs."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import access, format_option, offline_option, print_json, run_argument
from toolkit.release.form import QUANTIZATIONS


@click.command("export")
@run_argument
@click.option("--merge", is_flag=True, help="The adapter merged into the base's own weights, as safetensors.")
@click.option("--gguf", is_flag=True, help="Merged, and written as one GGUF file for llama.cpp.")
@click.option("--vllm", is_flag=True, help="What vLLM needs to serve the adapter; with --merge, the merged weights.")
@click.option(
    "--faithful", is_flag=True, help="Merge into the quantised base, dequantised: the very model that was trained."
)
@click.option("--quantize", type=click.Choice(QUANTIZATIONS), help="For --gguf; the base's own format if left out.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Default: RUN/merged and so on."
)
@click.option("--overwrite", is_flag=True, help="Replace what the folder holds, once the new export is whole.")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to compare on, instead of the run's held-out rows.")
@offline_option
@format_option
def command(
    run: Path,
    merge: bool,
    gguf: bool,
    vllm: bool,
    faithful: bool,
    quantize: str | None,
    output: Path | None,
    overwrite: bool,
    data: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Export a run: merged weights, GGUF, or the files to serve it. Licence texts and NOTICE go with it.

    Nothing is ever merged into 4-bit weights. The exported model is compared with the one that was trained, on held-out
    rows: loss of both and the KL divergence are printed and stand in export.json.

    Exit code: 0 exported, 1 error, 3 the verdict of the run forbids it, 4 it needs a review.

    \b
    Examples:
      tk export runs/embedded-qwen-lora --merge
      tk export runs/embedded-qwen-lora --gguf --quantize q8_0 -o exports/support-q8
      tk export runs/embedded-qwen-lora --vllm
    """
    from toolkit.cli.export_text import after_text, export_text
    from toolkit.cli.progress import Progress
    from toolkit.errors import UsageError
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.release.record import read_record
    from toolkit.training.environment import prepare
    from toolkit.training.export.papers import papers_of
    from toolkit.training.export.serving import export_adapter_for_vllm
    from toolkit.training.export.weights import Wish, export_weights
    from toolkit.training.trained import base_reference

    if not (merge or gguf or vllm) or (gguf and (merge or vllm)):
        raise UsageError("say one of --merge, --gguf, --vllm, or --merge --vllm; --gguf merges by itself")
    if (quantize and not gguf) or (faithful and not (merge or gguf)):
        raise UsageError("--quantize goes with --gguf, and --faithful with --merge or --gguf")
    prepare()
    record = read_record(run)
    papers = papers_of(run, record)
    target = output or run / ("gguf" if gguf else "merged" if merge else "vllm")
    _refuse_taken(target, overwrite)
    snapshot = resolve(parse_reference(base_reference(record)), access(offline, weights=True))
    base = snapshot.local_folder()
    progress = Progress()
    try:
        if merge or gguf:
            wish = Wish(faithful, gguf, quantize, vllm, data, overwrite, offline)
            report = export_weights(run, papers, base, target, wish, progress)
        else:
            report = export_adapter_for_vllm(run, papers, base, target, overwrite=overwrite)
    finally:
        progress.close()
    if format_ == "json":
        print_json(report.to_json())
    else:
        click.echo(export_text(report))
    for line in after_text(report, papers, run):
        click.echo(line, err=True)


def _refuse_taken(target: Path, overwrite: bool) -> None:
    """Before anything slow begins."""
    from toolkit.errors import TkError

    if target.exists() and not target.is_dir():
        raise TkError("is not a folder", where=str(target), hint="name a folder with -o")
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise TkError(
            "already exists and is not empty", where=str(target), hint="pass --overwrite, or name another: -o"
        )
