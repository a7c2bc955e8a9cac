"""A verdict as SARIF 2.1.0 (OASIS), as code scanning reads it: every result has a physical location."""

from __future__ import annotations

from collections.abc import Iterator

import toolkit
from toolkit.cli.formats.places import place_of
from toolkit.files.strict_yaml import Document
from toolkit.licensing.findings import FINDINGS
from toolkit.licensing.verdict import Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def sarif(verdict: Verdict, stated: Document) -> dict[str, object]:
    """One run with a result for each finding, question, obligation and assumption."""
    results = list(_results(verdict, stated))
    rules = {str(result["ruleId"]): result.pop("_says") for result in results}
    index = {name: number for number, name in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = index[str(result["ruleId"])]
    driver = {
        "name": "tk",
        "version": toolkit.__version__,
        "rules": [{"id": name, "shortDescription": {"text": text}} for name, text in rules.items()],
    }
    properties = {**verdict.to_json()}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results, "properties": properties}],
    }


def _results(verdict: Verdict, stated: Document) -> Iterator[dict[str, object]]:
    def result(
        rule: str, says: str, level: str, text: str, where: str | None = None, facts: tuple[str, ...] = ()
    ) -> dict[str, object]:
        place = place_of(where, facts, verdict, stated)
        location = {"artifactLocation": {"uri": place.uri}, "region": {"startLine": place.line}}
        return {
            "ruleId": rule,
            "_says": says,
            "level": level,
            "message": {"text": f"{verdict.target.id}: {text}"},
            "locations": [{"physicalLocation": location}],
        }

    for finding in verdict.findings:
        clause = f" ({finding.license} {finding.clause})" if finding.clause else ""
        says = FINDINGS.get(finding.id, f"the rule {finding.id} of a licence binds")
        yield result(
            finding.id, says, _LEVELS[finding.severity], f"{finding.text}{clause}", finding.where, finding.facts
        )
    for question in verdict.questions:
        says = "a fact that decides is not stated"
        yield result(
            f"question/{question.fact}", says, "warning", f"{question.text} {question.because}", None, (question.fact,)
        )
    for owed in verdict.obligations:
        exactly = f" Exactly: {owed.value}" if owed.value else ""
        text = f"{owed.text} ({owed.license} {owed.clause}){exactly}"
        yield result(f"obligation/{owed.id}", "an obligation that the use triggers", "note", text)
    for assumption in verdict.assumptions:
        yield result("assumption", "a missing fact that was taken as harmless", "note", f"assumed: {assumption}")
