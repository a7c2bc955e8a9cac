"""The quick answer agrees with the comparison, and is given only for a text that is the licence letter for letter."""

from pathlib import Path

import pytest

from toolkit.files.shipped import shipped
from toolkit.licensing.recognition.exact import exact
from toolkit.licensing.recognition.prints import fingerprints
from toolkit.licensing.recognition.recognise import recognise

FOLDER = shipped("licenses") / "fingerprints"
APACHE = (Path(__file__).resolve().parents[3] / "LICENSE").read_text()


def test_a_copy_is_known_at_once_in_any_case_and_wrapping():
    assert exact(APACHE, FOLDER) == "apache-2.0"
    assert exact(" ".join(APACHE.upper().split()), FOLDER) == "apache-2.0"


@pytest.mark.parametrize(("old", "new"), [("perpetual", ""), ("shall not", "shall"), ("perpetual", "not perpetual")])
def test_a_changed_copy_is_left_to_the_comparison(old, new):
    changed = APACHE.replace(old, new, 1)
    assert changed != APACHE
    assert exact(changed, FOLDER) is None
    assert recognise(changed, fingerprints(FOLDER)).modified


def test_the_quick_answer_and_the_comparison_agree():
    assert recognise(APACHE, fingerprints(FOLDER)).id == exact(APACHE, FOLDER)
