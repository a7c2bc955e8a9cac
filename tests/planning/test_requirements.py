"""Requirements on the evaluation: their grammar, and what satisfies them."""

import math

import pytest

from toolkit.planning.requirements import gate, parse_requirement


@pytest.mark.parametrize(
    ("text", "base", "limit"),
    [
        ("< base", 2.0, 2.0),
        (">= 0.8", None, 0.8),
        ("<= 1.05 * base", 2.0, 2.1),
        (">=base + 0.1", 0.5, 0.6),
        ("> base - 2e-1", 0.5, 0.3),
        ("> -1.5", None, -1.5),
    ],
)
def test_a_bound_is_a_number_or_made_of_the_base(text, base, limit):
    assert parse_requirement("x", text).limit(base) == pytest.approx(limit)


@pytest.mark.parametrize("text", ["base", "0.8", "== 1", "< bse", "< 2 base", "< base * 2", "", "<", "< base + base"])
def test_other_words_are_no_requirement(text):
    assert parse_requirement("x", text) is None


@pytest.mark.parametrize(
    ("text", "base", "value", "passed"),
    [
        ("< base", 2.0, 1.9, True),
        ("< base", 2.0, 2.0, False),
        ("<= base", 2.0, 2.0, True),
        (">= 0.8", 0.0, 0.79, False),
        ("<= 1.05 * base", 2.0, 2.1, True),
        ("< base", None, 1.0, False),
        (">= 0.8", None, None, False),
        ("< base", 2.0, math.nan, False),
    ],
)
def test_a_score_that_is_missing_or_no_number_satisfies_nothing(text, base, value, passed):
    before = {} if base is None else {"x": base}
    after = {} if value is None else {"x": value}
    assert parse_requirement("x", text).judge(before, after)["passed"] is passed


def test_the_gate_is_passed_when_every_requirement_is():
    bounds = (parse_requirement("loss", "< base"), parse_requirement("f1", ">= 0.5"))
    before = {"loss": 2.0, "f1": 0.1}
    assert gate(bounds, before, {"loss": 1.0, "f1": 0.6})["passed"] is True
    failed = gate(bounds, before, {"loss": 1.0, "f1": 0.4})
    assert failed["passed"] is False
    assert [item["passed"] for item in failed["requirements"]] == [True, False]
    assert failed["requirements"][1] == {
        "score": "f1", "requires": ">= 0.5", "base": 0.1, "limit": 0.5, "value": 0.4, "passed": False
    }  # fmt: skip
