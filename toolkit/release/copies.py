"""Which licence, notice and policy texts a release carries, and where in it they stand.

Texts come from the base's own snapshot, as the run copied them, or from a file that a person names. The toolkit ships
no third-party licence texts, so what neither has is owed and left open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

from toolkit.errors import InvalidInput, NotFulfilled, Problem
from toolkit.files.schema import did_you_mean
from toolkit.release.facts import Facts
from toolkit.release.record import entries_of, text
from toolkit.release.terms import NamedTerms
from toolkit.release.texts import text_problem


@dataclass(frozen=True, slots=True)
class Copy:
    """One text: where it goes in the release, of which licence and work, and what it is (license, notice, policy)."""

    path: str
    terms_id: str | None
    work: str
    kind: str
    content: bytes

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def words(self) -> str:
        """The text itself; bytes that are not UTF-8 are shown as such rather than lost."""
        return self.content.decode("utf-8", errors="replace")


def copies_of(facts: Facts, run_folder: Path, license_files: Mapping[str, Path]) -> tuple[Copy, ...]:
    """The texts that a release of the run carries, each content once.

    `license_files` gives a text for a licence that came with none. Raises NotFulfilled when a copy in the run folder is
    gone or changed, InvalidInput for a licence that the release does not have.
    """
    copies: dict[str, Copy] = {}
    seen: set[tuple[str, str | None, str]] = set()
    recorded = entries_of(facts.record, "licenses")
    # A folder may hold LICENSE-CODE beside LICENSE-MODEL; the one for the code never stands first.
    for entry in sorted(recorded, key=lambda entry: "CODE" in PurePosixPath(str(entry["path"])).name.upper()):
        source = run_folder / str(entry["path"])
        content = _recorded(source, str(entry["sha256"]))
        kind, terms_id, work = str(entry["kind"]), text(entry, "id"), text(entry, "work") or facts.base.name
        if (key := (kind, terms_id, sha256(content).hexdigest())) not in seen:
            seen.add(key)
            path = _free(_place(kind, terms_id, source), copies)
            copies[path] = Copy(path, terms_id, _public(work, facts), kind, content)
    for terms_id, given in license_files.items():
        _refuse_needless(terms_id, facts, copies.values())
        content = _given(terms_id, given)
        for path in [path for path, copy in copies.items() if copy.kind == "license" and copy.terms_id == terms_id]:
            # What came with the base was not the licence's text. It stays, under no licence's name.
            kept = _free(f"LICENSES/{terms_id}-as-received.txt", copies)
            copies[kept] = replace(copies.pop(path), path=kept, terms_id=None)
        path = _free(_place("license", terms_id, given), copies)
        copies[path] = Copy(path, terms_id, "named at release", "license", content)
    return tuple(copies.values())


def text_of(copies: Iterable[Copy], terms_id: str) -> Copy | None:
    """The copy of a licence's own text, if there is one."""
    return next((copy for copy in copies if copy.kind == "license" and copy.terms_id == terms_id), None)


def main_license(facts: Facts, copies: tuple[Copy, ...]) -> Copy | None:
    """The text that stands as `LICENSE` at the top: that of the licence on the card, else one nobody could name."""
    wanted = facts.governing if facts.terms.id == "several" else (facts.terms,)
    found = (text_of(copies, terms.id) for terms in sorted(wanted, key=lambda terms: terms.permissive))
    own = next((copy for copy in found if copy is not None), None)
    return own or next((copy for copy in copies if copy.kind == "license" and copy.terms_id is None), None)


def _recorded(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFulfilled(
            "a licence text that the run recorded is gone", where=str(path), hint="restore the run folder"
        ) from error
    if sha256(content).hexdigest() != digest:
        raise NotFulfilled("a licence text was changed after the run", where=str(path), hint="restore the run folder")
    return content


def _given(terms_id: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput([Problem(terms_id, f"its text cannot be read: {error.strerror}", str(path))]) from error
    if not content.strip():
        raise InvalidInput([Problem(terms_id, "its text is empty", str(path))])
    if wrong := text_problem(terms_id, content):
        raise InvalidInput([Problem(terms_id, f"this file {wrong}", str(path))])
    return content


def _refuse_needless(terms_id: str, facts: Facts, copies: Iterable[Copy]) -> None:
    known = [terms.id for terms in facts.all_terms]
    if terms_id not in known:
        listed = ", ".join(known) or "none"
        message = f"is no licence of this release{did_you_mean(terms_id, known)}; it has {listed}"
        raise InvalidInput([Problem(terms_id, message)])
    if (copy := text_of(copies, terms_id)) is not None and not text_problem(terms_id, copy.content):
        raise InvalidInput(
            [Problem(terms_id, f"{copy.work} came with its own copy, which is the one to pass on; name no other")]
        )


def _place(kind: str, terms_id: str | None, source: Path) -> str:
    if kind == "policy":
        return f"USE_POLICY{source.suffix}"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", terms_id or source.stem).strip("-.") or "unnamed"
    return f"LICENSES/{slug}.NOTICE.txt" if kind == "notice" else f"LICENSES/{slug}.txt"


def _free(path: str, taken: Mapping[str, object]) -> str:
    """`path`, or the first of `path-2`, `path-3` … that is free: two MIT texts may name two holders."""
    place = PurePosixPath(path)
    number = 2
    while path in taken:
        path = str(place.with_name(f"{place.stem}-{number}{place.suffix}"))
        number += 1
    return path


def _public(work: str, facts: Facts) -> str:
    """A work's name without a path of the machine it was read on."""
    return facts.base.name if facts.base.source == "folder" and ("/" in work or "\\" in work) else work


def wording(terms: NamedTerms, copies: Iterable[Copy]) -> str:
    """The text of a licence for documents that must hold one, or where it is to be found when the release has none."""
    if (copy := text_of(copies, terms.id)) is not None:
        return copy.words
    place = f"It is to be found at {terms.url}." if terms.url else "The publisher of the work holds it."
    return f"{terms.name}. This release carries no copy of the text. {place}"
