"""The works a model descends from, what each declares, and the licences that survive.

Pure: reading cards and resolving bases belongs to `toolkit.models`; here the readings are put side by side. A tag never
removes a base's licence, and a work about which nothing is known stays in the lineage as unknown.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from toolkit.licensing.comparison import against_bases, against_body, against_files, against_siblings
from toolkit.licensing.library import SAYS_NOTHING, SEE_NAME, Library
from toolkit.licensing.terms import TermsHead
from toolkit.licensing.verdict import EffectiveLicense, Finding

UNKNOWN_SPDX = "NOASSERTION"
OWN_DATA = "own"


class LicenseText(NamedTuple):
    """A licence, notice or policy file beside a work: the licence that its words are (None when they are none known
    here), whether they were changed and how, and whether it speaks of the work rather than of code beside it."""

    path: str
    id: str | None
    modified: bool = False
    detail: str = ""
    governs: bool = True
    kind: str = "license"  # license | policy | notice


class Work(NamedTuple):
    """One work of a lineage as it presents itself: `declared` and `declared_name` are the card's `license` and
    `license_name`, `where` the place that says so (`README.md:3`), `bases` the works it names as its own bases, `texts`
    the licence files beside it, `mentioned` (licence id, place) what its card's body names, `findings` what was noticed
    in reading it, `modalities` what goes in and comes out, and `problem` why nothing more is known of it. `through_data` marks a model that speaks only through
    data that it wrote. A data set whose licence is `own` belongs to the person asking."""

    id: str
    role: str  # model | adapter | outputs | dataset
    source: str
    revision: str | None = None
    declared: tuple[str, ...] = ()
    declared_name: str | None = None
    where: str | None = None
    bases: tuple["Work", ...] = ()
    problem: str | None = None
    texts: tuple[LicenseText, ...] = ()
    mentioned: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    modalities: tuple[str, ...] | None = None
    through_data: bool = False

    def lineage(self) -> Iterator["Work"]:
        """This work and everything it descends from."""
        yield self
        for base in self.bases:
            yield from base.lineage()


class Conclusion(NamedTuple):
    """What a lineage comes to: its effective licences, nearest work first, and what was noticed on the way."""

    effective: tuple[EffectiveLicense, ...]
    findings: tuple[Finding, ...]


def conclude(work: Work, library: Library, of_base: Callable[[Work], Conclusion] | None = None) -> Conclusion:
    """The effective licences of a work and of everything it descends from, each licence of each work once. `of_base` gives
    the conclusion of a base where it was drawn before."""
    bases = [of_base(base) if of_base else conclude(base, library) for base in work.bases]
    own, findings = _own(work, {entry.id for base in bases for entry in base.effective if entry.id}, library)
    effective = list(own)
    for inherited in bases:
        findings.extend(against_bases(work.id, work.role, work.where, own, inherited.effective, library))
        effective.extend(inherited.effective)
        findings.extend(inherited.findings)
    names = (tuple(member.id for member in base.lineage()) for base in work.bases)
    sides = (
        (base.id, known, inherited.effective) for base, known, inherited in zip(work.bases, names, bases, strict=True)
    )
    findings.extend(against_siblings(work.id, sides, library))
    findings.extend(against_body(work.id, work.mentioned, effective, library))
    return Conclusion(tuple(dict.fromkeys(effective)), tuple(dict.fromkeys(findings)))


def _own(work: Work, inherited: set[str], library: Library) -> tuple[list[EffectiveLicense], list[Finding]]:
    if work.role == "dataset" and [tag.lower() for tag in work.declared] == [OWN_DATA]:
        text = f"{work.id} is stated to be the organisation's own data: no third party's licence binds it."
        return [], [*work.findings, Finding("own-data", "info", text, where=work.where)]
    findings: list[Finding] = list(work.findings)
    evidence: dict[str, list[str]] = {}
    heads: dict[str, TermsHead] = {}

    def add(head: TermsHead, said: str) -> None:
        heads[head.id] = head
        evidence.setdefault(head.id, []).append(said)

    known = library.catalogued(work.id) if work.role != "dataset" else ()
    texts = {file.id for file in work.texts if file.id}
    declared = _declared(work, inherited | texts | {match.head.id for match in known}, library, findings)
    for head, said in declared:
        add(head, f"declared {said} ({work.where})")
    for file in work.texts:
        if file.kind == "license" and file.governs and file.id in library.ids:
            add(library.head(file.id), f"the text of {file.path}" + (", which was changed" if file.modified else ""))
    for match in known:
        add(
            match.head,
            f"catalogue: {match.pattern.match} ({match.pattern.evidence}; confidence {match.pattern.confidence})",
        )
    tags = {head.id for head, _ in declared}
    if tags and known and not tags & {match.head.id for match in known}:
        said = ", ".join(said for _, said in declared)
        knows = ", ".join(match.head.id for match in known)
        text = f"{work.id} declares {said}; the catalogue knows it under {knows}. Both are judged and the stricter governs."
        findings.append(Finding("tag-contradicts-catalogue", "warning", text, where=work.where))
    findings.extend(against_files(work.id, work.where, tags, work.texts, library))
    result = [
        EffectiveLicense(identifier, head.spdx, work.role, work.id, "; ".join(evidence[identifier]))
        for identifier, head in heads.items()
    ]
    if not result and not (work.bases and work.source == "name"):
        findings.append(_nothing_known(work, findings))
        said = ", ".join(work.declared) or "nothing declared"
        result.append(EffectiveLicense(None, UNKNOWN_SPDX, work.role, work.id, said))
    return result, findings


def _declared(work: Work, among: set[str], library: Library, findings: list[Finding]) -> list[tuple[TermsHead, str]]:
    declared = []
    for key in work.declared:
        if key.strip().lower() in SAYS_NOTHING:
            continue
        said = f"{key} ({work.declared_name})" if key.lower() in SEE_NAME and work.declared_name else key
        heads = library.candidates(key, work.declared_name)
        meant = [head for head in heads if head.id in among] or heads
        if meant:
            declared += [(head, said) for head in meant]
            if len(meant) > 1:
                names = ", ".join(head.id for head in meant)
                text = f"{work.id} declares {said}, a name that several licences have: {names}. Each is judged."
                findings.append(Finding("license-name-ambiguous", "warning", text, where=work.where))
        elif not (key.strip().lower() in SEE_NAME and any(text.id for text in work.texts)):
            text = f"{work.id} declares {said!r} in {work.where}, a licence that is not in this library."
            findings.append(Finding("unknown-license-key", "warning", text, level="needs-review", where=work.where))
    return declared


def _nothing_known(work: Work, findings: list[Finding]) -> Finding:
    if work.problem:
        return Finding("base-not-found", "error", f"{work.problem}.", level="needs-review", where=work.where)
    if any(finding.id == "unknown-license-key" for finding in findings):
        text = f"The licence of {work.id} is not known here."
        return Finding("license-not-known", "warning", text, level="needs-review", where=work.where)
    text = f"{work.id} declares no licence."
    if work.declared:
        text = f"{work.id} says {work.declared[0]!r} where its licence should stand ({work.where}): nothing declared."
    return Finding("no-license-declared", "error", text, level="needs-review", where=work.where)
