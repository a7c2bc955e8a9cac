"""What a work says of its licence in one place against what it says, or what binds it, in another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from toolkit.licensing.constraints import ALWAYS, leaves
from toolkit.licensing.library import Library
from toolkit.licensing.verdict import EffectiveLicense, Finding

if TYPE_CHECKING:
    from toolkit.licensing.lineage import LicenseText


def against_bases(
    work: str,
    role: str,
    where: str | None,
    own: list[EffectiveLicense],
    inherited: tuple[EffectiveLicense, ...],
    library: Library,
) -> Iterator[Finding]:
    """What a work's own tag leaves out of the licences that it inherits."""
    tagged = {entry.id for entry in own if entry.id}
    left_out = [entry for entry in inherited if entry.id and entry.id not in tagged]
    for entry in left_out if tagged else ():
        assert entry.id is not None
        tags = ", ".join(sorted(tagged))
        if role == "adapter":
            text = f"{work} is an adapter under {tags}; that does not cover its base {entry.work}, which is under {entry.id}."
            yield Finding("adapter-license-does-not-cover-base", "warning", text, entry.id, where=where)
        text = f"{work} is tagged {tags} and descends from {entry.work}, which is under {entry.id}; both bind."
        yield Finding("tag-omits-base-license", "warning", text, entry.id, where=where)
        if asks(entry.id, library) - {operand for tag in tagged for operand in asks(tag, library)}:
            text = f"The tag {tags} of {work} promises more than {entry.id} of {entry.work} grants."
            yield Finding("tag-contradicts-base", "error", text, entry.id, where=where)


def against_files(
    work: str, where: str | None, tags: Collection[str], texts: Iterable[LicenseText], library: Library
) -> Iterator[Finding]:
    """A work's licence and policy files against its tag, and against the texts they resemble."""
    texts = tuple(texts)
    held = {text.id for text in texts if text.kind == "license" and text.governs and text.id}
    for text in texts:
        if text.modified:
            said = f"{text.path} of {work} resembles {text.id} and is not its text: {text.detail}. Nobody has read these terms."
            yield Finding("license-text-modified", "error", said, text.id, level="needs-review", where=text.path)
        elif text.kind == "license" and text.governs and text.id is None:
            said = f"{text.path} of {work} holds no licence that is known here. Its terms bind all the same."
            yield Finding("license-text-not-recognised", "warning", said, level="needs-review", where=text.path)
        elif text.kind == "policy" and text.id in library.ids and not _belongs(text.id, held | set(tags), library):
            said = f"{text.path} of {work} is {text.id}, which belongs to none of its licences."
            yield Finding("policy-file-of-another-license", "warning", said, text.id, where=text.path)
    if tags and held and not held & set(tags):
        files = ", ".join(text.path for text in texts if text.id in held)
        said = (
            f"{work} declares {', '.join(sorted(tags))} and its {files} holds {', '.join(sorted(filter(None, held)))}. "
            "Both are judged and the stricter governs."
        )
        yield Finding("license-file-contradicts-tag", "warning", said, next(iter(held)), where=where)


def against_body(
    work: str, mentioned: Iterable[tuple[str, str]], effective: Iterable[EffectiveLicense], library: Library
) -> Iterator[Finding]:
    """Licences that the text of a card names and that are not among those that bind. One that restricts makes the card
    contradict itself, which a person must settle."""
    binding = {entry.id for entry in effective}
    for identifier, where in mentioned:
        if identifier in binding:
            continue
        text = f"The text of {work}'s card names {identifier} ({where}), which neither its tag nor its lineage does."
        level = "needs-review" if restricts(identifier, library) else None
        yield Finding("card-body-names-another-license", "warning", text, identifier, level=level, where=where)


def against_siblings(
    work: str, bases: Iterable[tuple[str, tuple[str, ...], tuple[EffectiveLicense, ...]]], library: Library
) -> Iterator[Finding]:
    """A merge, one of whose bases is under a licence that bans improving models of other families with its material.
    `bases` are (id, names of its lineage, its licences)."""
    bases = tuple(bases)
    for base, _, licenses in bases if len(bases) > 1 else ():
        for identifier in dict.fromkeys(entry.id for entry in licenses if entry.id):
            for rule in library.terms(identifier).rules:
                if rule.kind != "prohibition":
                    continue
                kin = {
                    name for leaf in leaves(rule.when) if leaf.operand == "outputs_family" for name in _many(leaf.value)
                }
                if not kin:
                    continue
                strangers = [
                    other
                    for other, names, _ in bases
                    if other != base and not kin & {*library.words.families_of(names)}
                ]
                if strangers:
                    text = (
                        f"{work} merges {base} with {', '.join(strangers)}. {rule.summary} Whether a merge improves the "
                        "other model in that sense is for a person to say."
                    )
                    yield Finding(
                        "merge-under-an-output-ban", "warning", text, identifier, rule.clause, "needs-review", rule.id
                    )


def _many(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


@cache
def asks(identifier: str, library: Library) -> frozenset[str]:
    """The facts on which a licence, or a policy that it incorporates, withholds or forbids something."""
    documents = [identifier, *(policy for policy, _ in library.head(identifier).incorporates if policy in library.ids)]
    rules = [rule for document in documents for rule in library.terms(document).rules]
    limits = [rule for rule in rules if rule.kind in ("prohibition", "permission")]
    facts = {leaf.operand for rule in limits for leaf in leaves(rule.when)}
    unread = {"unread"} if library.head(identifier).unread else set()
    return frozenset(facts - {"distribution", "recipients", "obtained", "modified"} | unread)


def restricts(identifier: str, library: Library) -> bool:
    """Whether a licence forbids or withholds something: a permissive tag on top of it promises too much."""
    terms = library.terms(identifier)
    return bool(terms.head.unread) or any(
        rule.kind == "prohibition" or (rule.kind == "permission" and rule.when != ALWAYS) for rule in terms.rules
    )


def _belongs(policy: str, licenses: Collection[str], library: Library) -> bool:
    return any(
        policy == part for identifier in licenses if identifier in library.ids
        for part, _ in library.head(identifier).incorporates
    )  # fmt: skip
