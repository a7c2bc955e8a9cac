"""An audit as SARIF 2.1.0: a result for each error, warning and failing verdict of each model, told apart from what a
baseline accepted by `baselineState`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import toolkit
from toolkit.audit.audited import Audit, Audited
from toolkit.audit.failing import Item, digest
from toolkit.audit.outcome import Words
from toolkit.cli.audit_formats.streams import whole
from toolkit.cli.audit_formats.summary import SCHEMA, summary
from toolkit.cli.formats.places import read_place
from toolkit.cli.formats.sarif import SCHEMA as SARIF_SCHEMA
from toolkit.cli.verdict_text import LEVEL_WORDS
from toolkit.licensing.findings import FINDINGS
from toolkit.models.resolve import PAPERS_OF_A_MODEL

if TYPE_CHECKING:
    from toolkit.audit.table.judged import JudgedTable
    from toolkit.licensing.use import IntendedUse


@contextmanager
def report(to: Path | None, use: IntendedUse) -> Iterator[_Sarif]:
    """The report; its results are written as they come, its rules at the end."""
    with whole(to) as stream:
        yield _Sarif(stream, use)


class _Sarif:
    every = True
    takes_tables = False

    def __init__(self, stream: IO[str], use: IntendedUse) -> None:
        self.stream = stream
        self.use = use
        self.rules: dict[str, tuple[int, str]] = {}  # (position, what it says)
        self.before = "\n"
        stream.write(f'{{"$schema": "{SARIF_SCHEMA}", "version": "2.1.0", "runs": [{{"results": [')

    def add(self, audited: Audited) -> None:
        result, outcome = audited.result, audited.result.outcome
        if outcome.verdict in {item.what for item in audited.failing}:
            text = f"the verdict is {LEVEL_WORDS[outcome.verdict]}"
            level = "error" if outcome.exit_code == 3 else "warning"
            self._write(audited, Item(outcome.verdict), "verdict/", "a verdict that fails the audit", level, text, None)
        told = result.words or tuple(Words(noted, "", None) for noted in outcome.findings)
        for noted, text, where in told:
            if noted.severity != "info":
                says = FINDINGS.get(noted.id, f"the rule {noted.id} of a licence binds")
                text = text or says + (f" ({noted.license})" if noted.license else "")
                self._write(audited, Item(noted.id, noted.license), "", says, noted.severity, text, where)

    def add_table(self, judged: JudgedTable, audit: Audit, failing: list[Audited]) -> None:
        raise AssertionError("rows are taken one by one")

    def end(self, audit: Audit) -> None:
        rules = [{"id": name, "shortDescription": {"text": says}} for name, (_, says) in self.rules.items()]
        driver = {"name": "tk", "version": toolkit.__version__, "rules": rules}
        rest = {"tool": {"driver": driver}, "properties": {"schema": SCHEMA, **summary(audit, self.use)}}
        self.stream.write("], " + json.dumps(rest, ensure_ascii=False)[1:] + "]}\n")

    def _write(
        self, audited: Audited, item: Item, prefix: str, says: str, level: str, text: str, where: str | None
    ) -> None:
        rule = prefix + item.what
        index, _ = self.rules.setdefault(rule, (len(self.rules), says))
        place = read_place(where) or read_place(_file_of(audited.result.where))
        location = {"artifactLocation": {"uri": place.uri if place else "."},
                    "region": {"startLine": place.line if place else 1}}  # fmt: skip
        fingerprint = f"{audited.result.id} {item} {digest(item, audited.result.outcome)} {place.uri if place else ''}"
        entry: dict[str, Any] = {
            "ruleId": rule, "ruleIndex": index, "level": level,
            "message": {"text": f"{audited.result.id}: {text}"},
            "locations": [{"physicalLocation": location}],
            "partialFingerprints": {"tkAudit/v1": fingerprint},
        }  # fmt: skip
        if item in audited.failing:
            entry["baselineState"] = "new" if item in audited.new else "unchanged"
        self.stream.write(self.before + json.dumps(entry, ensure_ascii=False))
        self.before = ",\n"


def _file_of(where: str) -> str:
    """The place of a model, a folder's being the first file in it that speaks: code scanning shows files only."""
    folder = Path(where)
    return next((str(folder / name) for name in PAPERS_OF_A_MODEL if (folder / name).is_file()), where)
