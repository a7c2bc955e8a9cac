"""How a release meets each obligation of the verdict: by what it carries, by a person's word, or not yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolkit.errors import InvalidInput, Problem
from toolkit.files.schema import did_you_mean
from toolkit.licensing.planned import breaks_naming
from toolkit.release.copies import Copy, text_of
from toolkit.release.facts import Facts, Obligation
from toolkit.release.record import entries_of, text
from toolkit.release.texts import text_problem

SCHEMA = "tk/obligations/1"
FILE = "obligations.json"
CARD = "README.md"
NOTICE = "NOTICE"

# What a release does for an obligation by itself: carry the licence's text, say it in NOTICE, say it on the card.
NEEDS_TEXT = frozenset({"license-copy", "apache-notice", "mit-notice", "retain-notices", "passthrough-restrictions"})
IN_NOTICE = frozenset(
    {"notice-file", "apache-notice", "mit-notice", "retain-notices", "mark-changes", "trademark-notice", "odc-notice",
     "attribution-dataset", "provider-disclosure", "passthrough-restrictions"}
)  # fmt: skip
ON_CARD = frozenset(
    {"built-with-display", "built-with-doc", "trademark-notice", "provider-disclosure", "ui-model-name", "mark-changes",
     "ui-model-name-above-threshold", "research-only", "attribution-dataset", "passthrough-restrictions"}
)  # fmt: skip
ON_NAME = frozenset({"name-prefix", "no-qwen-primary-name"})

_KNOWN = NEEDS_TEXT | IN_NOTICE | ON_CARD | ON_NAME


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """How one obligation is met. `how` is automatic or attested, `by` the files or the person, `todo` what is open."""

    obligation: Obligation
    how: str
    by: str
    evidence: tuple[str, ...]
    todo: str | None

    @property
    def fulfilled(self) -> bool:
        return self.todo is None

    @property
    def account(self) -> str:
        """How it is met, in words."""
        if not self.fulfilled:
            return f"open: {self.todo}"
        return f"attested by {self.by}" if self.how == "attested" else self.by

    def to_json(self, digests: Mapping[str, str]) -> dict[str, object]:
        """The entry of obligations.json; `digests` are the SHA-256 of the release's files."""
        owed = self.obligation
        return {
            "id": owed.id,
            "license": owed.terms.id,
            "clause": owed.clause or None,
            "text": owed.text,
            "value": owed.value,
            "check": owed.check,
            "status": "fulfilled" if self.fulfilled else "open",
            "how": self.how,
            "by": self.by,
            "evidence": [{"file": file, "sha256": digests[file]} for file in self.evidence],
        }


def fulfil(facts: Facts, copies: Iterable[Copy], attestations: Mapping[str, str]) -> tuple[Fulfilment, ...]:
    """How a release of `facts` that carries `copies` meets each obligation.

    `attestations` maps an obligation id (or `license:id`, where two licences owe the same) to who did what and when.
    Raises InvalidInput for one that nobody asks for.
    """
    _check_attestations(facts, attestations)
    copies = tuple(copies)
    return tuple(_fulfil(owed, facts, copies, attestations) for owed in facts.obligations)


def fulfil_on_paper(facts: Facts) -> tuple[Fulfilment, ...]:
    """How a release would meet each obligation, as a card shows it before there is a release."""
    texts = tuple(
        Copy(f"LICENSES/{text(entry, 'id')}.txt", text(entry, "id"), facts.base.name, str(entry["kind"]), b"")
        for entry in entries_of(facts.record, "licenses")
    )
    return fulfil(facts, texts, {})


def strings_for(obligations: Iterable[Obligation], place: frozenset[str]) -> tuple[str, ...]:
    """The exact strings owed in a place: `IN_NOTICE` or `ON_CARD`. An obligation of no known place is said in both."""
    return tuple(
        dict.fromkeys(
            owed.value
            for owed in obligations
            if owed.value and owed.id not in ON_NAME and (owed.id in place or owed.id not in _KNOWN)
        )
    )


