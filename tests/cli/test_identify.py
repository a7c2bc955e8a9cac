"""`tk licenses identify`: which licence a file is, in words and as JSON, and how it ends."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def changed(tmp_path):
    path = tmp_path / "LICENSE"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    path.write_text(text.replace("You must give any other", "You need not give any other"), encoding="utf-8")
    return path


def test_an_unmodified_licence_is_named_and_ends_with_0(tk):
    done = tk("licenses", "identify", "LICENSE", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "LICENSE is apache-2.0, as its authors wrote it.\n")


def test_json_is_the_contract(tk, changed):
    done = tk("licenses", "identify", changed, "--format", "json")
    answer = json.loads(done.stdout)
    assert done.returncode == 4
    assert list(answer) == ["schema", "id", "similarity", "modified", "others", "changes", "fields"]
    assert list(answer["fields"]) == ["values", "differences", "siblings"]
    assert (answer["schema"], answer["id"], answer["modified"]) == ("tk/identify/1", "apache-2.0", True)
    assert 0.9 < answer["similarity"] < 1
    assert [(change["kind"], change["clause"]) for change in answer["changes"]] == [("altered", "4(a)")]
    assert "You need not give any other recipients" in answer["changes"][0]["text"]


def test_a_change_is_shown_with_its_line(tk, changed):
    done = tk("licenses", "identify", changed)
    assert "with 1 change" in done.stdout
    assert "line 94, clause 4(a) altered: “(a) You need not give" in done.stdout


def test_another_date_is_a_field_that_differs(tk, tmp_path):
    path = tmp_path / "LICENSE"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    path.write_text(text.replace("January 2004", "March 2004"), encoding="utf-8")
    done = tk("licenses", "identify", path)
    assert done.returncode == 4
    assert "title: date 2004-01 → 2004-03" in done.stdout
    difference = json.loads(tk("licenses", "identify", path, "--format", "json").stdout)["fields"]["differences"][0]
    assert difference == {
        "field": "date", "clause": "title", "original": "2004-01", "value": "2004-03", "text": "date 2004-01 → 2004-03"
    }  # fmt: skip


def test_a_text_that_is_no_licence_needs_review(tk):
    done = tk("licenses", "identify", "CONTRIBUTING.md", "--format", "json", cwd=ROOT)
    assert done.returncode == 4
    assert json.loads(done.stdout)["id"] is None


def test_stdin_is_read(tk):
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    done = tk("licenses", "identify", "-", input=text)
    assert (done.returncode, done.stdout) == (0, "stdin is apache-2.0, as its authors wrote it.\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"\x00\x01\x02"), "is not a text file"),
    ],
    ids=["absent", "folder", "empty", "binary"],
)
def test_what_cannot_be_read_is_one_sentence(make, message, tk, tmp_path):
    path = tmp_path / "LICENSE"
    make(path)
    done = tk("licenses", "identify", path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
