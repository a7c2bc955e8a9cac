"""An organisation's policy: what it denies, settles, asks for and waives, and what it cannot lift."""

import pytest

from toolkit.errors import InvalidInput
from toolkit.files.strict_yaml import load_text
from toolkit.licensing.judge import Manner, judge
from toolkit.licensing.lineage import Work
from toolkit.licensing.policy import read_policy
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Target

TODAY = "2026-11-24"
INTERNAL = IntendedUse(distribution="internal", commercial=True, fields=("general",))
LARGE = INTERNAL._replace(group_monthly_active_users={"2024-06": 5000})


def policy(text, library):
    return read_policy(load_text(text, "policy.yaml"), library)


def verdict(library, text, use, *tags):
    works = tuple(
        Work(
            f"acme/{tag}",
            "model",
            "folder",
            declared=("other",) if tag == "limited" else (tag,),
            declared_name=tag,
            where="README.md:2",
        )
        for tag in tags
    )
    manner = Manner(policy=policy(text, library), today=TODAY)
    return judge(Target("acme/x", None, "folder"), works, use, library, manner)


def ids(answer):
    return {finding.id for finding in answer.findings}


WAIVER = """
waivers:
  - license: limited-2.0
    rule: large-group
    approver: J. Doe, counsel
    reason: agreed with the licensor
    expires: {expires}
"""


def test_a_denied_licence_prohibits(invented):
    answer = verdict(invented, "denied: [free-1.0]", INTERNAL, "free")
    assert (answer.level, ids(answer)) == ("prohibited", {"policy-denies-license"})


def test_a_licence_under_review_needs_review(invented):
    assert verdict(invented, "review: [free-1.0]", INTERNAL, "free").level == "needs-review"


def test_a_licence_outside_the_allowed_ones_needs_review(invented):
    assert verdict(invented, "allowed: [free-1.0]", INTERNAL, "free").level == "allowed"
    answer = verdict(invented, "allowed: [free-1.0]", INTERNAL, "free", "limited")
    assert (answer.level, ids(answer)) == ("needs-review", {"policy-does-not-list-license"})


def test_a_required_fact_is_asked_for(invented):
    answer = verdict(invented, "required_facts: [seat]", INTERNAL, "free")
    assert (answer.level, [question.fact for question in answer.questions]) == ("needs-review", ["seat"])
    assert verdict(invented, "required_facts: [seat]", INTERNAL._replace(seat="DE"), "free").level == "allowed"


def test_a_settled_question_decides_nothing_and_stays_in_sight(invented):
    text = "settled: {unknown-license-key: counsel read it}"
    answer = verdict(invented, text, INTERNAL, "free", "banana")
    settled = next(finding for finding in answer.findings if finding.id == "unknown-license-key")
    assert (settled.severity, settled.level) == ("info", None)
    assert "counsel read it" in settled.text


def test_settling_a_question_does_not_lift_a_prohibition(invented):
    answer = verdict(invented, "settled: {use-not-granted: no}", INTERNAL, "study")
    assert answer.level == "prohibited"


def test_a_waiver_without_an_agreement_lifts_no_refusal(invented):
    answer = verdict(invented, WAIVER.format(expires="2027-01-01"), LARGE, "limited")
    assert answer.level == "needs-separate-license"
    assert "waiver-without-agreement" in ids(answer)


def test_a_waiver_with_an_agreement_lifts_what_it_names(invented):
    text = WAIVER.format(expires="2027-01-01") + "    agreement: licence 17 of 2026-01-05\n"
    answer = verdict(invented, text, LARGE, "limited")
    assert answer.level == "allowed"
    assert {"waiver-applied", "large-group"} <= ids(answer)
    applied = next(finding for finding in answer.findings if finding.id == "waiver-applied")
    assert "J. Doe" in applied.text
    assert "licence 17" in applied.text


def test_a_waiver_holds_on_its_last_day_and_not_after(invented):
    agreed = "    agreement: licence 17\n"
    assert verdict(invented, WAIVER.format(expires=TODAY) + agreed, LARGE, "limited").level == "allowed"
    answer = verdict(invented, WAIVER.format(expires="2026-11-23") + agreed, LARGE, "limited")
    assert (answer.level, "waiver-expired" in ids(answer)) == ("needs-separate-license", True)


