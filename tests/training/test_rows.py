"""Every way in which a data file can be wrong is reported with its place, before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput, TkError
from toolkit.training.examples import examples_of
from toolkit.training.rows import Source, read_source

GOOD = json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]})


def source_of(tmp_path: Path, text: str, name: str = "rows.jsonl") -> Source:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_source(f"examples/{name}", path)


def test_a_malformed_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^examples/rows\.jsonl:7: not valid JSON: ") as caught:
        source_of(tmp_path, "\n".join([GOOD] * 6 + [GOOD[:-1]] + [GOOD]))
    assert len(caught.value.problems) == 1


def test_malformed_lines_are_reported_all_at_once_up_to_twenty(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        source_of(tmp_path, "\n".join(["{"] * 50))
    assert len(caught.value.problems) == 21
    assert str(caught.value.problems[-1]) == "and 30 more"


def test_a_line_separator_inside_a_string_does_not_shift_line_numbers(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:2: not valid JSON"):
        source_of(tmp_path, GOOD.replace("hi", "a\u2028b") + "\n{")


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="has no rows"):
        source_of(tmp_path, text)


def test_a_missing_file_is_an_error_that_names_it() -> None:
    with pytest.raises(TkError, match="no such file") as caught:
        read_source("examples/none.jsonl", None)
    assert caught.value.where == "examples/none.jsonl"


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD.encode() + b"\n\xff\xfe\n")
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:2: is not text in UTF-8"):
        read_source("rows.jsonl", path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", f"[{GOOD}, {GOOD}]"),
        ("rows.json", f"{GOOD}\n{GOOD}\n"),
        ("rows.csv", 'prompt,completion\nhi,hello\n"two\nlines",yes\n'),
        ("rows.tsv", "prompt\tcompletion\nhi\thello\na\tb\n"),
    ],
)
def test_other_kinds_of_files_give_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    assert len(examples_of(source_of(tmp_path, text, name))[1]) == 2


def test_a_csv_row_with_too_few_columns_is_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"rows\.csv:4: has not the 2 columns"):
        source_of(tmp_path, 'prompt,completion\n"two\nlines",yes\nalone\n', "rows.csv")


def test_parquet_and_a_folder_of_files_are_read(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.table({"prompt": ["a", "b"], "completion": ["c", "d"]}), tmp_path / "one.parquet")
    (tmp_path / "two.jsonl").write_text('{"prompt": "e", "completion": "f"}\n', encoding="utf-8")
    source = read_source("data", tmp_path)
    assert [row.where for row in source.rows] == [
        "data/one.parquet row 1",
        "data/one.parquet row 2",
        "data/two.jsonl:1",
    ]


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    source = source_of(tmp_path, GOOD)
    assert source.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert source.bytes == len(GOOD)


def table() -> Any:
    import pyarrow

    return pyarrow.table({"prompt": ["a", "b"], "completion": ["c", "d"]})


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files_of_both_formats_are_read(tmp_path: Path, kind: str) -> None:
    import pyarrow.ipc

    path = tmp_path / "rows.arrow"
    new = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream
    with pyarrow.OSFile(str(path), "wb") as sink, new(sink, table().schema) as writer:
        writer.write_table(table())
    source = read_source("rows.arrow", path)
    assert [row.where for row in source.rows] == ["rows.arrow row 1", "rows.arrow row 2"]
    assert len(examples_of(source)[1]) == 2


def test_what_is_no_arrow_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.feather").write_bytes(b"not arrow at all")
    with pytest.raises(TkError, match="not a readable Arrow file"):
        read_source("rows.feather", tmp_path / "rows.feather")


def test_data_sets_that_were_saved_to_disk_are_read_by_split(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = Dataset(table())
    rows.save_to_disk(tmp_path / "one")
    assert len(read_source("one", tmp_path / "one").rows) == 2
    DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "dict")
    assert len(read_source("dict", tmp_path / "dict").rows) == 2
    (row,) = read_source("dict", tmp_path / "dict", split="test").rows
    assert row.value == {"prompt": "b", "completion": "d"}
    with pytest.raises(TkError, match="has no split 'tset'; did you mean 'test'"):
        read_source("dict", tmp_path / "dict", split="tset")


def test_compressed_lines_are_read_with_their_numbers(tmp_path: Path) -> None:
    import gzip

    import pyarrow

    text = f"{GOOD}\n{{\n".encode()
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text))
    with pyarrow.output_stream(str(tmp_path / "rows.jsonl.zst"), compression="zstd") as sink:
        sink.write(text)
    for name in ("rows.jsonl.gz", "rows.jsonl.zst"):
        with pytest.raises(InvalidInput, match=rf"{name}:2: not valid JSON".replace(".", r"\.")):
            read_source(name, tmp_path / name)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(text)[:-12])
    with pytest.raises(TkError, match="cannot be read"):
        read_source("cut.jsonl.gz", tmp_path / "cut.jsonl.gz")


def test_a_split_chooses_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("train-00000.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(GOOD + "\n")
    (row,) = read_source("data", tmp_path, split="test").rows
    assert row.where == "data/test.jsonl:1"
    with pytest.raises(TkError, match="holds no files of the split 'dev'"):
        read_source("data", tmp_path, split="dev")
    with pytest.raises(TkError, match="a file has no splits"):
        read_source("data/test.jsonl", tmp_path / "test.jsonl", split="test")


def test_a_long_text_in_a_csv_file_is_no_error(tmp_path: Path) -> None:
    source = source_of(tmp_path, f"prompt,completion\nhi,{'word ' * 40_000}\n", "rows.csv")
    assert len(examples_of(source)[1]) == 1


def test_csv_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"prompt,completion\na,b\nc,\xff\n")
    with pytest.raises(InvalidInput, match=r"rows\.csv:3: is not text in UTF-8"):
        read_source("rows.csv", tmp_path / "rows.csv")


def test_a_hub_data_set_is_not_looked_for_offline() -> None:
    with pytest.raises(TkError, match="not in the local cache, and the hub may not be asked"):
        read_source("acme/support", None, offline=True)


def test_half_a_surrogate_pair_is_named_with_its_line(tmp_path):
    from toolkit.errors import InvalidInput
    from toolkit.training.examples import examples_of
    from toolkit.training.rows import read_source

    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "\\ud800", "completion": "b"}\n')
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:2.*not valid Unicode"):
        examples_of(read_source("rows.jsonl", path), "auto")
