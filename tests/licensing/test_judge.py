"""The reasoning, on invented licences: three values, the worst wins, nothing decides nothing."""

import shutil
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.licensing.constraints import Leaf
from toolkit.licensing.judge import Manner, judge
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import IntendedUse, OutputsTrain, PlannedRelease
from toolkit.licensing.verdict import LEVELS, Target

INTERNAL = IntendedUse(distribution="internal", commercial=True)


def work(tag, identifier="acme/x", role="model", bases=()):
    declared = () if tag is None else ("other",) if tag == "limited" else (tag,)
    return Work(identifier, role, "folder", declared=declared, declared_name=tag, where="README.md:2", bases=bases)


def verdict(library, use, *works, strict=False):
    return judge(Target("acme/x", None, "folder"), works, use, library, Manner(strict=strict))


def ids(entries):
    return [entry.id for entry in entries]


def test_a_permissive_licence_allows_internal_use(invented):
    assert verdict(invented, INTERNAL, work("free")).level == "allowed"


def test_no_work_at_all_needs_review(invented):
    assert verdict(invented, INTERNAL).level == "needs-review"


def test_a_work_without_a_licence_needs_review(invented):
    answer = verdict(invented, INTERNAL, work(None))
    assert (answer.level, ids(answer.findings)) == ("needs-review", ["no-license-declared"])
    assert answer.effective[0].id is None


@pytest.mark.parametrize("tag", ["license", "unknown", " "])
def test_a_placeholder_declares_nothing(invented, tag):
    assert ids(verdict(invented, INTERNAL, work(tag)).findings) == ["no-license-declared"]


def test_an_unknown_key_is_named(invented):
    answer = verdict(invented, INTERNAL, work("banana"))
    assert answer.level == "needs-review"
    assert "'banana'" in answer.findings[0].text


def test_the_worst_licence_of_a_lineage_wins(invented):
    answer = verdict(invented, INTERNAL, work("free", bases=(work("study", "acme/base"),)))
    assert answer.level == "prohibited"
    assert ids(answer.effective) == ["free-1.0", "study-1.0"]


def test_a_tag_does_not_remove_the_licence_of_a_base(invented):
    answer = verdict(invented, INTERNAL, work("free", bases=(work("limited", "acme/base"),)))
    assert "limited-2.0" in ids(answer.effective)
    assert {"tag-omits-base-license", "tag-contradicts-base"} <= set(ids(answer.findings))


def test_a_name_that_several_licences_have_is_judged_by_each_of_them(tmp_path, invented):
    shutil.copytree(invented.folder, tmp_path, dirs_exist_ok=True)
    limited = (tmp_path / "limited-2.0.yaml").read_text()
    strict = limited.replace("limited-2.0", "limited-3.0").replace("value: [weapons]", "value: [military]")
    (tmp_path / "limited-3.0.yaml").write_text(strict.replace("acme/Limited-*", "acme/Third-*"))
    both = Library(tmp_path)
    unplaced = verdict(both, INTERNAL._replace(fields=("military",)), work("limited"))
    assert (unplaced.level, "license-name-ambiguous" in ids(unplaced.findings)) == ("prohibited", True)
    placed = verdict(both, INTERNAL._replace(fields=("military",)), work("limited", "acme/Limited-7B"))
    assert (placed.level, ids(placed.effective)) == ("allowed", ["limited-2.0"])


def test_a_catalogued_base_is_followed(invented):
    known = Work("acme/Free-Tuned", "model", "catalogue", bases=(Work("acme/Limited-7B", "model", "catalogue"),))
    assert ids(verdict(invented, INTERNAL, known).effective) == ["free-1.0", "limited-2.0"]


def test_a_tag_that_contradicts_the_catalogue_is_judged_beside_it(invented):
    answer = verdict(invented, INTERNAL, work("free", "acme/Limited-7B"))
    assert ids(answer.effective) == ["free-1.0", "limited-2.0"]
    assert "tag-contradicts-catalogue" in ids(answer.findings)


def test_an_unknown_fact_is_asked_for(invented):
    answer = verdict(invented, IntendedUse(distribution="internal"), work("study"))
    assert (answer.level, [question.fact for question in answer.questions]) == ("needs-review", ["commercial"])


def test_an_extreme_threshold_is_assumed_not_reached_and_said(invented):
    answer = verdict(invented, INTERNAL, work("limited"))
    assert answer.level == "allowed"
    assert any("1,000" in text and "limited-2.0 2" in text for text in answer.assumptions)


def test_strict_asks_instead_of_assuming(invented):
    answer = verdict(invented, INTERNAL, work("limited"), strict=True)
    assert answer.assumptions == ()
    assert {"group_monthly_active_users", "fields"} == {question.fact for question in answer.questions}


def test_a_stated_fact_is_not_assumed(invented):
    use = INTERNAL._replace(fields=("general",), group_monthly_active_users={"2024-06": 10})
    assert verdict(invented, use, work("limited")).assumptions == ()


