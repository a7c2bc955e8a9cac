"""A table with a verdict for every row: an outcome for each different work, and the code of each row's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.audit.outcome import Outcome, Result, outcome_of
from toolkit.audit.polars_extra import columnar_engine
from toolkit.audit.table.columns import read_table
from toolkit.audit.table.nodes import graph_of
from toolkit.audit.table.propagate import settle
from toolkit.audit.table.states import TABLE, States
from toolkit.audit.tally import Tally
from toolkit.licensing.judge import Manner, judge_concluded
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Work, conclude
from toolkit.licensing.reasoning import Judgement
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Target

if TYPE_CHECKING:
    import polars as pl

_CHUNK_ROWS = 100_000
Say = Callable[[str], None]


class JudgedTable:
    """The rows of one table, judged. `rows` has `id`, `code` (its place in `outcomes`) and `roots` (ids, most rows none)."""

    def __init__(self, path: Path, rows: pl.DataFrame, outcomes: list[Outcome], repeated: int) -> None:
        self.path = path
        self.rows = rows
        self.outcomes = outcomes
        self.repeated = repeated
        # Line 1 of a CSV names the columns; of a Parquet file only the row can be told.
        self.first_line = 2 if path.suffix == ".csv" else 1

    def results(self, codes: Iterable[int] | None = None) -> Iterator[Result]:
        """The result of each row, or of the rows with some codes, in order."""
        pl = columnar_engine("a table of hub metadata")
        rows = self.rows.with_row_index("row", offset=self.first_line)
        if codes is not None:
            rows = rows.filter(pl.col("code").is_in(list(codes)))
        for chunk in rows.iter_slices(_CHUNK_ROWS):
            for row, identity, code, roots in chunk.select("row", "id", "code", "roots").iter_rows():
                yield Result(identity, TABLE, f"{self.path}:{row}", self.outcomes[code], tuple(roots or ()))

    def count(self, tally: Tally) -> None:
        """Count every row."""
        pl = columnar_engine("a table of hub metadata")
        tally.models += self.rows.height
        for code, models in self.rows.group_by("code").len().iter_rows():
            tally.outcomes[self.outcomes[code]] += models
        verdicts = pl.DataFrame({"verdict": [outcome.verdict for outcome in self.outcomes]}).with_row_index("code")
        below = self.rows.select("code", "roots").explode("roots").drop_nulls().join(verdicts, on="code")
        for root, verdict, models in below.group_by("roots", "verdict").len().iter_rows():
            tally.lineages[root, verdict] += models


def judge_table(
    path: Path, use: IntendedUse, library: Library, manner: Manner, role: str | None, beside: tuple[Work, ...], say: Say
) -> JudgedTable:
    """Judge a table. `role` is what the use makes of its target, `beside` the works that it touches beside; `say` hears
    of each stage. Raises TkError as `read_table` does."""
    pl = columnar_engine("a table of hub metadata")
    say(f"reading {path}")
    frame = read_table(path, library)
    say(f"following the bases of {frame.height:,} models")
    waived = frozenset(work for waiver in (manner.policy.waivers if manner.policy else ()) for work in waiver.works)
    graph = graph_of(frame, library, waived)
    del frame
    states = States(library, role, waived)
    settled = settle(graph, states)
    say(f"judging {len(states.works):,} different works")
    outcomes = _outcomes(states, use, library, manner, beside)
    own = settled.roots.filter((pl.col("work") < graph.rows) & (pl.col("work") != pl.col("root")))
    named = own.select("work", graph.nodes["id"].gather(own["root"]).alias("roots"))
    roots = named.group_by("work").agg(pl.col("roots").sort())
    rows = (
        pl.DataFrame({"id": graph.nodes["id"].head(graph.rows), "code": settled.codes.head(graph.rows)})
        .with_row_index("work")
        .join(roots, on="work", how="left", maintain_order="left")
        .drop("work")
    )
    return JudgedTable(path, rows, outcomes, graph.repeated)


def _outcomes(
    states: States, use: IntendedUse, library: Library, manner: Manner, beside: tuple[Work, ...]
) -> list[Outcome]:
    """The outcome of each different work. Its licences stand in the order of their ids: works that differ in nothing but
    which of them is their own share it."""
    besides = [conclude(work, library) for work in beside]
    judged: dict[object, Judgement] = {}
    outcomes = []
    for work, concluded in zip(states.works, states.conclusions, strict=True):
        target = Target(work.id, None, TABLE)
        works, conclusions = (work, *beside), [concluded, *besides]
        outcome = outcome_of(judge_concluded(target, works, conclusions, use, library, manner, judged))
        licenses = sorted(outcome.licenses, key=lambda entry: (entry[0] is None, entry))
        outcomes.append(outcome._replace(licenses=tuple(licenses)))
    return outcomes