def test_a_waiver_speaks_of_its_own_rule_only(invented):
    text = WAIVER.format(expires="2027-01-01") + "    agreement: licence 17\n"
    weapons = LARGE._replace(fields=("weapons",))
    assert verdict(invented, text, weapons, "limited").level == "prohibited"


def test_a_waiver_for_a_finding_of_no_licence_says_any(invented):
    text = (
        "waivers: [{license: any, rule: unknown-license-key, approver: J. Doe, reason: read it, expires: 2027-01-01}]"
    )
    answer = verdict(invented, text, INTERNAL, "free", "banana")
    assert "waiver-applied" in ids(answer)


def test_a_waiver_speaks_of_the_works_it_names_only(invented):
    text = WAIVER.format(expires="2027-01-01") + "    agreement: licence 17\n    works: [acme/limited]\n"
    assert verdict(invented, text, LARGE, "limited").level == "allowed"
    other = Work("acme/other", "model", "folder", declared=("other",), declared_name="limited", where="README.md:2")
    named = other._replace(id="acme/limited")
    manner = Manner(policy=policy(text, invented), today=TODAY)
    answer = judge(Target("acme/x", None, "folder"), (named, other), LARGE, invented, manner)
    assert answer.level == "needs-separate-license"


def test_a_question_about_what_a_licence_forbids_is_not_waived_without_an_agreement(invented):
    text = "waivers: [{license: study-1.0, rule: grant, approver: J. Doe, reason: we asked, expires: 2027-01-01}]"
    unknown = IntendedUse(distribution="internal", fields=("general",))
    answer = verdict(invented, text, unknown, "study")
    assert (answer.level, "waiver-without-agreement" in ids(answer)) == ("needs-review", True)


def test_an_obligation_is_lifted_by_an_agreement_only(invented):
    text = WAIVER.format(expires="2027-01-01").replace("large-group", "name")
    weights = INTERNAL._replace(distribution="weights", territories=("US",))
    assert [owed.id for owed in verdict(invented, text, weights, "limited").obligations] == ["name-prefix"]
    agreed = verdict(invented, text + "    agreement: licence 17\n", weights, "limited")
    assert (agreed.obligations, agreed.level) == ((), "allowed")


def test_what_is_known_to_be_undeclared_can_be_waived(invented):
    text = (
        "waivers: [{license: any, rule: no-license-declared, approver: J. Doe, reason: read it, expires: 2027-01-01}]"
    )
    works = (Work("acme/x", "model", "folder", where="README.md:2"),)
    manner = Manner(policy=policy(text, invented), today=TODAY)
    answer = judge(Target("acme/x", None, "folder"), works, INTERNAL, invented, manner)
    assert (answer.level, "waiver-applied" in ids(answer)) == ("allowed", True)


def test_a_finding_of_a_licence_can_be_settled_by_its_rule(invented):
    assert policy("settled: {large-group: we asked}", invented).settled == {"large-group": "we asked"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deny: [free-1.0]", "here it is called 'denied'"),
        ("denied: [fre-1.0]", "did you mean 'free-1.0'"),
        ("allowed: [free-1.0]\ndenied: [free-1.0]", "free-1.0 is also under allowed"),
        ("settled: {no-such: x}", "is no finding of tk"),
        ("required_facts: [seet]", "did you mean 'seat'"),
        (WAIVER.format(expires="soon"), "must be a day"),
        (WAIVER.format(expires="2026-02-30"), "must be a day"),
        (WAIVER.format(expires="2027-01-01").replace("large-group", "large-grup"), "did you mean 'large-group'"),
        (WAIVER.format(expires="2027-01-01").replace("    approver: J. Doe, counsel\n", ""), "approver: is missing"),
    ],
)
def test_a_bad_policy_is_refused_with_the_reason_and_the_line(invented, text, said):
    with pytest.raises(InvalidInput) as caught:
        policy(text, invented)
    assert said in caught.value.message
    assert "policy.yaml:" in caught.value.message