def test_a_threshold_binds_above_its_value_in_its_month_only(invented):
    def level(users):
        return verdict(invented, INTERNAL._replace(group_monthly_active_users=users), work("limited")).level

    assert level({"2024-06": 1001}) == "needs-separate-license"
    assert level({"2024-06": 1000}) == "allowed"
    assert level({"2023-06": 9999}) == "allowed"
    assert level(1001) == "needs-separate-license"


def test_a_country_belongs_to_its_group(invented):
    def level(*territories):
        use = IntendedUse(distribution="weights", commercial=True, territories=territories)
        return verdict(invented, use, work("limited")).level

    assert level("DE") == level("EU") == level("US", "FR") == level("WORLD") == "prohibited"
    assert level("US") == level("GB") == "allowed-with-obligations"


@pytest.mark.parametrize(("seat", "truth"), [("DE", True), ("EU", True), ("US", False), ("EEA", None), (None, None)])
def test_a_seat_in_a_group_of_which_only_a_part_is_meant_is_not_known(invented, seat, truth):
    facts = IntendedUse(seat=seat).facts(invented.words)
    assert facts.truth(Leaf("seat", "isAnyOf", ("EU",))) is truth


def test_an_act_that_no_permission_covers_needs_review(invented):
    use = INTERNAL._replace(outputs_train=OutputsTrain("acme/other"))
    answer = verdict(invented, use, work("limited", role="outputs"))
    assert (answer.level, ids(answer.findings)) == ("needs-review", ["permission-silent"])


def test_a_planned_name_must_keep_the_prefix(invented):
    use = IntendedUse(distribution="weights", commercial=True, territories=("US",))
    wrong = use._replace(release=PlannedRelease(name="acme/Mine-7B"))
    right = use._replace(release=PlannedRelease(name="acme/Limited-Mine-7B"))
    assert ids(verdict(invented, wrong, work("limited")).findings) == ["planned-name-breaks-prefix"]
    assert verdict(invented, wrong, work("limited")).level == "needs-review"
    assert verdict(invented, right, work("limited")).level == "allowed-with-obligations"


def test_data_of_ones_own_has_no_third_party_terms(invented):
    data = Work("rows.jsonl", "dataset", "use", declared=("own",), where="the intended use")
    assert verdict(invented, INTERNAL, work("free"), data).level == "allowed"


def test_data_without_a_licence_needs_review(invented):
    data = Work("rows.jsonl", "dataset", "use")
    assert verdict(invented, INTERNAL, work("free"), data).level == "needs-review"


def test_a_distribution_that_nobody_stated_is_asked_for(invented):
    answer = verdict(invented, IntendedUse(commercial=True), work("free"))
    assert (answer.level, answer.questions[0].fact) == ("needs-review", "distribution")


TAGS = st.sampled_from(["free", "limited", "study", "banana", "license", None])
WORKS = st.lists(TAGS, min_size=1, max_size=4)
USES = st.builds(
    IntendedUse,
    commercial=st.sampled_from([True, False, None]),
    distribution=st.sampled_from(["internal", "hosted-service", "weights", "embedded-product", "evaluation", None]),
    recipients=st.sampled_from(["legal-entity", "affiliates", None]),
    modified=st.sampled_from([True, False, None]),
    territories=st.sampled_from([None, ("US",), ("EU",), ("WORLD",)]),
    group_monthly_active_users=st.sampled_from([None, 5, 10**9, {"2024-06": 10**9}, {"2020-01": 1}]),
    fields=st.sampled_from([None, ("general",), ("weapons",)]),
)


@settings(max_examples=150, deadline=None)
@given(tags=WORKS, more=TAGS, use=USES)
def test_another_licence_never_improves_a_verdict(invented, tags, more, use):
    works = [work(tag, f"acme/{index}") for index, tag in enumerate(tags)]
    before = verdict(invented, use, *works).level
    after = verdict(invented, use, *works, work(more, "acme/more")).level
    assert LEVELS.index(after) >= LEVELS.index(before)


@settings(max_examples=100, deadline=None)
@given(tags=st.lists(TAGS, min_size=2, max_size=3), use=USES)
def test_the_order_of_a_lineage_does_not_matter(invented, tags, use):
    works = [work(tag, f"acme/{index}") for index, tag in enumerate(tags)]
    answers = [verdict(invented, use, *order) for order in permutations(works)]
    assert len({answer.level for answer in answers}) == 1
    assert len({frozenset(answer.obligations) for answer in answers}) == 1


@settings(max_examples=150, deadline=None)
@given(tag=TAGS, use=USES, fact=st.sampled_from(["fields", "group_monthly_active_users", "territories"]))
def test_an_unknown_fact_is_never_better_than_the_harmless_one_under_strict(invented, tag, use, fact):
    harmless = {"fields": ("general",), "group_monthly_active_users": 1, "territories": ("US",)}[fact]
    known = verdict(invented, use._replace(**{fact: harmless}), work(tag), strict=True).level
    unknown = verdict(invented, use._replace(**{fact: None}), work(tag), strict=True).level
    assert LEVELS.index(unknown) >= LEVELS.index(known)
