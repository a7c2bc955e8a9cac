"""What goes with exported weights: licence texts, NOTICE, and `export.json`, which says what was made from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import toolkit
from toolkit.errors import TkError
from toolkit.files.atomic import write_bytes, write_json, write_text
from toolkit.files.digests import digest_folder
from toolkit.release.bundle import check_permit
from toolkit.release.copies import Copy, copies_of, main_license
from toolkit.release.exported import FILE, SCHEMA
from toolkit.release.facts import Facts, facts_of
from toolkit.release.form import Form
from toolkit.release.notice import render_notice
from toolkit.release.obligations import NOTICE
from toolkit.release.record import Record, mapping, text
from toolkit.training import environment

# For these uses nobody outside receives the weights; the verdict of such a run says nothing about handing them on.
STAYS_INSIDE = ("internal", "hosted-service", "evaluation")


@dataclass(frozen=True, slots=True)
class Papers:
    """What is known of a run before its weights are touched."""

    record: Record
    facts: Facts
    copies: tuple[Copy, ...]

    @property
    def stays_inside(self) -> str | None:
        """The use that the run was judged for, when that hands no weights to others."""
        reach = text(self.record, "use.distribution")
        return reach if reach in STAYS_INSIDE else None


def papers_of(run: Path, record: Record) -> Papers:
    """The licence papers of a run. Raises Refused when its verdict allows no derivative, NotFulfilled when a licence text
    of the run is gone, TkError when its adapter is not the one it recorded."""
    from toolkit.files.digests import sha256_file

    check_permit(record, run)
    for file, entry in mapping(record, "adapter.files").items():
        if not (run / file).is_file() or sha256_file(run / file) != text(entry, "sha256"):
            raise TkError("is not the file that the run recorded", where=str(run / file), hint="restore it")
    facts = facts_of(record)
    return Papers(record, facts, copies_of(facts, run, {}))


def write_papers(papers: Papers, form: Form, comparison: Mapping[str, object] | None, staging: Path) -> dict[str, Any]:
    """Write licence texts, NOTICE and export.json beside the weights in `staging`; gives the last as a value."""
    facts = replace(papers.facts, form=form)
    written = [(copy.path, copy.terms_id, copy.kind) for copy in papers.copies]
    for copy in papers.copies:
        write_bytes(staging / copy.path, copy.content)
    if (main := main_license(facts, papers.copies)) is not None:
        write_bytes(staging / "LICENSE", main.content)
        written.append(("LICENSE", main.terms_id, "license"))
    write_text(staging / NOTICE, render_notice(facts, papers.copies))
    written.append((NOTICE, None, "notice"))
    record = papers.record
    paper: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": form.kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": {"name": "tk", "version": toolkit.__version__},
        "run": {"id": text(record, "id"), "record_sha256": facts.record_sha256, "name": facts.name},
        "base": {"id": facts.base.name, "revision": facts.base.revision, "files_sha256": facts.base.digest},
        "adapter": {
            "type": text(record, "adapter.type"),
            "files": {name: text(entry, "sha256") for name, entry in mapping(record, "adapter.files").items()},
        },
        "method": {"merge": form.merge, "dtype": form.dtype, "quantization": form.quantization},
        "comparison": comparison,
        "use": {
            "distribution": text(record, "use.distribution"),
            "verdict": text(record, "verdict.verdict"),
            "acknowledged": text(record, "permit.acknowledged"),
        },
        "obligations": [
            {"id": owed.id, "license": owed.terms.id, "clause": owed.clause or None, "value": owed.value}
            for owed in facts.obligations
        ],
        "papers": [{"path": path, "license": terms, "kind": kind} for path, terms, kind in written],
        "versions": environment.versions(),
        "files": {name: digest.to_json() for name, digest in digest_folder(staging).items()},
    }
    write_json(staging / FILE, paper)
    return paper