def name_problem(owed: Obligation, name: str) -> str | None:
    """Why a name breaks the licence's rule for names; None when it keeps it."""
    if broken := breaks_naming(name, owed.id, owed.value):
        return f"the name {name!r} {broken}"
    return None


def _fulfil(owed: Obligation, facts: Facts, copies: tuple[Copy, ...], attestations: Mapping[str, str]) -> Fulfilment:
    evidence, missing = _own_part(owed, facts, copies)
    person = attestations.get(f"{owed.terms.id}:{owed.id}") or attestations.get(owed.id)
    if missing:
        return Fulfilment(owed, "automatic", "", (), missing)
    if owed.check == "attest" or not (evidence or owed.id in ON_NAME):
        ask = f'a person must see to it and say so: --attest {owed.id}="NAME, DATE"{_look_at(owed, copies, evidence)}'
        return Fulfilment(owed, "attested", person or "", evidence, None if person else ask)
    by = ", ".join(evidence) or f"the name {facts.name}"
    return Fulfilment(owed, "automatic", f"{by}; {person}" if person else by, evidence, None)


def _own_part(owed: Obligation, facts: Facts, copies: tuple[Copy, ...]) -> tuple[tuple[str, ...], str | None]:
    """The files of the release that meet an obligation, and what is missing for it."""
    evidence: list[str] = []
    if owed.id in ON_NAME and (problem := name_problem(owed, facts.name)):
        offer = f': --name "{owed.value}-{facts.name}"' if owed.id == "name-prefix" else ": choose another with --name"
        return (), problem + offer
    if owed.id in NEEDS_TEXT:
        copy = text_of(copies, owed.terms.id)
        if copy is None:
            source = f" (found at {owed.terms.url})" if owed.terms.url else ""
            nameless = next((copy.path for copy in copies if copy.kind == "license" and copy.terms_id is None), None)
            had = f"has a text that was not recognised as it ({nameless})" if nameless else "came without its text"
            return (), f"{facts.base.name} {had}{source}: --license-file {owed.terms.id}=PATH"
        if copy.content and (wrong := text_problem(owed.terms.id, copy.content)):
            return (), f"the text of {copy.work} {wrong}: --license-file {owed.terms.id}=PATH"
        evidence.append(copy.path)
    if owed.id in IN_NOTICE or (owed.value and owed.id not in _KNOWN):
        evidence.append(NOTICE)
    if owed.id in ON_CARD or (owed.value and owed.id not in _KNOWN):
        evidence.append(CARD)
    if owed.id == "aup" or owed.id == "passthrough-restrictions":
        evidence += [copy.path for copy in copies if copy.kind == "policy"]
    return tuple(evidence), None


def _look_at(owed: Obligation, copies: tuple[Copy, ...], evidence: tuple[str, ...]) -> str:
    """Where the person finds what the attestation is about, and what the release does for it already."""
    policy = next((copy for copy in copies if copy.kind == "policy"), None)
    if owed.id == "aup" and policy is not None:
        return f" (the policy is the run's copy of {policy.path})"
    if owed.value and evidence:
        return f" ({' and '.join(evidence)} will say {owed.value!r}; what lies outside the release is for you to see)"
    return f" (see {owed.terms.url})" if owed.terms.url else ""


def _check_attestations(facts: Facts, attestations: Mapping[str, str]) -> None:
    known = {owed.id for owed in facts.obligations}
    known |= {f"{owed.terms.id}:{owed.id}" for owed in facts.obligations}
    problems = []
    for name, words in attestations.items():
        if name not in known:
            owed = ", ".join(sorted(owed.id for owed in facts.obligations)) or "nothing"
            problems.append(
                Problem(name, f"the verdict does not ask for it{did_you_mean(name, known)}; it asks for {owed}")
            )
        elif not words.strip():
            problems.append(Problem(name, 'say who and when: "J. Doe, 2026-11-23"'))
    if problems:
        raise InvalidInput(problems)
