"""What a planned name or licence breaks of the rules that bind the release."""

import pytest

from toolkit.licensing.judge import judge
from toolkit.licensing.library import library
from toolkit.licensing.lineage import Work
from toolkit.licensing.planned import breaks_naming
from toolkit.licensing.use import IntendedUse, PlannedRelease
from toolkit.licensing.verdict import Target

WEIGHTS = IntendedUse(distribution="weights", commercial=False, fields=("general",))


def found(base, planned, use=WEIGHTS):
    work = Work("acme/x", "model", "folder", declared=(base,), where="README.md:2")
    use = use._replace(release=PlannedRelease(license=planned))
    return judge(Target("acme/x", None, "folder"), (work,), use, library()).findings


def ids(findings):
    return {finding.id for finding in findings if finding.level}


@pytest.mark.parametrize(
    ("name", "word", "kept"),
    [
        ("Llama-Acme-8B", "Llama", True),
        ("acme/Llama-Acme-8B", "Llama", True),
        ("Acme-Llama-8B", "Llama", False),
        ("llama-acme", "Llama", False),
        ("Llama-3-Acme", "Llama 3", True),
        ("Llama-Acme-3", "Llama 3", False),
        ("HyperCLOVAX-SEED-Acme", "HyperCLOVA X", True),
        ("Built-with-Llama", "Llama", False),
    ],
)
def test_a_prefix_is_kept_by_the_name_as_a_hub_writes_it(name, word, kept):
    assert (breaks_naming(name, "name-prefix", word) is None) is kept


def test_a_name_that_must_not_lead_with_a_word_may_hold_it():
    assert breaks_naming("Qwen-Acme", "no-qwen-primary-name", None)
    assert breaks_naming("acme/acme-on-qwen", "no-qwen-primary-name", None) is None


@pytest.mark.parametrize("planned", ["apache-2.0", "Apache-2.0", "mit", "cc-by-4.0"])
def test_a_permissive_licence_does_not_carry_use_restrictions(planned):
    assert "planned-license-lacks-use-restrictions" in ids(found("deepseek-la-1.0", planned))


def test_the_licence_itself_carries_its_restrictions():
    assert ids(found("deepseek-la-1.0", "deepseek-la-1.0")) == set()


def test_a_planned_licence_that_nobody_knows_cannot_be_told_to_carry_them():
    lacking = next(finding for finding in found("deepseek-la-1.0", "acme-eula") if finding.level)
    assert lacking.id == "planned-license-lacks-use-restrictions"
    assert "not known here" in lacking.text


def test_restrictions_need_not_travel_where_nothing_leaves():
    internal = WEIGHTS._replace(distribution="internal")
    assert ids(found("deepseek-la-1.0", "apache-2.0", internal)) == set()


def test_a_commercial_licence_grants_more_than_a_research_base():
    assert "planned-license-grants-more-than-base" in ids(found("qwen-research-2024", "apache-2.0"))
    assert ids(found("qwen-research-2024", "qwen-research-2024")) == set()
