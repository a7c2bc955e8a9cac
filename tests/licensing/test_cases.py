"""One loop over `tests/cases/<licence>/<use>.yaml`: a licence, a use, and what it comes to. A case needs no Python."""

from pathlib import Path

import pytest

from toolkit.files.schema import read_value
from toolkit.files.strict_yaml import load_file
from toolkit.licensing.judge import judge
from toolkit.licensing.library import library
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import use_shape
from toolkit.licensing.verdict import Target

FOLDER = Path(__file__).resolve().parent.parent / "cases"
CASES = sorted(FOLDER.rglob("*.yaml"))


def judged(case):
    use = read_value(case["use"], use_shape(library().words), "use")
    head = library().head(case["license"])
    work = Work("acme/case", case.get("role", "model"), "folder", declared=(head.id,), where="README.md:2")
    return judge(Target("acme/case", None, "folder"), (work,), use, library())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_a_case_comes_to_what_it_expects(path):
    case = load_file(path).value
    verdict = judged(case)
    found = {
        "verdict": verdict.level,
        "obligations": sorted({obligation.id for obligation in verdict.obligations}),
        "questions": sorted({question.fact for question in verdict.questions}),
        "assumptions": len(verdict.assumptions),
    }
    expected = {**case["expect"]}
    for name in ("obligations", "questions"):
        if name in expected:
            expected[name] = sorted(expected[name])
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("identifier", [name for name in library().ids if library().head(name).subject != "policy"])
def test_every_rule_binds_in_one_case_and_not_in_another(identifier):
    """Every duty and prohibition of a licence and of the policies it incorporates, over all cases of that licence."""
    verdicts = [judged(load_file(path).value) for path in sorted((FOLDER / identifier).glob("*.yaml"))]
    documents = [identifier, *(policy for policy, _ in library().head(identifier).incorporates)]
    for document in documents:
        for rule in library().terms(document).rules:
            bound = [_binds(rule, document, verdict) for verdict in verdicts]
            if rule.kind != "permission":
                assert any(bound), f"{document} {rule.id} binds in no case"
                unconditional = "use" in rule.trigger and not rule.when.parts
                assert unconditional or not all(bound), f"{document} {rule.id} binds in every case"


def _binds(rule, document, verdict):
    if rule.kind == "duty":
        return any(
            (owed.id, owed.license, owed.clause) == (rule.obligation, document, rule.clause)
            for owed in verdict.obligations
        )
    return any((finding.id, finding.license) == (rule.id, document) for finding in verdict.findings)
