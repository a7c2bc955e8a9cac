"""What `tk export` left beside the weights it wrote (`export.json`), and whether those are still the ones it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InvalidInput, NotFulfilled, Problem, TkError
from toolkit.files.digests import sha256_file, sha256_json
from toolkit.release.form import FORMS, Form
from toolkit.release.record import Record, at, entries_of, is_inside, mapping, number, read_json, text

FILE = "export.json"
SCHEMA = "tk/export/1"


@dataclass(frozen=True, slots=True)
class Exported:
    """An export: its folder, the name it was made under, its form, and its files of weights, configuration and tokenizer
    by name → SHA-256."""

    folder: Path
    name: str
    form: Form
    files: Mapping[str, str]


def read_export(folder: Path, record: Record) -> Exported:
    """The export in `folder`, which must be of the run whose record is given. Its papers, which a release writes anew,
    are left out of `files`.

    Raises TkError for a folder that is no export or that of another run, NotFulfilled for a file that was changed.
    """
    path = folder / FILE
    if not path.is_file():
        hint = "name a folder that `tk export RUN --merge` or `--gguf` made"
        raise TkError(f"not an export: it has no {FILE}", where=str(folder), hint=hint)
    paper = read_json(path)
    kind = text(paper, "kind")
    if at(paper, "schema") != SCHEMA or kind not in FORMS or not mapping(paper, "files"):
        raise InvalidInput([Problem("schema", f"this version reads {SCHEMA!r} of weights", str(path))])
    if text(paper, "run.record_sha256") != sha256_json(record):
        message = f"was made from the run {text(paper, 'run.id')}, not from {at(record, 'id')}"
        raise TkError(message, where=str(folder), hint="export this run again")
    papers = {str(at(entry, "path")) for entry in entries_of(paper, "papers")}
    files = {name: str(at(entry, "sha256")) for name, entry in mapping(paper, "files").items() if name not in papers}
    for name, digest in files.items():
        if not is_inside(name) or not (folder / name).is_file():
            raise NotFulfilled("the export recorded this file and it is gone", where=str(folder / name))
        if sha256_file(folder / name) != digest:
            raise NotFulfilled(
                "this file was changed after the export", where=str(folder / name), hint="export the run again"
            )
    form = Form(
        kind,
        merge=text(paper, "method.merge"),
        dtype=text(paper, "method.dtype"),
        quantization=text(paper, "method.quantization"),
        kl=number(paper, "comparison.kl.mean"),
        paper_sha256=sha256_json(paper),
    )
    return Exported(folder, text(paper, "run.name") or "", form, files)
