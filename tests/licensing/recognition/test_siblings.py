"""Licences of one template are told apart, and several licences in one text are found."""

import pytest

from toolkit.licensing.recognition.recognise import recognise, recognise_all

README = """\
# My model

A fine-tune that answers in verse. You may not expect prose, and commercial poets should look elsewhere.

## Licence

{}

## Citation

If you use it in research, name us.
"""


def test_versions_thresholds_licensors_and_territories_make_other_licences(invented, prints):
    for identifier, text in invented.items():
        answer = recognise(text, prints)
        assert (answer.id, answer.modified) == (identifier, False)


def test_an_edit_that_makes_a_sibling_is_the_sibling(invented, prints):
    text = invented["ferro-1.1"].replace("700 million", "100 million")
    assert (recognise(text, prints).id, recognise(text, prints).modified) == ("ferro-1.1-b", False)


def test_an_edited_text_names_its_siblings_too(invented, prints):
    answer = recognise(invented["ferro-1.1"].replace("700 million", "500 million"), prints)
    assert answer.id in ("ferro-1.1", "ferro-1.1-b")
    assert {"ferro-1.1", "ferro-1.1-b"} <= {answer.id, *(other.id for other in answer.others)}


def test_an_edited_extension_is_not_the_short_licence_with_something_added(invented, prints):
    answer = recognise(invented["plain-permission-gold"].replace("earns more than", "earns less than"), prints)
    assert (answer.id, [change.clause for change in answer.changes]) == ("plain-permission-gold", ["paragraph 3"])


def test_a_licence_within_a_readme_is_found_and_the_rest_is_not_held_against_it(invented, prints):
    for identifier in ("ferro-1.0", "plain-permission"):
        text = README.format(invented[identifier])
        inside = recognise(text, prints, embedded=True)
        assert (inside.id, inside.modified, inside.changes) == (identifier, False, ())
        assert [first for first, _ in inside.surrounding] == [1, text.split("\n").index("## Citation") + 1]
        assert recognise(text, prints).modified  # as a licence file, it says more than the licence


def test_an_edit_within_a_readme_is_still_an_edit(invented, prints):
    text = README.format(invented["ferro-1.0"].replace("may not train", "may train"))
    answer = recognise(text, prints, embedded=True)
    assert [change.clause for change in answer.changes] == ["3.c"]


@pytest.mark.parametrize("second", ["plain-permission", "nordlicht-2", "ferro-1.0", "ferro-1.1"])
def test_two_licences_in_one_file_are_both_found(second, invented, prints):
    text = f"{invented['ferro-1.0']}\n\n----------\n\n{invented[second]}"
    found = recognise_all(text, prints)
    assert sorted((match.id, match.modified) for match in found) == sorted([("ferro-1.0", False), (second, False)])
    assert found[0].last_line < found[1].first_line
    assert not recognise(text, prints).modified


def test_a_change_in_the_second_licence_makes_the_file_modified(invented, apache, prints):
    text = f"{apache}\n\n----------\n\n{invented['plain-permission']}".replace("for any purpose", "for one purpose")
    answer = recognise(text, prints)
    assert (answer.id, answer.modified) == ("apache-2.0", True)
    assert [change.clause for change in answer.changes] == ["plain-permission paragraph 1"]


def test_many_copies_of_a_short_licence_are_found_each(invented, prints):
    text = "\n\n".join([invented["plain-permission"]] * 12)
    assert [match.id for match in recognise_all(text, prints)] == ["plain-permission"] * 12


@pytest.mark.parametrize(
    "text",
    [
        README.format("To be decided."),
        "def licence():\n    return 'permission is granted'\n" * 40,
        "The fog comes\non little cat feet.\n",
        "Licensed under the Apache License, Version 2.0.",
        "1. a. 2. b. 3.\n",
        "———\n",
        "许可证" * 300,
    ],
)
def test_what_is_no_licence_is_nothing(text, prints):
    answer = recognise(text, prints)
    assert answer.id is None
    assert not answer.modified
    assert answer.similarity < 0.3
