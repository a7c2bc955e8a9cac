"""JSON, lines of JSON, and CSV: one entry for each model, written as the model is judged."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from toolkit.audit.audited import Audit, Audited
from toolkit.cli.audit_formats.streams import growing, whole
from toolkit.cli.audit_formats.summary import SCHEMA, ModelLines, summary

if TYPE_CHECKING:
    from toolkit.audit.table.judged import JudgedTable
    from toolkit.licensing.use import IntendedUse

CSV_COLUMNS = ("id", "source", "revision", "where", "verdict", "effective_licenses", "findings", "obligations", "questions",
               "roots", "failing", "new")  # fmt: skip


@contextmanager
def report(format_: str, to: Path | None, use: IntendedUse) -> Iterator[_Rows]:
    """The report in one of the three formats."""
    if format_ == "json":
        with whole(to) as stream:
            yield _Json(stream, use)
    else:
        with growing(to) as stream:
            yield _Csv(stream) if format_ == "csv" else _Lines(stream)


class _Rows:
    every = True
    takes_tables = False

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def add(self, audited: Audited) -> None:
        raise NotImplementedError

    def add_table(self, judged: JudgedTable, audit: Audit, failing: list[Audited]) -> None:
        raise AssertionError("rows are taken one by one")

    def end(self, audit: Audit) -> None:
        """Lines need no summary: `tk` says it on stderr."""


class _Lines(_Rows):
    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self.lines = ModelLines()

    def add(self, audited: Audited) -> None:
        self.stream.write(self.lines.line(audited) + "\n")


class _Json(_Lines):
    """One document whose models come first, so that none of them is kept."""

    def __init__(self, stream: IO[str], use: IntendedUse) -> None:
        super().__init__(stream)
        self.use = use
        self.before = "\n"
        stream.write(f'{{"schema": "{SCHEMA}", "models": [')

    def add(self, audited: Audited) -> None:
        self.stream.write(self.before + self.lines.line(audited))
        self.before = ",\n"

    def end(self, audit: Audit) -> None:
        self.stream.write(
            '\n], "summary": ' + json.dumps(summary(audit, self.use), indent=2, ensure_ascii=False) + "}\n"
        )


class _Csv(_Rows):
    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self.writer = csv.writer(stream, lineterminator="\n")
        self.writer.writerow(CSV_COLUMNS)
        self._shared: dict[object, tuple[str, ...]] = {}

    def add(self, audited: Audited) -> None:
        result, outcome = audited.result, audited.result.outcome
        shared = self._shared.get((outcome, audited.failing, audited.new))
        if shared is None:
            findings = (":".join(filter(None, (noted.id, noted.license))) for noted in outcome.findings)
            failing, new = (map(str, items) for items in (audited.failing, audited.new))
            lists = (outcome.license_ids(), findings, outcome.obligations, outcome.questions)
            shared = (*(" ".join(items) for items in lists), "; ".join(failing), "; ".join(new))
            self._shared[outcome, audited.failing, audited.new] = shared
        *said, failing_, new_ = shared
        self.writer.writerow((result.id, result.source, result.revision or "", result.where, outcome.verdict, *said,
                              " ".join(result.roots), failing_, new_))  # fmt: skip
