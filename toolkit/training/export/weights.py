"""From a run to weights that stand alone: the trained model is measured, the adapter merged, the result measured again.

At no time are two models in memory. The result is read back from the files that were written, so that what is measured
is what others load.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.atomic import staged_folder
from toolkit.release.form import Form
from toolkit.release.record import text, whole
from toolkit.training import environment
from toolkit.training.export import comparing
from toolkit.training.export.papers import Papers, write_papers
from toolkit.training.export.report import ExportReport
from toolkit.training.export.serving import write_serving
from toolkit.training.progress import Event, Progress, silent
from toolkit.training.trained import bits_of, load_trained, require_base, trusts_remote_code

GGUF_OF = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}
_SPARE_BYTES = 2**28
_ROOM = 1.15  # a model takes more memory than its weights


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: faithful merging; GGUF, and how quantised (else in the base's own format); what serves the
    merged weights beside them; another file of rows to compare on; whether an earlier export may be replaced."""

    faithful: bool = False
    gguf: bool = False
    quantize: str | None = None
    serve: bool = False
    data: Path | None = None
    overwrite: bool = False
    offline: bool = False


def export_weights(
    run: Path, papers: Papers, base: Path, target: Path, wish: Wish, progress: Progress = silent
) -> ExportReport:
    """Write the weights of a run, merged, to the folder `target`, or leave nothing there. `base` is its base's folder.

    Raises TkError before anything is loaded when the base is another one, the disk or the memory is too small, the
    base's weights cannot be merged into, or its architecture has no GGUF.
    """
    from toolkit.training.export import merging

    record = papers.record
    stored = 4 if merging.stored_quantised(base) else None
    bits = (bits_of(record) or stored) if wish.faithful else None
    size = merging.merged_bytes(base)
    with staged_folder(target, overwrite=wish.overwrite) as staging:
        _require_room(staging, size, wish.gguf)
        progress(Event("base", f"checking the files of {papers.facts.base.name}"))
        require_base(base, record)
        dtype = _format(base, wish.faithful)
        with environment.quiet_libraries(Path(os.devnull)), _scratch(staging, target, wish.gguf) as scratch:
            rows = _rows(run, record, base, wish)
            progress(Event("base", "loading the model as it was trained"))
            device, computed = _where(record, size)
            trained = load_trained(run, base, record, device=device, dtype=computed)
            trained_loss = comparing.spool(trained.model, rows, scratch.spool, _reporter(progress, "trained"))
            tokenizer, stops = trained.tokenizer, trained.stops
            del trained
            merging.free_memory()

            progress(Event("base", "merging the adapter" + (" into the dequantised base" if bits else "")))
            trust = trusts_remote_code(record)
            model = merging.merged_model(run, base, dtype=dtype, bits=bits, device=device, trust_remote_code=trust)
            merging.save_merged(model, tokenizer, base, stops, scratch.merged)
            del model
            merging.free_memory()
            form = Form("merged", merge="dequantised" if bits else "base", dtype=dtype)
            if wish.gguf:
                from toolkit.training.export.gguf.writing import write_gguf

                form = replace(form, kind="gguf", quantization=wish.quantize or GGUF_OF[dtype])
                progress(Event("base", f"writing GGUF ({form.quantization})"))
                written = write_gguf(scratch.merged, staging, papers.facts, form, tokenizer, stops)
            exported = _load(scratch.merged, computed, device, trust)
            if wish.gguf:
                from toolkit.training.export.gguf.reading import take_weights

                take_weights(exported, written, scratch.merged)
            comparison = comparing.compare(
                exported, rows, scratch.spool, trained_loss, f"{computed} on {device}", _reporter(progress, "merged")
            )
            del exported
            merging.free_memory()
        if wish.serve:
            write_serving(staging, papers.facts, dtype)
        progress(Event("record", "writing its papers"))
        paper = write_papers(papers, form, comparison.to_json(), staging)
    return ExportReport(target, paper)


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Where the distributions wait, and where the merged weights lie: in the export itself, unless GGUF is made of them."""

    folder: Path
    merged: Path

    @property
    def spool(self) -> Path:
        return self.folder / "distributions"

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _scratch(staging: Path, target: Path, gguf: bool) -> _Scratch:
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    (folder / "merged").mkdir()
    return _Scratch(folder, folder / "merged" if gguf else staging)


def _format(base: Path, faithful: bool) -> str:
    from toolkit.training.export import merging

    if merging.stored_quantised(base):
        if not faithful:
            raise TkError(
                "the base comes in 4 bits, so there are no 16-bit weights to merge into",
                where=str(base),
                hint="--faithful dequantises it and merges then",
            )
        return "bfloat16"
    return merging.stored_format(base)


def _require_room(staging: Path, size: int, gguf: bool) -> None:
    """Disk for the weights (twice where GGUF is made of them) and the distributions; memory for one copy of them."""
    needed = size * (2 if gguf else 1) + min(comparing.SPOOL_BYTES, size) + _SPARE_BYTES
    free = shutil.disk_usage(staging).free
    if free < needed:
        text_ = f"the disk has {_gib(free)} free; the export needs {_gib(needed)}"
        raise TkError(text_, where=str(staging.parent), hint="name a folder on a larger disk with -o")
    available = environment.available_memory_bytes()
    if available is not None and available < size * _ROOM:
        text_ = f"{_gib(available)} of main memory are free; merging holds the whole base, {_gib(int(size * _ROOM))}"
        raise TkError(text_, hint="use a machine with more memory")


def _rows(run: Path, record: Any, base: Path, wish: Wish) -> comparing.Rows:
    """The rows to compare on; on the way, what cannot be written is known before a model is loaded."""
    from toolkit.training.base import load_tokenizer

    tokenizer = load_tokenizer(run / "adapter", trust_remote_code=trusts_remote_code(record))
    if wish.gguf:
        from toolkit.training.export.gguf.families import require_family
        from toolkit.training.export.gguf.vocabulary import require_tokenizer

        require_family(base)
        require_tokenizer(tokenizer)
    encoded, which = comparing.recipe_rows(record, tokenizer, wish.data, offline=wish.offline)
    return comparing.choose_rows(encoded, which, len(tokenizer))


def _where(record: Any, size: int) -> tuple[str, str]:
    """Device and number format to compare in: a GPU that holds the weights, in the run's own format; else the CPU, in
    float32 where that fits, because rounding in bfloat16 hides small divergences."""
    import torch

    trained_in = text(record, "plan.choices.dtype.value") or "float32"
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > size * _ROOM:
        return "cuda", trained_in
    parameters = whole(record, "base.parameters") or size // 2
    available = environment.available_memory_bytes()
    fits = available is None or available > 4 * parameters * _ROOM
    return "cpu", "float32" if fits else "bfloat16"


def _load(folder: Path, dtype: str, device: str, trust: bool) -> Any:
    from toolkit.training.base import load_base

    return load_base(folder, dtype=dtype, device=device, trust_remote_code=trust).eval()


def _reporter(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(Event(stage, "rows", done, total))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
