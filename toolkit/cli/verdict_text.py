"""A verdict in words that are read in ten seconds: verdict, because, what you must do, what was assumed, what to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Considered, Finding, Obligation, Verdict

_COLOURS = {"allowed": "green", "allowed-with-obligations": "green", "needs-review": "yellow"}
LEVEL_WORDS = {
    "allowed": "allowed",
    "allowed-with-obligations": "allowed, with obligations",
    "needs-review": "needs review",
    "needs-separate-license": "needs a separate licence",
    "prohibited": "prohibited",
}


def verdict_text(verdict: Verdict, use: IntendedUse) -> str:
    """The verdict as a terminal shows it."""
    return "\n".join(_lines(verdict, use))


def _lines(verdict: Verdict, use: IntendedUse) -> Iterator[str]:
    revision = f"@{verdict.target.revision[:12]}" if verdict.target.revision else ""
    level = click.style(LEVEL_WORDS[verdict.level], fg=_COLOURS.get(verdict.level, "red"), bold=True)
    yield f"{verdict.target.id}{revision}: {level}"
    yield from _wrapped(f"for {use_words(use)}")
    yield ""
    yield "Because"
    decisive = [finding for finding in verdict.findings if finding.severity == "error"]
    for finding in decisive:
        yield from _finding(finding)
    for entry in verdict.effective:
        binds = f"{entry.id} binds" if entry.id else "no licence is known for"
        yield from _wrapped(f"{binds} the {entry.role} {entry.work}: {entry.evidence}", bullet="- ")
    for finding in verdict.findings:
        if finding not in decisive:
            yield from _finding(finding)
    yield from _section("You must", [_owed(obligation) for obligation in verdict.obligations])
    yield from _section("Assumed, since nobody said otherwise", list(verdict.assumptions))
    yield from _section(
        "To decide, say", [f"{question.fact}: {question.text} ({question.because})" for question in verdict.questions]
    )
    if verdict.considered:
        yield from _section("Every rule considered", [_considered(entry) for entry in verdict.considered])
    yield ""
    yield f"{verdict.tool}, licence data {verdict.data}. Not legal advice: check the clauses."


def use_words(use: IntendedUse) -> str:
    """A use in a few words."""
    said = [use.distribution or "a distribution not stated"]
    if use.commercial is not None:
        said.append("commercial" if use.commercial else "non-commercial")
    said.append("modified" if use.is_modified() else "unmodified")
    for name, value in use.to_json().items():
        if name not in ("distribution", "commercial", "modified", "purpose", "datasets", "release"):
            said.append(f"{name.replace('_', ' ')} {_value(value) or 'none'}")
    return ", ".join(said)


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _considered(entry: Considered) -> str:
    return f"[{entry.license} {entry.clause}] {entry.rule} ({entry.kind}): {entry.outcome}. {entry.why}"


def _owed(obligation: Obligation) -> str:
    exactly = f" Exactly: “{obligation.value}”" if obligation.value else ""
    return f"{obligation.text} [{obligation.license} {obligation.clause}]{exactly}"


def _finding(finding: Finding) -> list[str]:
    clause = f" [{finding.license} {finding.clause}]" if finding.license and finding.clause else ""
    return _wrapped(f"{finding.text}{clause} ({finding.id})", bullet="- " if finding.severity == "info" else "! ")


def _section(title: str, entries: list[str]) -> Iterator[str]:
    if entries:
        yield ""
        yield title
        for entry in entries:
            yield from _wrapped(entry, bullet="- ")


def _wrapped(text: str, bullet: str = "") -> list[str]:
    """Lines no wider than the terminal, broken at spaces. textwrap does more, and costs more than the judging."""
    width = _width()
    lines = [f"  {bullet}"]
    room = width - len(lines[0])
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width and len(lines[-1]) > width - room:
            lines.append(" " * (len(bullet) + 2))
        lines[-1] += word if lines[-1].isspace() or lines[-1] == f"  {bullet}" else f" {word}"
    return lines


def _width() -> int:
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 100
    return max(min(columns, 110), 40)
