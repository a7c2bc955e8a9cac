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


def read_cases(path):
    """A file holds one case, or several under `cases:` by name, which share what stands beside it."""
    document = load_file(path).value
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    if "cases" not in document:
        return {name: document}
    shared = {key: value for key, value in document.items() if key != "cases"}
    return {f"{name}/{word}": {**shared, **case} for word, case in document["cases"].items()}


CASES = {name: case for path in sorted(FOLDER.rglob("*.yaml")) for name, case in read_cases(path).items()}


def judged(case):
    """A work under the licence alone, and the model that data or outputs under it train, under a waiver of all rights
    that adds nothing."""
    use = read_value(case["use"], use_shape(library().words), "use")
    head = library().head(case["license"])
    works = [Work("acme/case", case.get("role", "model"), "folder", declared=(head.id,), where="README.md:2")]
    trains = use.outputs_train.model if use.outputs_train else case.get("trains")
    if trains:
        name = f"acme/{trains.rpartition('/')[2]}"  # whose licence the catalogue does not know
        works.append(Work(name, "model", "folder", declared=("cc0-1.0",), where="README.md:2"))
    return judge(Target("acme/case", None, "folder"), tuple(works), use, library())


@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_to_what_it_expects(name):
    case = CASES[name]
    verdict = judged(case)
    found = {
        "verdict": verdict.level,
        "obligations": sorted({obligation.id for obligation in verdict.obligations}),
        "questions": sorted({question.fact for question in verdict.questions}),
        "assumptions": len(verdict.assumptions),
        "findings": sorted({finding.id for finding in verdict.findings}),
    }
    expected = {**case["expect"]}
    for key in ("obligations", "questions", "findings"):
        if key in expected:
            expected[key] = sorted(expected[key])
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("identifier", [name for name in library().ids if library().head(name).subject != "policy"])
def test_every_rule_binds_in_one_case_and_not_in_another(identifier):
    """Every duty and prohibition of a licence and of the policies it incorporates, over all cases of that licence."""
    verdicts = [judged(case) for name, case in CASES.items() if name.startswith(f"{identifier}/")]
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
