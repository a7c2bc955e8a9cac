"""What a template leaves open is read as values, compared, and every difference named in words."""

from collections import defaultdict

import pytest

from toolkit.licensing.recognition.build import build
from toolkit.licensing.recognition.fields import extract
from toolkit.licensing.recognition.prints import Fingerprints
from toolkit.licensing.recognition.reading import read
from toolkit.licensing.recognition.recognise import recognise
from toolkit.licensing.recognition.values import dates, holder, places, thresholds

HELD = """\
Copyright (c) 2025 Nordlicht GmbH

Everyone who holds a copy of this model may run it, change it and hand it on, as long as this paragraph and the line
above it stay with every copy.

Whoever sells a service that has more than 5 million monthly active users, or earns more than 2 million euros in annual
revenue with it, shall prominently display "Nordlicht Q2" on the page that sells it.
"""
FREE = """\
Copyright (c) 2025 Nordlicht GmbH

Everyone who holds a copy of this program may run it, bend it, mend it and send it on, whatever for and however often, if
these lines go along with it and nobody is told that its authors would answer for anything.
"""


def named(text, prints):
    return [difference.words for difference in recognise(text, prints).fields.differences]


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    (folder / "held.txt").write_text(HELD, encoding="utf-8")
    (folder / "held-3.txt").write_text(HELD.replace("Nordlicht Q2", "Nordlicht Q2.5"), encoding="utf-8")
    (folder / "free.txt").write_text(FREE, encoding="utf-8")
    build(folder, folder / "prints")
    return Fingerprints(folder / "prints")


def test_the_fields_of_a_template_are_read_with_their_clauses(invented):
    reading = read(invented["nordlicht-2"])
    found = defaultdict(set)
    for field in extract(reading):
        found[field.kind].add((field.value, field.clause))
        assert field.start < field.end
    assert {value for value, _ in found["licensor"]} == {"Nordlicht GmbH"}
    assert {value for value, _ in found["product"]} == {"Nordlicht"}
    assert {value for value, _ in found["version"]} == {"2"}
    assert found["date"] == {("2025-06-09", "title")}
    assert found["threshold"] == {("700 million active users", "4")}
    assert found["territory"] == {("Atlantis", "1.b"), ("Lemuria", "1.b"), ("Thule", "1.b")}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Ferro Labs", "Acme Ltd", ["licensor: Ferro Labs → Acme Ltd"]),
        ("700 million", "7 million", ["threshold: 700 million → 7 million active users"]),
        ("700 million active users", "700 million weekly customers", ["threshold: 700 million active users → 700 million weekly customers"]),
        ("except Atlantis", "except Atlantis and South Korea", ["territory: adds South Korea"]),
        ("except Atlantis", "except Thule", ["territory: drops Atlantis", "territory: adds Thule"]),
        ("March 3, 2025", "May 3, 2025", ["date 2025-03-03 → 2025-05-03"]),
        ("March 3, 2025", "March 3, 2026", ["date 2025-03-03 → 2026-03-03"]),
        ("Ferro 1.0", "Ferro 3.2", ["version 1.0 → 3.2"]),
    ],
)  # fmt: skip
def test_every_field_that_differs_is_named_in_words(old, new, words, invented, prints):
    text = invented["ferro-1.0"].replace(old, new).replace(old.upper(), new.upper())
    answer = recognise(text, prints)
    assert answer.modified
    assert answer.id == "ferro-1.0"
    assert [difference.words for difference in answer.fields.differences] == words


def test_another_house_in_a_known_template_is_that_template_with_other_fields(invented, prints):
    text = invented["ferro-1.0"]
    for old, new in (("FERRO 1.0", "KRANICH 4"), ("Ferro Labs", "Kranich & Sohn KG"), ("Ferro 1.0", "Kranich 4")):
        text = text.replace(old, new)
    answer = recognise(text, prints)
    assert answer.modified
    assert answer.id in ("ferro-1.0", "ferro-1.1")
    assert {"product: Ferro → Kranich", "licensor: Ferro Labs → Kranich & Sohn KG"} <= set(named(text, prints))


def test_the_siblings_are_named_with_the_fields_that_set_them_apart(invented, prints):
    answer = recognise(invented["ferro-1.1"].replace("700 million", "500 million"), prints)
    apart = {sibling.id: [one.words for one in sibling.differences] for sibling in answer.fields.siblings}
    apart[answer.id] = [one.words for one in answer.fields.differences]
    assert apart["ferro-1.1"] == ["threshold: 700 million → 500 million active users"]
    assert apart["ferro-1.1-b"] == ["threshold: 100 million → 500 million active users"]
    assert {"version 1.0 → 1.1", "date 2025-03-03 → 2025-06-09"} <= set(apart["ferro-1.0"])


