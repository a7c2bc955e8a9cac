"""An audit as a Parquet file. A table stays in columns; models read one by one go through a scratch file of JSON lines, so
that none of them is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toolkit.audit.audited import Audit, Audited
from toolkit.audit.polars_extra import columnar_engine
from toolkit.cli.audit_formats.streams import staged_file
from toolkit.cli.audit_formats.summary import ModelLines

if TYPE_CHECKING:
    import polars as pl

    from toolkit.audit.table.judged import JudgedTable


@contextmanager
def report(to: Path | None) -> Iterator[_Parquet]:
    """The report, into a file that takes its name when it is whole."""
    assert to is not None
    with staged_file(to) as staged:
        lines = staged.with_suffix(".jsonl")
        with lines.open("w", encoding="utf-8") as stream:
            kept = _Parquet(stream)
            yield kept
        kept.write(lines, staged)
        lines.unlink()


class _Parquet:
    every = True
    takes_tables = True

    def __init__(self, stream: IO[str]) -> None:
        self.pl = columnar_engine("Parquet")
        self.stream = stream
        self.lines = ModelLines()
        self.one_by_one = 0
        self.tables: list[pl.LazyFrame] = []

    def add(self, audited: Audited) -> None:
        self.one_by_one += 1
        self.stream.write(self.lines.line(audited, words=False) + "\n")

    def add_table(self, judged: JudgedTable, audit: Audit, failing: list[Audited]) -> None:
        """The rows of a table beside what their outcomes say; what a baseline accepted differs from row to row."""
        pl, schema = self.pl, self._schema()
        outcomes = [{**outcome.to_json(), "code": code, "failing": [str(item) for item in audit.fails.items(outcome)]}
                    for code, outcome in enumerate(judged.outcomes)]  # fmt: skip
        said = {name: schema[name] for name in ("verdict", "effective_licenses", "findings", "obligations", "questions",
                                                "failing")}  # fmt: skip
        frame = judged.rows.lazy().with_row_index("row", offset=judged.first_line)
        frame = frame.join(pl.LazyFrame(outcomes, schema={"code": pl.UInt32, **said}), on="code", how="left",
                           maintain_order="left")  # fmt: skip
        new = pl.col("failing")
        if audit.baseline is not None:
            accepted = [(int(entry.result.where.rpartition(":")[2]), [str(item) for item in entry.new])
                        for entry in failing if entry.new != entry.failing]  # fmt: skip
            kept = pl.LazyFrame(accepted, schema={"row": pl.UInt32, "kept": pl.List(pl.String)}, orient="row")
            frame = frame.join(kept, on="row", how="left", maintain_order="left")
            new = pl.coalesce("kept", "failing")
        self.tables.append(
            frame.with_columns(
                source=pl.lit("table"), revision=pl.lit(None, pl.String), new=new, roots=pl.col("roots").fill_null([]),
                where=pl.format("{}:{}", pl.lit(str(judged.path)), "row"),
            ).select(list(schema))
        )  # fmt: skip

    def end(self, audit: Audit) -> None:
        """The summary is said on stderr."""

    def write(self, lines: Path, to: Path) -> None:
        """Write what was added."""
        parts = list(self.tables)
        if self.one_by_one or not parts:
            empty = self.pl.LazyFrame(schema=self._schema())
            parts.append(self.pl.scan_ndjson(lines, schema=self._schema()) if self.one_by_one else empty)
        self.pl.concat(parts).sink_parquet(to)

    def _schema(self) -> dict[str, Any]:
        pl = self.pl
        texts = pl.List(pl.String)
        names = dict.fromkeys(("id", "source", "revision", "where"), pl.String)
        return {
            **names, "roots": texts, "verdict": pl.String,
            "effective_licenses": pl.List(pl.Struct({"id": pl.String, "role": pl.String})),
            "findings": pl.List(pl.Struct({"id": pl.String, "severity": pl.String, "license": pl.String})),
            "obligations": texts, "questions": texts, "failing": texts, "new": texts,
        }  # fmt: skip
