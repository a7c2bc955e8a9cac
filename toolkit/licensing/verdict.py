"""The verdict: what a use of a work comes to, with every reason. Its JSON is the schema `tk/verdict/1`."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

LEVELS = ("allowed", "allowed-with-obligations", "needs-review", "needs-separate-license", "prohibited")
EXIT_CODES = {
    "allowed": 0,
    "allowed-with-obligations": 0,
    "needs-review": 4,
    "needs-separate-license": 3,
    "prohibited": 3,
}


def worst(levels: Iterable[str]) -> str:
    """The worst of several levels. Nothing decides nothing: no level at all is needs-review."""
    return max(levels, key=LEVELS.index, default="needs-review")


class Target(NamedTuple):
    """What was judged, and where the answer about it came from. `where` is the line that names its licence, if any."""

    id: str
    revision: str | None
    source: str  # folder | cache | hub | catalogue | embedded
    where: str | None = None


class EffectiveLicense(NamedTuple):
    """A licence of the lineage that survives. `id` is None when the work's licence is not known to us."""

    id: str | None
    spdx: str
    role: str  # model | adapter | outputs | dataset
    work: str
    evidence: str

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "spdx": self.spdx, "role": self.role, "from": self.work, "evidence": self.evidence}


class Obligation(NamedTuple):
    """A duty that the stated use triggers. `value` is the exact string where the licence fixes one, `rule` the rule that
    asks."""

    id: str
    license: str
    clause: str
    text: str
    value: str | None
    check: str
    rule: str | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id, "license": self.license, "clause": self.clause,
            "text": self.text, "value": self.value, "check": self.check,
        }  # fmt: skip


class Finding(NamedTuple):
    """Something that a reader should see. `level` is what it makes of the verdict, when it makes anything of it; `rule`
    the rule that it speaks of, `where` the line of an input, `facts` the facts of the use that decided it, and `works` the
    works that it is about."""

    id: str
    severity: str  # info | warning | error
    text: str
    license: str | None = None
    clause: str | None = None
    level: str | None = None
    rule: str | None = None
    where: str | None = None
    facts: tuple[str, ...] = ()
    works: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id, "severity": self.severity, "license": self.license,
            "clause": self.clause, "text": self.text,
        }  # fmt: skip

    def lifted(self, why: str) -> Self:
        """The same finding once somebody has settled it: shown, and deciding nothing any more."""
        return self._replace(severity="info", level=None, text=f"{self.text} {why}")


class Question(NamedTuple):
    """A missing fact that decides, how to ask for it, and why. `license` and `rule` name the rule that needs it, and
    `outcome` is what that rule would make of the verdict."""

    fact: str
    text: str
    because: str
    license: str | None = None
    rule: str | None = None
    outcome: str | None = None
    works: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"fact": self.fact, "text": self.text, "because": self.because}


class Considered(NamedTuple):
    """One rule that was looked at: what became of it, and why."""

    license: str
    role: str
    rule: str
    kind: str
    clause: str
    outcome: str  # binds | granted | withheld | does-not-bind | not-triggered | undecided
    why: str

    def to_json(self) -> dict[str, object]:
        return self._asdict()


class Verdict(NamedTuple):
    """The outcome of one target and one use. `data` is the version of the licence data it was reached with, and
    `considered` every rule that was looked at, where that was asked for."""

    target: Target
    level: str
    effective: tuple[EffectiveLicense, ...]
    obligations: tuple[Obligation, ...]
    findings: tuple[Finding, ...]
    assumptions: tuple[str, ...]
    questions: tuple[Question, ...]
    tool: str
    data: str
    considered: tuple[Considered, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.level]

    def to_json(self) -> dict[str, object]:
        target: Mapping[str, object] = {
            "id": self.target.id, "revision": self.target.revision, "source": self.target.source,
        }  # fmt: skip
        return {
            "schema": "tk/verdict/1",
            "target": target,
            "verdict": self.level,
            "effective_licenses": [license_.to_json() for license_ in self.effective],
            "obligations": [obligation.to_json() for obligation in self.obligations],
            "findings": [finding.to_json() for finding in self.findings],
            "assumptions": list(self.assumptions),
            "questions": [question.to_json() for question in self.questions],
            "tool": self.tool,
            "data": self.data,
        }