def test_a_place_or_a_threshold_in_a_new_sentence_is_a_field_too(invented, prints):
    text = invented["ferro-1.0"].replace("4. Large", "These terms do not apply in Norway and Brazil.\n\n4. Large")
    assert named(text, prints) == ["territory: adds Norway", "territory: adds Brazil"]


def test_the_same_number_written_otherwise_is_a_change_and_no_other_field(invented, prints):
    answer = recognise(invented["ferro-1.0"].replace("700 million", "700,000,000"), prints)
    assert answer.modified
    assert answer.fields.differences == ()


def test_an_unmodified_text_shows_the_fields_of_its_licence_and_no_difference(invented, prints):
    report = recognise(invented["ferro-1.1-b"], prints).fields
    assert ("threshold", "100 million active users") in {(one.field, one.value) for one in report.values}
    assert (report.differences, report.siblings) == ((), ())


def test_a_text_that_is_no_licence_known_shows_the_fields_it_states(prints):
    text = 'This agreement is between you and Acme Widgets Ltd. ("Licensor"). It excludes nobody.\n\nVersion 2.3\n'
    answer = recognise(text, prints)
    assert answer.id is None
    assert {("licensor", "Acme Widgets Ltd."), ("version", "2.3")} <= {
        (one.field, one.value) for one in answer.fields.values
    }


def test_the_holder_of_a_licence_that_names_its_product_is_its_licensor(held):
    assert not recognise(HELD, held).modified
    assert not recognise(HELD.replace("2025 N", "2024-2026 N"), held).modified
    assert not recognise("Copyright (c) 2026 Acme Ltd\n\n" + HELD, held).modified
    answer = recognise(HELD.replace("Nordlicht GmbH", "Acme Ltd"), held)
    assert (answer.id, answer.modified, len(answer.changes)) == ("held", True, 1)
    assert answer.similarity < 1
    assert [one.words for one in answer.fields.differences] == ["licensor: Nordlicht GmbH → Acme Ltd"]


def test_a_name_with_another_number_is_another_product(held):
    answer = recognise(HELD.replace("Nordlicht Q2", "Nordlicht Q3"), held)
    assert "product: Nordlicht Q2 → Nordlicht Q3" in [
        one.words
        for differences in (answer.fields.differences, *(sibling.differences for sibling in answer.fields.siblings))
        for one in differences
    ]


@pytest.mark.parametrize(
    "line", ["Copyright (c) 2026 Acme Ltd", "Copyright 2019-2026 The Acme Authors", "© 2026 Acme, Inc."]
)
def test_a_filled_in_holder_of_a_licence_that_names_nobody_is_no_modification(line, invented, held, apache, prints):
    for text, fingerprints in (
        (FREE.replace("Copyright (c) 2025 Nordlicht GmbH", line), held),
        (f"{line}\n\n{invented['plain-permission']}", prints),
        (f"{line}\n\n{apache}", prints),
        (apache.replace("Copyright [yyyy] [name of copyright owner]", line), prints),
    ):
        answer = recognise(text, fingerprints)
        assert answer.id is not None
        assert not answer.modified, answer.changes


def test_values_have_one_form_however_they_are_written():
    assert {value for text in ("US$ 20,000,000 in annual revenue", "20 million US dollars (or equivalent) annual revenue")
            for value, _, _ in thresholds(text)} == {"20 million US dollars annual revenue"}  # fmt: skip
    assert [value for text in ("7 May 2024", "May 7, 2024", "2024-05-07", "May 2024") for value, _, _ in dates(text)] == [
        "2024-05-07", "2024-05-07", "2024-05-07", "2024-05"]  # fmt: skip
    assert [value for value, _, _ in places("THE EUROPEAN UNION, NORWAY AND THE ISLE OF MAN")] == [
        "European Union", "Norway", "Isle of Man"]  # fmt: skip
    assert holder("Copyright (c) 2023-2025, Acme Ltd. All rights reserved.") == "Acme Ltd"
    assert holder("Copyright [yyyy] [name of copyright owner]") == ""


def test_reading_fields_takes_a_time_that_grows_with_the_text():
    import time

    notices = "Copyright 2024 Acme Ltd\n\nAcme grants you. " * 900
    hostile = (
        notices,
        "A " * 4000,
        "Acme Ltd, " * 2000,
        '"Acme Beta" or ' * 1500,
        "the world except Norway, " * 1500,
        "1,000 " * 4000,
    )
    for text in hostile:
        began = time.process_time()
        extract(read(text))
        assert time.process_time() - began < 3, text[:20]
