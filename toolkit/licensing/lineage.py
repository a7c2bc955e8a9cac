"""The works a model descends from, what each declares, and the licences that survive.

Pure: reading cards and resolving bases belongs to `toolkit.models`; here the readings are put side by side. A tag never
removes a base's licence, and a work about which nothing is known stays in the lineage as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toolkit.licensing.library import SAYS_NOTHING, SEE_NAME, Library
from toolkit.licensing.terms import TermsHead
from toolkit.licensing.verdict import EffectiveLicense, Finding

UNKNOWN_SPDX = "NOASSERTION"
OWN_DATA = "own"


class Work(NamedTuple):
    """One work of a lineage as it presents itself: `declared` and `declared_name` are the card's `license` and
    `license_name`, `where` the place that says so (`README.md:3`), `bases` the works it names as its own bases, and
    `problem` why nothing more is known of it. A data set whose licence is `own` belongs to the person asking."""

    id: str
    role: str  # model | adapter | outputs | dataset
    source: str
    revision: str | None = None
    declared: tuple[str, ...] = ()
    declared_name: str | None = None
    where: str | None = None
    bases: tuple[Work, ...] = ()
    problem: str | None = None

    def lineage(self) -> Iterator[Work]:
        """This work and everything it descends from."""
        yield self
        for base in self.bases:
            yield from base.lineage()


class Conclusion(NamedTuple):
    """What a lineage comes to: its effective licences, nearest work first, and what was noticed on the way."""

    effective: tuple[EffectiveLicense, ...]
    findings: tuple[Finding, ...]


def conclude(work: Work, library: Library) -> Conclusion:
    """The effective licences of a work and of everything it descends from, each licence of each work once."""
    own, findings = _own(work, library)
    effective = list(own)
    for base in work.bases:
        inherited = conclude(base, library)
        findings.extend(_compare(work, own, inherited.effective, library))
        effective.extend(inherited.effective)
        findings.extend(inherited.findings)
    return Conclusion(tuple(dict.fromkeys(effective)), tuple(dict.fromkeys(findings)))


def _own(work: Work, library: Library) -> tuple[list[EffectiveLicense], list[Finding]]:
    if work.role == "dataset" and [tag.lower() for tag in work.declared] == [OWN_DATA]:
        text = f"{work.id} is stated to be the organisation's own data: no third party's licence binds it."
        return [], [Finding("own-data", "info", text)]
    findings: list[Finding] = []
    declared = _declared(work, library, findings)
    known = library.catalogued(work.id) if work.role != "dataset" else ()
    result = {head.id: _effective(head, work, f"declared {said} ({work.where})") for head, said in declared}
    for match in known:
        evidence = f"catalogue: {match.pattern.match} ({match.pattern.evidence}; confidence {match.pattern.confidence})"
        if match.head.id in result:
            evidence = f"{result[match.head.id].evidence}; {evidence}"
        result[match.head.id] = _effective(match.head, work, evidence)
    if declared and known and not {head.id for head, _ in declared} & {match.head.id for match in known}:
        said = ", ".join(said for _, said in declared)
        knows = ", ".join(match.head.id for match in known)
        text = f"{work.id} declares {said}; the catalogue knows it under {knows}. Both are judged and the stricter governs."
        findings.append(Finding("tag-contradicts-catalogue", "warning", text))
    if not result:
        findings.append(_nothing_known(work, findings))
        said = ", ".join(work.declared) or "nothing declared"
        result[""] = EffectiveLicense(None, UNKNOWN_SPDX, work.role, work.id, said)
    return list(result.values()), findings


def _declared(work: Work, library: Library, findings: list[Finding]) -> list[tuple[TermsHead, str]]:
    declared = []
    for key in work.declared:
        if key.strip().lower() in SAYS_NOTHING:
            continue
        said = f"{key} ({work.declared_name})" if key.lower() in SEE_NAME and work.declared_name else key
        head = library.declared(key, work.declared_name)
        if head is not None:
            declared.append((head, said))
            continue
        text = f"{work.id} declares {said!r} in {work.where}, a licence that is not in this library."
        findings.append(Finding("unknown-license-key", "warning", text, level="needs-review"))
    return declared


def _nothing_known(work: Work, findings: list[Finding]) -> Finding:
    if work.problem:
        return Finding("base-not-found", "error", f"{work.problem}.", level="needs-review")
    if any(finding.id == "unknown-license-key" for finding in findings):
        return Finding(
            "license-not-known", "warning", f"The licence of {work.id} is not known here.", level="needs-review"
        )
    text = f"{work.id} declares no licence."
    if work.declared:
        text = f"{work.id} says {work.declared[0]!r} where its licence should stand ({work.where}): nothing declared."
    return Finding("no-license-declared", "error", text, level="needs-review")


def _compare(
    work: Work, own: list[EffectiveLicense], inherited: tuple[EffectiveLicense, ...], library: Library
) -> list[Finding]:
    """What a work's own tag leaves out of the licences that it inherits."""
    findings = []
    tagged = {entry.id for entry in own if entry.id}
    left_out = [entry for entry in inherited if entry.id and entry.id not in tagged]
    for entry in left_out if tagged else ():
        tags = ", ".join(sorted(tagged))
        if work.role == "adapter":
            text = f"{work.id} is an adapter under {tags}; that does not cover its base {entry.work}, which is under {entry.id}."
            findings.append(Finding("adapter-license-does-not-cover-base", "warning", text, entry.id))
        text = f"{work.id} is tagged {tags} and descends from {entry.work}, which is under {entry.id}; both bind."
        findings.append(Finding("tag-omits-base-license", "warning", text, entry.id))
        if entry.id and _restricts(entry.id, library) and not any(_restricts(tag, library) for tag in tagged):
            text = f"The tag {tags} of {work.id} promises more than {entry.id} of {entry.work} grants."
            findings.append(Finding("tag-contradicts-base", "error", text, entry.id))
    return findings


def _restricts(identifier: str, library: Library) -> bool:
    """Whether a licence forbids or withholds something: a permissive tag on top of it promises too much."""
    return any(rule.kind == "prohibition" or rule.when.parts for rule in library.terms(identifier).rules  # type: ignore[union-attr]
               if rule.kind != "duty")  # fmt: skip


def _effective(head: TermsHead, work: Work, evidence: str) -> EffectiveLicense:
    return EffectiveLicense(head.id, head.spdx, work.role, work.id, evidence)
