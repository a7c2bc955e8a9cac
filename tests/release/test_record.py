"""The run record: written once, read with every problem named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.release.runs import apache_run, change_record
from toolkit.errors import InvalidInput, TkError
from toolkit.release.record import read_record, write_record


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    assert read_record(run) == json.loads((run / "run.json").read_text())


def test_a_record_is_written_once(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    with pytest.raises(TkError, match="written once"):
        write_record(run, read_record(run))


def test_a_folder_without_a_record_is_not_a_finished_run(tmp_path: Path):
    with pytest.raises(TkError, match="not a finished run") as caught:
        read_record(tmp_path)
    assert caught.value.exit_code == 1


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(TkError, match="no such run folder"):
        read_record(tmp_path / "nowhere")


def test_every_missing_key_is_named_at_once(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    change_record(run, "seed", None)
    change_record(run, "base.id", None)
    with pytest.raises(InvalidInput) as caught:
        read_record(run)
    assert {problem.path for problem in caught.value.problems} == {"seed", "base.id"}


def test_a_missing_mapping_is_named_without_its_keys(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    change_record(run, "recipe", None)
    with pytest.raises(InvalidInput) as caught:
        read_record(run)
    assert [problem.path for problem in caught.value.problems] == ["recipe"]


def test_a_value_of_the_wrong_type_is_named(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    change_record(run, "adapter.files", ["adapter_model.safetensors"])
    with pytest.raises(InvalidInput, match=r"adapter\.files: must be a mapping"):
        read_record(run)


def test_another_schema_is_refused_with_both_names(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    change_record(run, "schema", "tk/run/9")
    with pytest.raises(InvalidInput, match=r"'tk/run/9'; this version reads 'tk/run/1'"):
        read_record(run)


@pytest.mark.parametrize(
    "text", ['{"schema": "tk/run/1", ', "", "[]", '{"schema": NaN}', "\ud83d".encode("utf-8", "surrogatepass")]
)
def test_a_damaged_file_is_an_error_and_no_traceback(tmp_path: Path, text: str | bytes):
    (tmp_path / "run.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput):
        read_record(tmp_path)


def test_a_path_out_of_the_run_folder_is_refused(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    change_record(run, "adapter.files", {"../../etc/passwd": {"sha256": "0" * 64}})
    with pytest.raises(InvalidInput, match="inside the run folder"):
        read_record(run)
