"""The formats of an audit. Each takes models as they come and ends with the summary; none keeps them all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from toolkit.audit.audited import Audit, Audited

if TYPE_CHECKING:
    from toolkit.audit.table.judged import JudgedTable
    from toolkit.licensing.use import IntendedUse

FORMATS = ("text", "json", "jsonl", "csv", "parquet", "sarif", "html")
NEED_A_FILE = ("parquet", "html")


class Report(Protocol):
    """One format at work. `every` says whether it shows every model; `takes_tables` whether it takes a table's rows by
    columns rather than one by one."""

    every: bool
    takes_tables: bool

    def add(self, audited: Audited) -> None:
        """One more model."""

    def add_table(self, judged: JudgedTable, audit: Audit, failing: list[Audited]) -> None:
        """A table by columns; `failing` are its rows of which something fails."""

    def end(self, audit: Audit) -> None:
        """The summary, once every model was added."""


def report(format_: str, to: Path | None, use: IntendedUse) -> AbstractContextManager[Report]:
    """The report in a format, onto standard output or into a file. A file that is one document is whole or absent; lines
    of JSON or CSV stand in theirs as they come."""
    if format_ in ("json", "jsonl", "csv"):
        from toolkit.cli.audit_formats import rows

        return rows.report(format_, to, use)
    if format_ == "sarif":
        from toolkit.cli.audit_formats import sarif

        return sarif.report(to, use)
    if format_ == "parquet":
        from toolkit.cli.audit_formats import parquet

        return parquet.report(to)
    from toolkit.cli.audit_formats import pages

    return pages.report(format_, to, use)
