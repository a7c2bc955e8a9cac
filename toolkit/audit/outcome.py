"""What a verdict comes to without the words that name one model, so that models alike share one outcome."""

from typing import NamedTuple

from toolkit.licensing.verdict import EXIT_CODES, Finding, Verdict

UNKNOWN = "unknown"


class Noted(NamedTuple):
    """A finding: its id, severity, the licence it speaks of, and the level that it makes of the verdict, if any."""

    id: str
    severity: str  # info | warning | error
    license: str | None
    level: str | None = None

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "severity": self.severity, "license": self.license}


class Outcome(NamedTuple):
    """Verdict, effective licences as (id, role) with None for one that is not known, findings, ids of obligations and
    the facts that questions ask for."""

    verdict: str
    licenses: tuple[tuple[str | None, str], ...]
    findings: tuple[Noted, ...]
    obligations: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def license_ids(self) -> tuple[str, ...]:
        """The effective licences, each once, whatever its role."""
        return tuple(dict.fromkeys(identifier or UNKNOWN for identifier, _ in self.licenses))

    def to_json(self) -> dict[str, object]:
        return {
            "verdict": self.verdict,
            "effective_licenses": [{"id": identifier, "role": role} for identifier, role in self.licenses],
            "findings": [noted.to_json() for noted in self.findings],
            "obligations": list(self.obligations),
            "questions": list(self.questions),
        }


class Words(NamedTuple):
    """A finding of one model with its own text, and the line that it speaks of."""

    noted: Noted
    text: str
    where: str | None


class Result(NamedTuple):
    """One model of an audit. `where` is its folder, or file and line of the list or table that names it; `roots` are the
    works at the end of its lineage, none when it descends from nothing; `words` the findings' own, where one model was
    read by itself."""

    id: str
    source: str  # folder | cache | hub | catalogue | embedded | table
    where: str
    outcome: Outcome
    roots: tuple[str, ...] = ()
    revision: str | None = None
    words: tuple[Words, ...] = ()


def noted(finding: Finding) -> Noted:
    """A finding without its words."""
    return Noted(finding.id, finding.severity, finding.license, finding.level)


def outcome_of(verdict: Verdict) -> Outcome:
    """The outcome of a verdict."""
    findings = (noted(entry) for entry in verdict.findings)
    return Outcome(
        verdict=verdict.level,
        licenses=tuple(dict.fromkeys((entry.id, entry.role) for entry in verdict.effective)),
        findings=tuple(dict.fromkeys(findings)),
        obligations=tuple(dict.fromkeys(entry.id for entry in verdict.obligations)),
        questions=tuple(dict.fromkeys(entry.fact for entry in verdict.questions)),
    )
