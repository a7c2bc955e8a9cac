"""What holds for every licence that ships, whatever the use: found by trying many."""

from itertools import permutations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from toolkit.licensing.judge import Manner, judge
from toolkit.licensing.library import library
from toolkit.licensing.lineage import LicenseText, Work
from toolkit.licensing.use import IntendedUse, OutputsTrain, PlannedRelease
from toolkit.licensing.verdict import LEVELS, Target

LIBRARY = library()
WORDS = LIBRARY.words
IDS = [identifier for identifier in LIBRARY.ids if LIBRARY.head(identifier).subject != "policy"]
TAGS = st.sampled_from([*IDS, "banana", "license", "own", None])
ROLES = st.sampled_from(["model", "adapter", "outputs", "dataset"])
WORKS = st.builds(
    lambda tag, role, number: Work(
        f"acme/{number}", role, "folder", declared=() if tag is None else (tag,), where="README.md:2"
    ),
    TAGS,
    ROLES,
    st.integers(0, 9),
)

# Each fact from its most harmless value to its strictest: no step may make a verdict better.
LADDERS = {
    "commercial": (False, True),
    "modified": (False, True),
    "territories": (("JP",), ("JP", "DE"), ("JP", "DE", "KR", "GB"), ("WORLD",)),
    "fields": (("general",), ("general", "military"), tuple(WORDS.fields)),
    "businesses": ((), ("model-as-a-service",), tuple(name for name in WORDS.businesses if name != "non-profit")),
    "group_annual_revenue_usd": (0, 10**6, 10**7, 10**8, 10**11),
    "product_monthly_revenue_usd": (0, 10**6, 10**8, 10**10),
    "product_monthly_active_users": (0, 10**6, 10**8, 10**9),
    "group_monthly_active_users": (0, 10**7, 10**8 + 1, 10**9),
    "distribution": ("internal", "weights", "embedded-product"),
}
USES = st.builds(
    IntendedUse,
    distribution=st.sampled_from(["internal", "hosted-service", "weights", "embedded-product", "evaluation", None]),
    recipients=st.sampled_from(["legal-entity", "affiliates", "contractors", None]),
    seat=st.sampled_from(["DE", "US", "KR", None]),
    modalities=st.sampled_from([None, ("text",), ("text", "image")]),
    obtained=st.sampled_from([None, "direct", "integrated-product"]),
    outputs_train=st.sampled_from([None, OutputsTrain("acme/student"), OutputsTrain("meta-llama/Llama-2-7b", True)]),
    release=st.sampled_from([None, PlannedRelease("acme/x", "apache-2.0"), PlannedRelease("Llama-x", "other")]),
    **{name: st.sampled_from([None, *ladder]) for name, ladder in LADDERS.items() if name not in ("distribution",)},
)
MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rank(works, use, **manner):
    verdict = judge(Target("acme/x", None, "folder"), tuple(works), use, LIBRARY, Manner(**manner))
    return LEVELS.index(verdict.level)


@MANY
@given(works=st.lists(WORKS, max_size=4), use=USES, strict=st.booleans())
def test_no_input_makes_the_reasoning_raise_and_every_rule_it_shows_has_a_clause(works, use, strict):
    verdict = judge(Target("acme/x", None, "folder"), tuple(works), use, LIBRARY, Manner(strict=strict, explain=True))
    assert all(owed.clause for owed in verdict.obligations)
    assert all(finding.clause for finding in verdict.findings if finding.rule)
    assert verdict.level in LEVELS


@MANY
@given(works=st.lists(WORKS, max_size=3), more=WORKS, use=USES)
def test_another_licence_never_improves_a_verdict(works, more, use):
    more = more._replace(id="acme/more")
    if any(work.role in ("model", "adapter") for work in works) or more.role not in ("model", "adapter"):
        assert rank([*works, more], use) >= rank(works, use) or not works


@MANY
@given(works=st.lists(WORKS, min_size=1, max_size=3), use=USES, fact=st.sampled_from(sorted(LADDERS)), data=st.data())
def test_a_stricter_fact_never_improves_a_verdict(works, use, fact, data):
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(LADDERS[fact]) - 1)] * 2)))
    before = rank(works, use._replace(**{fact: LADDERS[fact][low]}))
    after = rank(works, use._replace(**{fact: LADDERS[fact][high]}))
    assert after >= before


@MANY
@given(
    works=st.lists(WORKS, min_size=1, max_size=3),
    use=USES,
    fact=st.sampled_from(sorted(set(LADDERS) - {"modified", "distribution"})),
    strict=st.booleans(),
)
def test_an_unknown_fact_is_never_better_than_the_harmless_one(works, use, fact, strict):
    known = rank(works, use._replace(**{fact: LADDERS[fact][0]}), strict=strict)
    unknown = rank(works, use._replace(**{fact: None}), strict=strict)
    assert unknown >= known


@MANY
@given(works=st.lists(WORKS, min_size=2, max_size=3), use=USES)
def test_the_order_of_a_lineage_does_not_matter(works, use):
    works = [work._replace(id=f"acme/{index}") for index, work in enumerate(works)]
    answers = [judge(Target("x", None, "folder"), order, use, LIBRARY) for order in permutations(works)]
    assert len({answer.level for answer in answers}) == 1
    assert len({frozenset(answer.obligations) for answer in answers}) == 1
    assert len({frozenset(answer.findings) for answer in answers}) == 1


@MANY
@given(work=WORKS, use=USES, text=st.sampled_from(IDS))
def test_an_altered_text_is_never_allowed(work, use, text):
    assume(work.declared != ("own",))  # what somebody's own data lies beside binds nobody else
    altered = LicenseText("LICENSE", text, modified=True, detail="section 2 altered")
    assert rank([work._replace(texts=(altered,))], use) >= LEVELS.index("needs-review")
