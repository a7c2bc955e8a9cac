"""The planned name and licence of what is released, against the naming and pass-through rules of its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.licensing.constraints import leaves
from toolkit.licensing.library import Library
from toolkit.licensing.terms import Terms
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import EffectiveLicense, Finding, Obligation

_WHERE = {"release"}  # the key of a use that both speak of
_RESTRICTIONS = frozenset({"aup", "passthrough-restrictions", "research-only"})


def planned_findings(
    obligations: Iterable[Obligation], effective: Iterable[EffectiveLicense], use: IntendedUse, library: Library
) -> Iterator[Finding]:
    """What the name and the licence planned for the release break."""
    if use.release is None:
        return
    obligations = tuple(obligations)
    if use.release.name:
        yield from _name(use.release.name, obligations)
    if use.release.license:
        yield from _license(use.release.license, obligations, tuple(effective), use, library)


def begins_with(name: str, word: str) -> bool:
    """Whether a model's name begins with the word that a licence fixes. A hub name has no spaces, so `Llama-3-Acme`
    begins with "Llama 3"; letters count as they are written."""
    return _bare(name.rsplit("/", 1)[-1]).startswith(_bare(word))


def _bare(text: str) -> str:
    return "".join(letter for letter in text if letter not in " -_.")


def _name(name: str, obligations: tuple[Obligation, ...]) -> Iterator[Finding]:
    for owed in obligations:
        if owed.id == "name-prefix" and owed.value and not begins_with(name, owed.value):
            text = f"The planned name {name!r} must begin with {owed.value!r}."
        elif owed.id == "no-qwen-primary-name" and begins_with(name.lower(), (owed.value or "Qwen").lower()):
            text = f"The planned name {name!r} must not lead with {owed.value or 'Qwen'!r}."
        else:
            continue
        yield Finding(
            "planned-name-breaks-prefix", "error", text, owed.license, owed.clause, "needs-review", facts=("release",)
        )


def _license(
    planned: str,
    obligations: tuple[Obligation, ...],
    effective: tuple[EffectiveLicense, ...],
    use: IntendedUse,
    library: Library,
) -> Iterator[Finding]:
    head = library.declared(planned)
    terms = library.terms(head.id) if head else None
    passed_on = {owed.license: owed for owed in obligations if owed.id == "passthrough-restrictions"}
    for license_, owed in passed_on.items():
        if terms is None:
            text = (
                f"The planned licence {planned!r} is not known here; it must hold the use restrictions of {license_}, "
                "and whether it does was not looked at."
            )
        elif terms.id != license_ and not _restricts_use(terms):
            text = f"The planned licence {planned} has no use restrictions; it must hold those of {license_}."
        else:
            continue
        yield Finding(
            "planned-license-lacks-use-restrictions", "error", text, license_, owed.clause, "needs-review",
            facts=("release",),
        )  # fmt: skip
    if terms is None or use.distribution not in ("weights", "embedded-product", "hosted-service"):
        return
    for entry in dict.fromkeys(entry.id for entry in effective if entry.role in ("model", "adapter")):
        if entry and entry != terms.id and _limits_commerce(library.terms(entry)) and not _limits_commerce(terms):
            text = f"The planned licence {planned} lets recipients use the result commercially, and {entry} does not."
            yield Finding(
                "planned-license-grants-more-than-base", "error", text, entry, None, "needs-review", facts=("release",)
            )


def _restricts_use(terms: Terms) -> bool:
    return bool(terms.head.incorporates) or any(rule.obligation in _RESTRICTIONS for rule in terms.rules)


def _limits_commerce(terms: Terms) -> bool:
    """Whether a grant depends on the use not being commercial."""
    return any(
        leaf.operand == "commercial" for rule in terms.rules if rule.kind == "permission" for leaf in leaves(rule.when)
    )
