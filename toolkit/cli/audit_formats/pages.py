"""The formats for people: text for a terminal, and one HTML file. Both show counts and the first models that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from toolkit.audit.audited import Audit, Audited
from toolkit.cli.audit_formats.streams import whole

if TYPE_CHECKING:
    from toolkit.audit.table.judged import JudgedTable
    from toolkit.licensing.use import IntendedUse


@contextmanager
def report(format_: str, to: Path | None, use: IntendedUse) -> Iterator[_Page]:
    """The report as text or HTML."""
    with whole(to) as stream:
        yield _Page(format_, stream, use)


class _Page:
    every = False
    takes_tables = False

    def __init__(self, format_: str, stream: IO[str], use: IntendedUse) -> None:
        self.format_ = format_
        self.stream = stream
        self.use = use

    def add(self, audited: Audited) -> None:
        """Models that are shown are kept by the audit itself."""

    def add_table(self, judged: JudgedTable, audit: Audit, failing: list[Audited]) -> None:
        raise AssertionError("rows are taken one by one")

    def end(self, audit: Audit) -> None:
        if self.format_ == "html":
            from toolkit.cli.audit_formats.html_page import html_page

            self.stream.write(html_page(audit, self.use))
        else:
            from toolkit.cli.audit_formats.text import audit_text

            text = audit_text(audit, self.use)
            self.stream.write((text if self.stream.isatty() else click.unstyle(text)) + "\n")
