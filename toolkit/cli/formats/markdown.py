"""A verdict as Markdown, for a ticket: what was asked, the answer, its reasons, and what is to be done as a checklist."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.cli.verdict_text import LEVEL_WORDS, use_words
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Verdict

_MARKUP = re.compile(r"([\\`*_\[\]<>|#])")


def markdown(verdict: Verdict, use: IntendedUse) -> str:
    """The verdict as a ticket shows it."""
    return "\n".join(_lines(verdict, use))


def _lines(verdict: Verdict, use: IntendedUse) -> Iterator[str]:
    revision = f"@{verdict.target.revision}" if verdict.target.revision else ""
    yield f"## {_plain(verdict.target.id)}{_plain(revision)}: {LEVEL_WORDS[verdict.level]}"
    yield ""
    yield f"Use: {_plain(use_words(use))}. Source: {verdict.target.source}."
    yield ""
    yield "| licence | role | work | evidence |"
    yield "|---|---|---|---|"
    for entry in verdict.effective:
        yield f"| {_plain(entry.id or 'not known')} | {entry.role} | {_plain(entry.work)} | {_plain(entry.evidence)} |"
    findings = [
        f"**{finding.severity}** `{finding.id}`: {_plain(finding.text)}{_clause(finding.license, finding.clause)}"
        for finding in verdict.findings
    ]
    yield from _section("Because", findings, "- ")
    owed = [
        f"`{owed.id}`: {_plain(owed.text)}{_clause(owed.license, owed.clause)}"
        + (f" Exactly: `{owed.value}`" if owed.value else "")
        for owed in verdict.obligations
    ]
    yield from _section("To do", owed, "- [ ] ")
    yield from _section("Assumed, since nobody said otherwise", [_plain(text) for text in verdict.assumptions], "- ")
    questions = [f"`{item.fact}`: {_plain(item.text)} {_plain(item.because)}" for item in verdict.questions]
    yield from _section("To decide", questions, "- [ ] ")
    if verdict.considered:
        yield from (
            "",
            "### Every rule considered",
            "",
            "| licence | clause | rule | outcome | why |",
            "|---|---|---|---|---|",
        )
        for rule in verdict.considered:
            cells = (rule.license, rule.clause, rule.rule, rule.outcome, rule.why)
            yield f"| {' | '.join(_plain(cell) for cell in cells)} |"
    yield ""
    yield f"{verdict.tool}, licence data {verdict.data}. Not legal advice: check the clauses."


def _section(title: str, entries: list[str], bullet: str) -> Iterator[str]:
    if entries:
        yield from ("", f"### {title}", "")
        for entry in entries:
            yield f"{bullet}{entry}"


def _clause(license_: str | None, clause: str | None) -> str:
    return f" ({_plain(license_)} {_plain(clause)})" if license_ and clause else ""


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
