"""Fingerprints tell licences apart and give nobody their text; clauses are named as the text numbers itself."""

import json
import re
import time

import pytest

from toolkit.errors import TkError
from toolkit.files.shipped import shipped
from toolkit.licensing.recognition.align import Block, align, on_boundaries
from toolkit.licensing.recognition.build import build
from toolkit.licensing.recognition.prints import Fingerprints, fingerprints
from toolkit.licensing.recognition.reading import read
from toolkit.licensing.recognition.recognise import recognise
from toolkit.licensing.recognition.sources import LARGEST_BYTES, text_of

SHIPPED = shipped("licenses") / "fingerprints"


def test_clauses_are_named_as_the_text_numbers_itself(clauses):
    assert clauses("ferro-1.0") == [
        "title", "introduction", "1", "1.a", "1.b", "2", "3", "3.a", "3.b", "3.b.i", "3.b.ii", "3.c", "4", "5",
        "Exhibit A", "Exhibit A(1)", "Exhibit A(2)", "Exhibit A(3)",
    ]  # fmt: skip
    assert {"1", "2", "4(a)", "4(b)", "4(c)", "4(d)", "9", "Appendix"} <= set(clauses("apache-2.0"))
    assert clauses("plain-permission") == ["paragraph 1", "paragraph 2"]


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_fingerprint_holds_no_sentence(path):
    assert not re.search(r"(?:[A-Za-z]{2,}[\s,;:.\"-]+){7}[A-Za-z]{2,}", without_ids(path.read_text(encoding="utf-8")))


def without_ids(text):
    """A fingerprint file without the names of licences and clauses, which are lists of short labels."""
    value = json.loads(text)
    value.pop("clauses", None)
    if isinstance(value.get("texts"), dict):
        value["texts"] = [list(entry) if isinstance(entry[0], list) else entry[-1] for entry in value["texts"].values()]
        return json.dumps([entry for entry in value["texts"] if isinstance(entry, str)])
    return json.dumps(value)


def test_no_eight_words_of_a_text_stand_in_its_fingerprints(invented, apache, prints):
    stored = " ".join(path.read_text(encoding="utf-8").casefold() for path in sorted(prints.folder.glob("*.json")))
    stored = " ".join(re.findall(r"[a-z]+", stored))
    for text in (*invented.values(), apache):
        words = re.findall(r"[a-z]+", text.casefold())
        assert len(words) > 60
        assert not [at for at in range(len(words) - 7) if " ".join(words[at : at + 8]) in stored]


def test_our_own_licence_is_recognised_by_what_ships():
    answer = recognise((SHIPPED.parent.parent / "LICENSE").read_text(encoding="utf-8"), fingerprints(SHIPPED))
    assert (answer.id, answer.modified) == ("apache-2.0", False)


def test_an_unmodified_text_reads_two_small_files(invented, prints):
    fresh = Fingerprints(prints.folder)
    assert recognise(invented["ferro-1.0"], fresh).id == "ferro-1.0"
    assert fresh._sketches is None
    assert set(fresh._prints) == {"ferro-1.0"}


def test_building_twice_writes_the_same_and_removes_what_is_gone(tmp_path, invented):
    texts, target = tmp_path / "texts", tmp_path / "made"
    texts.mkdir()
    for identifier in ("ferro-1.0", "plain-permission"):
        (texts / f"{identifier}.txt").write_text(invented[identifier], encoding="utf-8")
    assert build(texts, target) == ["ferro-1.0", "plain-permission"]
    first = {path.name: path.read_bytes() for path in target.iterdir()}
    build(texts, target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == first
    (texts / "ferro-1.0.txt").unlink()
    build(texts, target)
    assert sorted(path.name for path in target.iterdir()) == [
        "index.json", "plain-permission.json", "plain.json", "sketches.json",
    ]  # fmt: skip


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(TkError, match=r"no \*\.txt"):
        build(tmp_path, tmp_path / "made")


def test_fingerprints_of_another_format_are_refused(tmp_path):
    (tmp_path / "index.json").write_text('{"format": 99}')
    with pytest.raises(TkError, match="another format"):
        Fingerprints(tmp_path).wholes("words")
    with pytest.raises(TkError, match="cannot be read"):
        Fingerprints(tmp_path / "nowhere").wholes("words")


@pytest.mark.parametrize(
    "content",
    ["Zürich 1\n".encode(), "Zürich 1\n".encode("utf-8-sig"), "Zürich 1\n".encode("utf-16"), "Zürich 1\n".encode("cp1252")],
    ids=["UTF-8", "UTF-8 with BOM", "UTF-16", "Windows-1252"],
)  # fmt: skip
def test_texts_are_read_in_the_usual_encodings(content):
    assert text_of(content, "LICENSE") == "Zürich 1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "is not a text file"),
        (b"\xff\xfea", "begins as UTF-16"),
        (b"a" * (LARGEST_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_text_is_refused_in_one_sentence(content, message):
    with pytest.raises(TkError, match=message) as caught:
        text_of(content, "LICENSE")
    assert caught.value.where == "LICENSE"
    assert caught.value.hint


@pytest.mark.parametrize(
    "piece", ["(", "a ", "[a](http://x ", "<style> ", "<b ", "copyright 2024 x\n", "&amp;", "1.1.", "\\"]
)
def test_reading_stays_linear_whatever_it_is_given(piece):
    def seconds(size):
        began = time.process_time()
        read(piece * (size // len(piece)))
        return time.process_time() - began

    seconds(20_000)
    small, large = seconds(50_000), seconds(400_000)
    assert large < 40 * small + 0.2  # eight times the text


@pytest.mark.parametrize("piece", [":", "* ", "\n", "1. ", "~~", "( "])
def test_comparing_stays_linear_whatever_stands_in_a_licence(piece, invented, prints):
    text = invented["ferro-1.0"].replace("4. Large", piece * 100_000 + "\n\n4. Large")
    began = time.process_time()
    assert recognise(text, prints).id == "ferro-1.0"
    assert time.process_time() - began < 5


def test_an_alignment_puts_a_gap_where_a_sentence_begins():
    ours, theirs = b"abXYabZW", b"abZW"  # two sentences that begin alike, the first left out
    starts = frozenset({0, 4})
    assert on_boundaries([Block(0, 0, 2), Block(6, 2, 2)], ours, theirs, starts) == [Block(4, 0, 4)]


def test_an_alignment_of_a_text_with_itself_is_one_run():
    codes = bytes(range(200)) * 2
    assert align(codes, codes) == [Block(0, 0, 400)]
