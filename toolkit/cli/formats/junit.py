"""A verdict as JUnit XML, in the part that the common schemas (Jenkins' and Apache Ant's) share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from toolkit.licensing.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdict: Verdict, words: str) -> str:
    """One suite: the verdict, each finding, question and obligation as a case; what stands in the way is a failure.
    `words` is the verdict as text, kept as the suite's output."""
    cases: list[tuple[str, str | None, str]] = [
        ("verdict", None if verdict.exit_code == 0 else verdict.level, f"the verdict is {verdict.level}")
    ]
    for finding in verdict.findings:
        failed = finding.level if finding.level not in (None, "allowed-with-obligations") else None
        clause = f" ({finding.license} {finding.clause})" if finding.clause else ""
        cases.append((f"finding {finding.id}", failed, f"{finding.text}{clause}"))
    for question in verdict.questions:
        cases.append((f"question {question.fact}", "needs-review", f"{question.text} {question.because}"))
    for owed in verdict.obligations:
        cases.append((f"obligation {owed.id} of {owed.license} {owed.clause}", None, owed.text))
    failures = sum(failed is not None for _, failed, _ in cases)
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", {
        "package": "tk", "id": "0", "name": "tk license-check", "hostname": "localhost", "time": "0",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "tests": str(len(cases)), "failures": str(failures), "errors": "0",
    })  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"target": verdict.target.id, "verdict": verdict.level, "tool": verdict.tool, "data": verdict.data}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for name, failed, text in cases:
        attributes = {"classname": _clean(verdict.target.id), "name": _clean(name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if failed:
            failure = ElementTree.SubElement(case, "failure", {"type": failed, "message": _clean(text)})
            failure.text = _clean(text)
    ElementTree.SubElement(suite, "system-out").text = _clean(words)
    ElementTree.SubElement(suite, "system-err")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _clean(text: str) -> str:
    """Text without the characters that XML 1.0 has no place for."""
    return _NOT_XML.sub("�", text)
