"""Whatever changes the terms is found, and named by its clause."""

import random

import pytest

from toolkit.licensing.recognition.outline import outline
from toolkit.licensing.recognition.reading import read
from toolkit.licensing.recognition.recognise import recognise

NON_COMMERCIAL = "The Works serve research alone and nobody earns money with them."


def only_change(text, prints):
    answer = recognise(text, prints)
    assert answer.modified
    assert answer.similarity < 1
    assert len(answer.changes) == 1, answer.changes
    return answer, answer.changes[0]


def replaced(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "clause"),
    [
        ("study, alter and hand on", "study, alter and sell", "2"),
        ("You may not train", "You may train", "3.c"),
        ("Nothing here lets", "Nothing here ever lets", "2"),
        ("to refuse", "not to refuse", "4"),
        ("in letters of ordinary size", "in letters of any size", "3.b.i"),
        ("a human who answers", "a machine who answers", "Exhibit A(2)"),
        ("within 30 days", "within 60 days", "3.c"),
        ("section 3(b)", "section 3(c)", "3.c"),
        ("receive a copy", "receive copy", "3.a"),
        ("the world except Atlantis", "the world", "1.b"),
    ],
)
def test_a_changed_word_number_or_negation_is_named(old, new, clause, invented, prints):
    answer, change = only_change(replaced(invented["ferro-1.0"], old, new), prints)
    assert (answer.id, change.kind, change.clause) == ("ferro-1.0", "altered", clause)
    assert new.split()[-1] in change.text


def test_a_threshold_is_named_with_what_the_original_says(invented, prints):
    text = replaced(invented["ferro-1.0"], "700 million", "7 million")
    _, change = only_change(text, prints)
    assert (change.clause, change.original_numbers) == ("4", ("700",))
    assert "7 million" in change.text
    assert text.split("\n")[change.line - 1].startswith("4. Large")


def test_every_sentence_left_out_is_missed(invented, prints):
    reading = read(invented["ferro-1.0"])
    pieces = [piece for piece in outline(reading).sentences if not piece.heading]
    assert len(pieces) > 15
    for piece in pieces:
        text = reading.text[: reading.starts[piece.first]] + reading.text[reading.ends[piece.last - 1] + 1 :]
        answer = recognise(text, prints)
        assert answer.modified
        assert piece.clause in {change.clause for change in answer.changes}, piece


def test_a_sentence_added_anywhere_is_shown(invented, prints):
    text = invented["ferro-1.0"]
    parts = text.split("\n\n")
    for number in range(len(parts) + 1):
        answer, change = only_change("\n\n".join([*parts[:number], NON_COMMERCIAL, *parts[number:]]), prints)
        assert (answer.id, change.kind, change.text) == ("ferro-1.0", "added", NON_COMMERCIAL)


def test_no_single_word_can_be_changed_unseen(invented, prints):
    dice = random.Random(0)
    for identifier in ("ferro-1.0", "plain-permission", "plain-permission-gold"):
        reading = read(invented[identifier])
        headings = {
            word for piece in outline(reading).sentences if piece.heading for word in range(piece.first, piece.last)
        }
        for word in sorted(set(range(len(reading.words))) - headings):
            new = dice.choice(["orange", "never", "seventh"])
            answer = recognise(reading.text[: reading.starts[word]] + new + reading.text[reading.ends[word] :], prints)
            assert answer.modified, reading.words[word]


def test_the_last_word_counts(invented, prints):
    assert recognise(invented["plain-permission"].replace("its failure", "its faults"), prints).modified
    assert recognise(invented["plain-permission"].rstrip()[: -len(" failure.")], prints).modified


def test_a_clause_moved_elsewhere_is_a_change(invented, prints):
    text = invented["ferro-1.0"]
    clause = text[text.index("4. Large") : text.index("5. No")]
    moved = text.replace(clause, "").replace("Exhibit A", clause + "Exhibit A")
    assert recognise(moved, prints).modified


def test_what_is_missing_says_how_much_and_where(invented, prints):
    text = replaced(invented["ferro-1.0"], "      ii. the manual of every product that contains the Works.\n", "")
    _, change = only_change(text, prints)
    assert (change.kind, change.clause) == ("missing", "3.b.ii")
    assert change.text == "9 words missing after “offered, in letters of ordinary size;”"


@pytest.mark.parametrize(
    "hide",
    [
        lambda text: text.replace("may not train", "may ~~not~~ train"),
        lambda text: text.replace("may not train", "may <del>not</del> train"),
        lambda text: text.replace("may not train", "may n\u043et train"),
        lambda text: text.replace("4. Large", "<style>No commercial use.</style>\n\n4. Large"),
        lambda text: text.replace("4. Large", "<!-- No commercial use. -->\n\n4. Large"),
        lambda text: text.replace("more than 700", "less than 700"),
    ],
    ids=["struck out", "deleted in HTML", "a letter that looks the same", "a style", "a comment", "a comparison"],
)
def test_a_change_cannot_hide(hide, invented, prints):
    assert hide(invented["ferro-1.0"]) != invented["ferro-1.0"]
    assert recognise(hide(invented["ferro-1.0"]), prints).modified
