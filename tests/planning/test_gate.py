"""The gate makes permits, and nobody else does."""

import pytest

from toolkit.errors import Refused
from toolkit.licensing.verdict import Finding, Target, Verdict
from toolkit.planning.gate import Permit, grant
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSettings

RECIPE = Recipe(base="acme/x", data=DataSettings("rows.jsonl"), output="run", path="r.yaml")


def verdict(level):
    findings = (Finding("rule", "error", "the reason", level=level),)
    return Verdict(Target("acme/x", None, "folder"), level, (), (), findings, (), (), "tk", "1")


@pytest.mark.parametrize("level", ["allowed", "allowed-with-obligations"])
def test_a_use_that_is_allowed_gets_a_permit_for_this_recipe_and_verdict(level):
    permit = grant(verdict(level), RECIPE)
    assert permit.recipe_sha256 == RECIPE.sha256
    assert permit.acknowledged is None


@pytest.mark.parametrize("level", ["prohibited", "needs-separate-license"])
@pytest.mark.parametrize("acknowledgement", [None, "counsel, ticket 12"])
def test_a_prohibition_cannot_be_acknowledged(level, acknowledgement):
    with pytest.raises(Refused, match="the reason") as caught:
        grant(verdict(level), RECIPE, acknowledgement)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("acknowledgement", [None, "", "  "])
def test_a_review_needs_somebody_who_answers_for_it(acknowledgement):
    with pytest.raises(Refused) as caught:
        grant(verdict("needs-review"), RECIPE, acknowledgement)
    assert caught.value.exit_code == 4
    assert grant(verdict("needs-review"), RECIPE, " counsel, ticket 12 ").acknowledged == "counsel, ticket 12"


def test_an_acknowledgement_that_nothing_needed_is_not_recorded():
    assert grant(verdict("allowed"), RECIPE, "counsel").acknowledged is None


def test_a_permit_cannot_be_made_by_hand():
    with pytest.raises(TypeError, match=r"only toolkit\.planning\.gate\.grant"):
        Permit("2026-01-01", "allowed", "0", "0", None)
