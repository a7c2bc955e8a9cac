"""An organisation's own policy: licences it takes, reviews or denies, questions it has settled, facts it wants stated,
and waivers that somebody answers for until a day. Everything it does is in the verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from toolkit.errors import InvalidInput, Problem
from toolkit.files.schema import Key, ListOf, MapOf, Record, Report, Text, did_you_mean, read_document
from toolkit.files.strict_yaml import Document, Path_
from toolkit.licensing.findings import FINDINGS
from toolkit.licensing.library import Library
from toolkit.licensing.reasoning import ask
from toolkit.licensing.use import FACTS, IntendedUse
from toolkit.licensing.verdict import EffectiveLicense, Finding, Obligation, Question

ANY = "any"  # a waiver for a finding that belongs to no one licence
_NEEDS_AGREEMENT = ("prohibited", "needs-separate-license")


class Waiver(NamedTuple):
    """Leave to go on in spite of one rule of one licence. `expires` is the last day it holds (ISO 8601); `agreement`
    names the separate licence agreement without which no prohibition and no obligation is lifted; `works` are the models
    and data sets it speaks of, all that are under the licence where none is named."""

    license: str
    rule: str
    approver: str
    reason: str
    expires: str
    agreement: str | None = None
    works: tuple[str, ...] = ()
    where: str | None = None


class Policy(NamedTuple):
    """A policy. Licences are ids of the library. `settled` maps a finding to the organisation's answer."""

    name: str
    allowed: tuple[str, ...] = ()
    review: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    settled: Mapping[str, str] = {}
    required_facts: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    lines: Mapping[str, str] = {}  # where each key stands


def read_policy(document: Document, library: Library, *, at: Path_ = ()) -> Policy:
    """Read a policy. Raises InvalidInput with every problem: unknown keys, licences and rules, days that are none."""
    raw = read_document(document, _shape(library), "policy", at=at)
    assert isinstance(raw, dict)
    waivers = tuple(
        Waiver(**entry, where=document.where((*at, "waivers", index)))
        for index, entry in enumerate(raw.get("waivers", ()))
    )
    problems = [*_contradictions(raw, document, at), *_unknown_rules(waivers, library)]
    if problems:
        raise InvalidInput(problems)
    return Policy(
        name=document.name,
        allowed=raw.get("allowed", ()),
        review=raw.get("review", ()),
        denied=raw.get("denied", ()),
        settled=raw.get("settled", {}),
        required_facts=raw.get("required_facts", ()),
        waivers=waivers,
        lines={key: document.where((*at, key)) for key in raw},
    )


def apply_policy(
    policy: Policy,
    today: str,
    effective: Iterable[EffectiveLicense],
    findings: list[Finding],
    questions: list[Question],
    obligations: tuple[Obligation, ...],
    use: IntendedUse,
    library: Library,
) -> tuple[list[Finding], list[Question], tuple[Obligation, ...]]:
    """What was found, asked and is owed, under a policy: what it settles or waives is kept in sight and decides nothing,
    what it denies is added."""
    result: list[Finding] = []
    for finding in (*findings, *_on_lists(policy, effective, findings)):
        waiver = next((waiver for waiver in policy.waivers if _speaks_of(waiver, finding)), None)
        if finding.level == "needs-review" and finding.id in policy.settled:
            result.append(finding.lifted(f"Settled by {policy.name}: {policy.settled[finding.id]}."))
        elif finding.level and waiver:
            told, holds = _told(waiver, finding.id, finding.level, today)
            result += [finding.lifted(f"Waived: see {policy.name}.") if holds else finding, told]
        else:
            result.append(finding)
    kept = []
    for question in questions:
        waiver = next((waiver for waiver in policy.waivers if _asks_for(waiver, question)), None)
        holds = False
        if waiver:
            told, holds = _told(waiver, f"the question {question.fact}", question.outcome, today)
            result.append(told)
        if not holds:
            kept.append(question)
    owing = []
    for owed in obligations:
        waiver = next(
            (waiver for waiver in policy.waivers if (waiver.license, waiver.rule) == (owed.license, owed.rule)), None
        )
        holds = False
        if waiver:
            told, holds = _told(waiver, f"the obligation {owed.id}", "prohibited", today)
            result.append(told)
        if not holds:
            owing.append(owed)
    stated = use.to_json()
    for fact in policy.required_facts:
        if fact not in stated:
            kept.append(ask(fact, f"{policy.name} wants it stated", library))
    return list(dict.fromkeys(result)), kept, tuple(owing)


def _on_lists(policy: Policy, effective: Iterable[EffectiveLicense], findings: Iterable[Finding]) -> Iterable[Finding]:
    binding = dict.fromkeys(entry.id for entry in effective if entry.id)
    # The terms of a service bind no one else and are no licence of the data; an organisation may deny them all the same.
    told = dict.fromkeys(item.license for item in findings if item.id == "openai-output" and item.license)
    for identifier in (*binding, *(name for name in told if name in policy.denied and name not in binding)):
        if identifier in policy.denied:
            found = ("policy-denies-license", "error", f"{policy.name} denies {identifier}.", "prohibited", "denied")
        elif identifier in policy.review:
            found = ("policy-reviews-license", "warning", f"{policy.name} wants {identifier} reviewed.", "needs-review",
                     "review")  # fmt: skip
        elif policy.allowed and identifier not in policy.allowed:
            text = f"{identifier} is not among the licences that {policy.name} allows."
            found = ("policy-does-not-list-license", "warning", text, "needs-review", "allowed")
        else:
            continue
        identity, severity, text, level, key = found
        yield Finding(identity, severity, text, identifier, None, level, where=policy.lines.get(key))


