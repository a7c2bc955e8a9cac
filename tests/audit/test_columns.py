"""However a table of the hub is written, the same things are read from it."""

import json
from pathlib import Path

import polars as pl
import pytest

from toolkit.audit.sources import source_of
from toolkit.audit.table.columns import SEPARATOR, read_table
from toolkit.audit.table.prose import license_texts
from toolkit.errors import TkError
from toolkit.licensing.library import library

TAGS = ["en", "license:mit", "base_model:acme/b", "base_model:adapter:acme/b", "region:us"]
CARD = {"license": "mit", "base_model": ["acme/b"], "base_model_relation": "adapter"}
EXPECTED = {
    "id": "acme/a",
    "declared": "mit",
    "name": None,
    "bases": ["acme/b"],
    "adapter": True,
    "pipeline": None,
    "texts": "",
}

APACHE = (Path(__file__).resolve().parents[2] / "LICENSE").read_text(encoding="utf-8")


def read(tmp_path, columns, suffix="parquet"):
    path = tmp_path / f"hub.{suffix}"
    if suffix == "parquet":
        pl.DataFrame({name: [value] for name, value in columns.items()}).write_parquet(path)
    elif suffix == "jsonl":
        path.write_text(json.dumps(columns) + "\n")
    else:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in columns.items()}
        pl.DataFrame({name: [value] for name, value in texts.items()}).write_csv(path)
    assert source_of(path).kind == "table"
    return read_table(path, library()).row(0, named=True)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    "columns",
    [
        {"id": "acme/a", "tags": TAGS},
        {"modelId": "acme/a", "cardData": json.dumps(CARD)},
        {"model_id": "acme/a", "card_data": CARD},
        {"id": "acme/a", "license": "mit", "base_model": "acme/b", "library_name": "peft"},
        {"id": "acme/a", "license": ["mit"], "base_model": ["acme/b"], "base_model_relation": "adapter"},
        {"id": "acme/a", "license": "mit", "tags": TAGS, "cardData": CARD},
    ],
    ids=["tags", "card as text", "card", "columns", "columns of lists", "all of it"],
)
def test_tags_card_data_and_columns_say_the_same(tmp_path, suffix, columns):
    assert read(tmp_path, columns, suffix) == EXPECTED


@pytest.mark.parametrize("text", ["en, license:mit, base_model:acme/b, peft", "en license:mit base_model:acme/b peft",
                                  "['license:mit', 'base_model:acme/b', 'peft']"])  # fmt: skip
def test_tags_are_read_from_text_as_people_join_them(tmp_path, text):
    assert read(tmp_path, {"id": "acme/a", "tags": text}) == EXPECTED


def test_what_tags_and_columns_declare_differently_is_all_declared(tmp_path):
    row = read(tmp_path, {"id": "acme/a", "license": "mit", "tags": ["license:llama3.1", "base_model:acme/b"],
                          "base_model": "acme/c"})  # fmt: skip
    assert row["declared"].split(SEPARATOR) == ["mit", "llama3.1"]
    assert sorted(row["bases"]) == ["acme/b", "acme/c"]


def test_what_says_nothing_is_absent(tmp_path):
    row = read(tmp_path, {"id": "acme/a", "license": None, "license_name": "", "base_model": "null", "tags": []})
    assert row == {**EXPECTED, "declared": "", "bases": [], "adapter": False}


@pytest.mark.parametrize(
    ("name", "text", "says", "where"),
    [
        ("a.csv", "id,license,base_model\nacme/a,mit,acme/b\nacme/b,mit\n", "has 2 fields", ":3"),
        ("a.csv", "id,license\n,mit\n", "row 1 has no id", ""),
        ("a.csv", "id,license\n", "has no rows", ""),
        ("a.jsonl", '{"id": "acme/a", "license": "mit"}\n\n{"license": "mit"}\n', "no column of hub ids", ":3"),
        ("a.parquet", "nothing of the kind", "cannot be read as parquet", ""),
    ],
)
def test_a_table_that_is_broken_is_named_with_its_line(tmp_path, name, text, says, where):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TkError, match=says) as caught:
        read_table(path, library())
    assert caught.value.where == f"{path}{where}"


def test_parquet_with_nothing_but_ids_is_no_table(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": ["acme/a"]}).write_parquet(path)
    with pytest.raises(TkError, match="nothing of its models but their ids"):
        source_of(path)


FRONTS = {
    "plain": "---\nlicense: mit  # ours\nbase_model: acme/b\nbase_model_relation: adapter\n---\n# A\n\nlicense: gpl\n",
    "lines": '---\r\nlicense: "mit"\r\nbase_model:\r\n- acme/b\r\nbase_model_relation: adapter\r\n---\r\nText\r\n',
    "brackets": "---\nlibrary_name: peft\nlicense: [mit]\nbase_model: ['acme/b']\n---\n",
}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("front", FRONTS.values(), ids=list(FRONTS))
def test_the_front_matter_of_a_card_declares_as_columns_do(front, suffix, tmp_path):
    assert read(tmp_path, {"id": "acme/a", "readme": front}, suffix) == EXPECTED


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_prose_of_a_card_declares_nothing(suffix, tmp_path):
    row = read(tmp_path, {"id": "acme/a", "card": "# A\n\nlicense: mit\n\n---\nlicense: mit\n---\n"}, suffix)
    assert (row["declared"], row["bases"]) == ("", [])


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_licence_text_is_told_by_its_words(suffix, tmp_path):
    row = read(tmp_path, {"id": "acme/a", "license_text": APACHE}, suffix)
    assert [(text.id, text.modified) for text in license_texts(row["texts"])] == [("apache-2.0", False)]
    changed = APACHE.replace("You must give any other", "You need not give any other")
    row = read(tmp_path, {"id": "acme/a", "license_text": changed}, suffix)
    (text,) = license_texts(row["texts"])
    assert (text.id, text.modified) == ("apache-2.0", True)
    assert "4(a) altered" in text.detail


def test_rows_without_a_licence_text_say_nothing_of_one(tmp_path):
    path = tmp_path / "hub.parquet"
    pl.DataFrame({"id": ["acme/a", "acme/b"], "license_text": [None, APACHE]}).write_parquet(path)
    assert [bool(told) for told in read_table(path, library())["texts"]] == [False, True]
