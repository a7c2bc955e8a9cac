"""A licence text in a table binds as a LICENSE file beside the model does."""

from pathlib import Path

import polars as pl

from toolkit.audit.table import prose
from toolkit.audit.table.judged import judge_table
from toolkit.licensing.judge import Manner
from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse

APACHE = (Path(__file__).resolve().parents[2] / "LICENSE").read_text(encoding="utf-8")
ALTERED = APACHE.replace("You must give any other", "You need not give any other")
USE = IntendedUse(distribution="internal", commercial=True)


def judged(tmp_path, **columns):
    path = tmp_path / "hub.parquet"
    pl.DataFrame(columns).write_parquet(path)
    table = judge_table(path, USE, library(), Manner(), None, (), lambda stage: None)
    return [(result.outcome.verdict, {found.id for found in result.outcome.findings}) for result in table.results()]


def test_an_altered_text_needs_review_and_an_unaltered_one_speaks_for_its_row(tmp_path):
    rows = judged(
        tmp_path,
        id=["acme/a", "acme/b", "acme/c", "acme/d"],
        license=["apache-2.0", "apache-2.0", None, "mit"],
        license_text=[APACHE, ALTERED, APACHE, APACHE],
    )
    assert rows[0][0] == "allowed"
    assert rows[1][0] == "needs-review"
    assert "license-text-modified" in rows[1][1]
    assert rows[2][0] == "allowed"
    assert "license-file-contradicts-tag" in rows[3][1]


def test_a_base_in_the_table_passes_its_text_on(tmp_path):
    rows = judged(
        tmp_path,
        id=["acme/base", "acme/tuned"],
        readme=["# Base", "---\nlicense: apache-2.0\nbase_model: acme/base\n---\n"],
        license_text=[ALTERED, None],
    )
    assert [verdict for verdict, _ in rows] == ["needs-review", "needs-review"]


def test_beyond_the_most_that_are_compared_only_letter_for_letter_copies_are_told(monkeypatch):
    monkeypatch.setattr(prose, "_MOST_COMPARED", 1)
    texts = pl.DataFrame(
        {"text": [1, 2, 3], "content": [ALTERED, ALTERED + "!\nMore.", APACHE], "rows": [9, 8, 7]},
        schema={"text": pl.UInt64, "content": pl.String, "rows": pl.UInt32},
    )
    told = prose.told(pl, texts, library())
    assert [[text.modified for text in prose.license_texts(said)] for said in told["texts"]] == [[True], [], [False]]