def _told(waiver: Waiver, what: str, level: str | None, today: str) -> tuple[Finding, bool]:
    """What is to be said of a waiver, and whether it lifts what it speaks of, which makes `level` of the verdict."""
    if waiver.expires < today:
        return _expired(waiver), False
    if level in _NEEDS_AGREEMENT and not waiver.agreement:
        text = (
            f"The waiver of {waiver.license} {waiver.rule} by {waiver.approver} does not lift {what}: a waiver of what a "
            "licence forbids or asks must name the separate licence agreement."
        )
        return Finding("waiver-without-agreement", "warning", text, _license_of(waiver), where=waiver.where), False
    return _applied(waiver, what), True


def _applied(waiver: Waiver, what: str) -> Finding:
    agreement = f" under {waiver.agreement}" if waiver.agreement else ""
    text = f"Waived by {waiver.approver}{agreement} until {waiver.expires}: {what}. {waiver.reason.rstrip('.')}."
    return Finding("waiver-applied", "info", text, _license_of(waiver), where=waiver.where)


def _expired(waiver: Waiver) -> Finding:
    text = (
        f"The waiver of {waiver.license} {waiver.rule} by {waiver.approver} ended on {waiver.expires} and does nothing."
    )
    return Finding("waiver-expired", "warning", text, _license_of(waiver), where=waiver.where)


def _license_of(waiver: Waiver) -> str | None:
    return None if waiver.license == ANY else waiver.license


def _speaks_of(waiver: Waiver, finding: Finding) -> bool:
    named = waiver.license == finding.license or (waiver.license == ANY and finding.license is None)
    return named and waiver.rule in (finding.id, finding.rule) and _covers(waiver, finding.works)


def _asks_for(waiver: Waiver, question: Question) -> bool:
    return waiver.license == question.license and waiver.rule == question.rule and _covers(waiver, question.works)


def _covers(waiver: Waiver, works: tuple[str, ...]) -> bool:
    """Whether a waiver speaks of all the works at hand: an agreement on one data set says nothing of another."""
    return not waiver.works or (bool(works) and set(works) <= set(waiver.works))


class _Day:
    """A day as ISO 8601 writes it."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        from datetime import date

        text = str(value)
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
                date.fromisoformat(text)
                return text
        except ValueError:
            pass
        report.add(path, f"must be a day such as 2027-06-30, not {value!r}")
        return None

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "format": "date"}


class _License:
    """The id of a licence of the library; its SPDX id or hub key is understood too."""

    def __init__(self, library: Library, *, or_any: bool = False) -> None:
        self.library = library
        self.or_any = or_any

    def read(self, value: object, path: Path_, report: Report) -> object:
        if self.or_any and value == ANY:
            return ANY
        head = self.library.declared(value) if isinstance(value, str) else None
        if head is None:
            report.add(path, f"no licence {value!r} here{did_you_mean(value, self.library.ids)}; see tk licenses list")
            return None
        return head.id

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}


def _shape(library: Library) -> Record:
    licenses = Key(ListOf(_License(library)))
    waiver = Record(
        {
            "license": Key(_License(library, or_any=True), required=True),
            "rule": Key(Text(), "the id of the rule or finding that is waived", required=True),
            "approver": Key(Text(), "who answers for it", required=True),
            "reason": Key(Text(), required=True),
            "expires": Key(_Day(), "the last day it holds", required=True),
            "agreement": Key(Text()),
            "works": Key(ListOf(Text(), or_one=True)),
        }
    )
    return Record(
        {
            "allowed": licenses,
            "review": licenses,
            "denied": licenses,
            "settled": Key(MapOf(Text(), lambda finding: _settleable(finding, library))),
            "required_facts": Key(ListOf(Text(FACTS))),
            "waivers": Key(ListOf(waiver)),
        },
        renamed={"allow": "allowed", "deny": "denied", "required": "required_facts", "exceptions": "waivers"},
    )


def _settleable(finding: str, library: Library) -> str | None:
    if finding in FINDINGS or any(rule.id == finding for name in library.ids for rule in library.terms(name).rules):
        return None
    return f"is no finding of tk{did_you_mean(finding, FINDINGS)}"


def _contradictions(raw: Mapping[str, tuple[str, ...]], document: Document, at: Path_) -> Iterable[Problem]:
    lists = ("allowed", "review", "denied")
    for index, name in enumerate(lists):
        for other in lists[index + 1 :]:
            for identifier in sorted(set(raw.get(name, ())) & set(raw.get(other, ()))):
                yield Problem(f"policy.{other}", f"{identifier} is also under {name}", document.where((*at, other)))


def _unknown_rules(waivers: tuple[Waiver, ...], library: Library) -> Iterable[Problem]:
    for index, waiver in enumerate(waivers):
        rules = {*FINDINGS}
        if waiver.license != ANY:
            documents = [waiver.license, *(policy for policy, _ in library.head(waiver.license).incorporates)]
            rules |= {rule.id for document in documents for rule in library.terms(document).rules}
        if waiver.rule not in rules:
            message = f"{waiver.license} has no rule {waiver.rule!r}{did_you_mean(waiver.rule, sorted(rules))}"
            yield Problem(f"policy.waivers[{index}].rule", message, waiver.where or "")
