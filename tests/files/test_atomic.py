"""A write is whole or absent."""

import os

import pytest

from toolkit.errors import TkError
from toolkit.files.atomic import staged_folder, write_json, write_text


def test_a_written_file_holds_the_whole_text_and_nothing_stays_beside_it(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'


def fill_half(target):
    with staged_folder(target) as staging:
        (staging / "half").write_text("x")
        raise RuntimeError


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path):
    target = tmp_path / "release"
    with pytest.raises(RuntimeError):
        fill_half(target)
    assert list(tmp_path.iterdir()) == []
    with staged_folder(target) as staging:
        (staging / "whole").write_text("x")
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    (tmp_path / "kept").write_text("x")
    with pytest.raises(TkError, match="not empty"), staged_folder(tmp_path):
        pass


def test_a_folder_is_replaced_when_asked_and_only_by_a_whole_one(tmp_path):
    target = tmp_path / "export"
    target.mkdir()
    (target / "earlier").write_text("x")
    with pytest.raises(RuntimeError), staged_folder(target, overwrite=True):
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["earlier"]
    with staged_folder(target, overwrite=True) as staging:
        (staging / "later").write_text("x")
    assert [path.name for path in target.iterdir()] == ["later"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(TkError) as caught:
        write_text(tmp_path / "file" / "below.txt", "x")
    assert "cannot write" in caught.value.message
    assert caught.value.where.endswith("below.txt")
