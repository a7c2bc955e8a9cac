"""The planned name and licence of what is released, against the naming and pass-through rules of its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.licensing.constraints import leaves
from toolkit.licensing.library import Library
from toolkit.licensing.terms import Terms
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import EffectiveLicense, Finding, Obligation

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


def breaks_naming(name: str, obligation: str, word: str | None) -> str | None:
    """What a model's name breaks of a naming rule: `must begin with 'Llama'`; None when it keeps it.

    A hub name has no spaces, so `Llama-3-Acme` begins with "Llama 3"; letters count as they are written.
    """
    short = _bare(name.rsplit("/", 1)[-1])
    if obligation == "name-prefix" and word and not short.startswith(_bare(word)):
        return f"must begin with {word!r}"
    avoided = word or "Qwen"
    if obligation == "no-qwen-primary-name" and short.lower().startswith(_bare(avoided).lower()):
        return f"must not lead with {avoided!r}"
    return None


def _bare(text: str) -> str:
    return "".join(letter for letter in text if letter not in " -_.")


def _name(name: str, obligations: tuple[Obligation, ...]) -> Iterator[Finding]:
    for owed in obligations:
        if broken := breaks_naming(name, owed.id, owed.value):
            yield Finding(
                "planned-name-breaks-prefix", "error", f"The planned name {name!r} {broken}.",
                owed.license, owed.clause, "needs-review", facts=("release",),
            )  # fmt: skip


def _license(
    planned: str,
    obligations: tuple[Obligation, ...],
    effective: tuple[EffectiveLicense, ...],
    use: IntendedUse,
    library: Library,
) -> Iterator[Finding]:
    head = library.declared(planned)
    terms = library.terms(head.id) if head else None
    owing = sorted(
        (owed for owed in obligations if owed.id == "passthrough-restrictions"),
        key=lambda owed: (owed.clause, owed.text),
    )
    passed_on = {owed.license: owed for owed in reversed(owing)}  # one for each licence, whatever the order of works
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
