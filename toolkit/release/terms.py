"""How a licence is named in each document: its title, SPDX identifier, hub key and address.

The verdict in the record says which licences hold; the catalogue in `licenses/` adds the words for them. A licence that
the catalogue does not know (its file was renamed, or the run is older) keeps its id and is written as a `LicenseRef`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from toolkit.licensing.library import library
from toolkit.licensing.terms import TermsHead

# Licences that let a derivative carry other terms as long as notices are kept. Only under these may a release show the
# licence planned for it instead of the base's own.
PERMISSIVE = frozenset(
    {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "Unlicense", "OpenMDW-1.0", "OpenMDW-1.1"}
)

# Identifiers that models and data usually carry, known without the SPDX list (70 ms and an extra package).
_COMMON = {
    code.lower(): code
    for code in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0", "Unlicense", "CC-BY-3.0", "CC-BY-4.0",
        "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0",
        "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedTerms:
    """One licence as documents name it. `hub_key` is a value of the hub's `license:`, or `other` with `hub_name`."""

    id: str
    name: str
    spdx: str
    url: str | None
    hub_key: str
    hub_name: str

    @property
    def permissive(self) -> bool:
        return self.spdx.removeprefix("LicenseRef-") in PERMISSIVE

    @property
    def custom(self) -> bool:
        """Whether SPDX does not list it, so that documents must carry or point to its text."""
        return self.spdx.startswith("LicenseRef-")


def named(terms_id: str, spdx: str | None = None) -> NamedTerms:
    """The names of a licence by its id in the catalogue; `spdx` is what a verdict says about it."""
    shelf = library()
    return _name(terms_id, shelf.head(terms_id) if terms_id in shelf.ids else None, spdx)


def declared(words: str) -> NamedTerms:
    """The licence that somebody wrote down for data or for a planned release, such as `CC-BY-4.0` or `internal`."""
    slug, shelf = words.strip().lower(), library()
    head = shelf.head(slug) if slug in shelf.ids else shelf.declared(words)
    if head is not None:
        return _name(head.id, head, None)
    code = listed(words)
    return _name(code.lower() if code else words.strip(), None, code)


def _name(terms_id: str, head: TermsHead | None, spdx: str | None) -> NamedTerms:
    code = spdx or (head.spdx if head else "")
    if not _is_listed_or_ref(code):
        code = listed(terms_id) or f"LicenseRef-{_reference(terms_id)}"
    keys = head.hub_keys if head else ()
    own = [key for key in keys if key != "other"]
    fallback = "other" if keys or code.startswith("LicenseRef-") else code.lower()
    return NamedTerms(
        id=terms_id,
        name=head.name if head else terms_id if code.startswith("LicenseRef-") else code,
        spdx=code,
        url=head.url if head else None,
        hub_key=own[0] if own else fallback,
        hub_name=head.hub_names[0] if head and head.hub_names else terms_id,
    )


def unknown() -> NamedTerms:
    """What stands where no licence is known: SPDX's NOASSERTION, the hub's `unknown`."""
    return NamedTerms("unknown", "no licence known", "NOASSERTION", None, "unknown", "unknown")


@cache
def listed(words: str) -> str | None:
    """The SPDX identifier that is meant, in SPDX's own case; None when it is not on the SPDX list."""
    if known := _COMMON.get(words.strip().lower()):
        return known
    try:
        from license_expression import get_spdx_licensing  # type: ignore[import-untyped]
    except ImportError:  # comes with the extra `release`; a card can be made without it
        return None
    try:
        parsed = get_spdx_licensing().parse(words.strip(), validate=True, simple=True)
    except Exception:  # the parser raises several unrelated classes for text that is no expression
        return None
    return str(parsed) if parsed is not None and " " not in str(parsed) else None


def _is_listed_or_ref(code: str) -> bool:
    return bool(re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", code)) or (bool(code) and listed(code) == code)


def _reference(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", words).strip("-") or "unnamed"
