"""What fails, and what was accepted before."""

import json

import pytest

from toolkit.audit.audited import Audit
from toolkit.audit.baseline import baseline_entry, baseline_head, read_baseline
from toolkit.audit.failing import FailOn, Item, read_fail_on
from toolkit.audit.outcome import Noted, Outcome, Result
from toolkit.errors import TkError, UsageError
from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse

USE = IntendedUse(distribution="internal")
TAG = Noted("tag-omits-base-license", "warning", "llama-3.1")


def result(verdict, *findings, name="acme/a", licenses=("mit",), questions=()):
    outcome = Outcome(verdict, tuple((entry, "model") for entry in licenses), findings, (), tuple(questions))
    return Result(name, "folder", name, outcome)


def looked_at(fail_on, *results, baseline=None):
    audit = Audit(read_fail_on(fail_on, library()), baseline)
    return audit, list(audit.each(iter(results)))


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("allowed", 0), ("allowed-with-obligations", 0), ("needs-review", 4), ("needs-separate-license", 3),
     ("prohibited", 3)],
)  # fmt: skip
def test_by_default_a_verdict_fails_as_a_check_of_it_does(verdict, code):
    audit, _ = looked_at((), result(verdict))
    assert audit.exit_code == code


def test_the_worst_verdict_that_fails_decides():
    audit, _ = looked_at((), result("needs-review"), result("prohibited"), result("needs-review"))
    assert audit.exit_code == 3
    audit, _ = looked_at(("needs-review",), result("needs-review"), result("prohibited"))
    assert (audit.exit_code, audit.failing) == (4, 1)


def test_a_finding_or_a_severity_may_fail_though_the_verdict_does_not():
    for word in ("tag-omits-base-license", "warning"):
        audit, (first, second) = looked_at((word,), result("allowed", TAG), result("allowed"))
        assert first.new == (Item("tag-omits-base-license", "llama-3.1"),)
        assert second.failing == ()
        assert audit.exit_code == 4


def test_nothing_fails_when_asked_so():
    audit, _ = looked_at(("none",), result("prohibited", TAG))
    assert (audit.exit_code, audit.failing) == (0, 0)


def test_a_rule_of_a_licence_may_fail_and_a_word_that_is_none_is_answered():
    assert read_fail_on(("use-not-granted, error",), library()).named == {"use-not-granted", "error"}
    rule = library().terms("llama-3.1").rules[-1].id
    assert read_fail_on((rule,), library()).named == {rule}
    with pytest.raises(UsageError, match="did you mean 'prohibited'"):
        read_fail_on(("prohibitted",), library())
    with pytest.raises(UsageError, match="nothing else"):
        read_fail_on(("none,error",), library())


def accepted(tmp_path, *results, use=USE, fail_on=()):
    fails = read_fail_on(fail_on, library())
    entries = [baseline_entry(one, item) for one in results for item in fails.items(one.outcome)]
    path = tmp_path / "baseline.json"
    path.write_text(baseline_head(use) + ",\n".join(entries) + "]}")
    return path


def test_what_was_accepted_does_not_fail_and_what_is_gone_is_told(tmp_path):
    path = accepted(tmp_path, result("needs-review"), result("prohibited", name="acme/old"))
    baseline = read_baseline(path, USE)
    audit, (first, second) = looked_at((), result("needs-review"), result("needs-review", name="acme/b"),
                                       baseline=baseline)  # fmt: skip
    assert (first.failing, first.new) == ((Item("needs-review"),), ())
    assert second.new == (Item("needs-review"),)
    assert (audit.failing, audit.new, audit.exit_code) == (2, 1, 4)
    assert [entry.model for entry in baseline.gone()] == ["acme/old"]


@pytest.mark.parametrize(
    "changed",
    [
        result("needs-review", licenses=("mit", None)),
        result("needs-review", Noted("license-text-modified", "error", "mit", "needs-review")),
        result("needs-review", questions=("seat",)),
        result("prohibited"),
    ],
    ids=["another licence", "another reason", "a question", "another verdict"],
)
def test_a_model_that_has_changed_is_new_again(tmp_path, changed):
    baseline = read_baseline(accepted(tmp_path, result("needs-review")), USE)
    _, (audited,) = looked_at((), changed, baseline=baseline)
    assert audited.new == audited.failing != ()


def test_an_accepted_verdict_holds_while_a_finding_that_decides_nothing_changes(tmp_path):
    baseline = read_baseline(accepted(tmp_path, result("needs-review")), USE)
    _, (audited,) = looked_at((), result("needs-review", TAG), baseline=baseline)
    assert audited.new == ()


def test_a_baseline_for_another_use_accepts_nothing(tmp_path):
    path = accepted(tmp_path, result("needs-review"), use=USE._replace(purpose="support"))
    read_baseline(path, USE)  # a purpose is free text and decides nothing
    with pytest.raises(TkError, match="another use: commercial differ"):
        read_baseline(path, USE._replace(commercial=True))


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "tk/verdict/1"}'])
def test_a_file_that_is_no_baseline_is_answered(tmp_path, text):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(TkError, match="baseline"):
        read_baseline(path, USE)


def test_an_entry_that_was_edited_badly_is_shown(tmp_path):
    path = accepted(tmp_path, result("needs-review"))
    value = json.loads(path.read_text())
    del value["accepted"][0]["digest"]
    path.write_text(json.dumps(value))
    with pytest.raises(TkError, match="an entry lacks model, what, license or digest"):
        read_baseline(path, USE)


def test_few_models_are_kept_to_be_shown_and_the_worst_come_first():
    many = [result("needs-review", name=f"acme/{number}") for number in range(600)]
    audit = Audit(FailOn(frozenset({"needs-review", "prohibited"})), None)
    for audited in audit.each(iter([*many, result("prohibited", name="acme/worst")])):
        assert audited.new
    assert audit.failing == 601
    assert [entry.result.id for entry in audit.shown(2)] == ["acme/worst", "acme/0"]
    assert len(audit.shown(1000)) == 501
