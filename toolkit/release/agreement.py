"""Whether the papers of a release agree: card, adapter configuration and bills of materials against the provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit.errors import TkError
from toolkit.models.card import front_matter
from toolkit.release import cyclonedx, provenance, spdx, spdx3
from toolkit.release.obligations import CARD
from toolkit.release.record import at, entries_of, read_json, text

CONFIG = "adapter_config.json"
_PARAMETERS = "predicate.buildDefinition.internalParameters"
_DEPENDENCIES = "predicate.buildDefinition.resolvedDependencies"
_CARD_KEYS = {"name": "model_name", "license": "license", "license_name": "license_name", "base_model": "base_model"}

Difference = tuple[str, str]  # the file, and what it says otherwise


def disagreements(folder: Path, statement: object, digests: Mapping[str, str]) -> Iterator[Difference]:
    """What the papers of a release say against its provenance, or against `digests`, the files that it names."""
    said = at(statement, f"{_PARAMETERS}.release")
    if statement is not None and not isinstance(said, Mapping):
        yield provenance.FILE, "does not say under which name and licence this is released"
    yield from _card(folder, said)
    if not isinstance(said, Mapping):
        return
    yield from _configuration(folder, said)
    yield from _licences(folder, statement)
    yield from _files(folder, digests)
    yield from _origins(folder, statement)


def _card(folder: Path, said: object) -> Iterator[Difference]:
    """The card's front matter: the same name, licence and base."""
    try:
        document = front_matter((folder / CARD).read_text(encoding="utf-8"), CARD)
    except (TkError, OSError, UnicodeDecodeError) as error:
        yield CARD, f"its front matter cannot be read: {error}"
        return
    keys = document.value if document else None
    if not isinstance(keys, dict):
        yield CARD, "has no front matter"
        return
    if "licence" in keys:
        yield CARD, "has a key `licence`, which no hub reads; it is `license`"
    for key, card_key in _CARD_KEYS.items():
        if isinstance(said, Mapping) and said.get(key) != keys.get(card_key):
            yield CARD, f"{card_key} is {keys.get(card_key)!r}, and the provenance says {said.get(key)!r}"


def _configuration(folder: Path, said: Mapping[str, object]) -> Iterator[Difference]:
    if not (folder / CONFIG).is_file():
        return  # whether it must be there is not said here
    base = at(_json(folder, CONFIG), "base_model_name_or_path")
    if base is not None and base != said.get("base"):
        yield CONFIG, f"is for the base {base!r}, and the provenance says {said.get('base')!r}"


def _licences(folder: Path, statement: object) -> Iterator[Difference]:
    """Declared and concluded licence of the release in SPDX 2.3 and 3.0.1."""
    wanted = {kind: at(statement, f"{_PARAMETERS}.licenses.{kind}") for kind in ("declared", "concluded")}
    for package in entries_of(_json(folder, spdx.FILE), "packages"):
        for kind, expression in wanted.items():
            found = package.get(f"license{kind.capitalize()}")
            if package.get("SPDXID") == "SPDXRef-Release" and found != expression:
                yield spdx.FILE, f"the {kind} licence is {found!r}, and the provenance says {expression!r}"
    elements = {str(item.get("spdxId")): item for item in entries_of(_json(folder, spdx3.FILE), "@graph")}
    for item in elements.values():
        for kind, expression in wanted.items():
            is_it = item.get("relationshipType") == f"has{kind.capitalize()}License"
            if is_it and str(item.get("from")).endswith("#release"):
                ends = item.get("to")
                end = elements.get(str(ends[0])) if isinstance(ends, list) and ends else None
                found = at(end, "simplelicensing_licenseExpression")
                if found != expression:
                    yield spdx3.FILE, f"the {kind} licence is {found!r}, and the provenance says {expression!r}"


def _files(folder: Path, digests: Mapping[str, str]) -> Iterator[Difference]:
    """The digests of the release's files in SPDX 2.3 and CycloneDX."""
    for entry in entries_of(_json(folder, spdx.FILE), "files"):
        name = str(entry.get("fileName", "")).removeprefix("./")
        found = {str(checksum.get("checksumValue")) for checksum in _of(entry, "checksums", "algorithm", "SHA256")}
        if found != {str(digests.get(name))}:
            yield spdx.FILE, f"gives another SHA-256 for {name} than the provenance"
    for entry in entries_of(_json(folder, cyclonedx.FILE), "metadata.component.components"):
        name = str(entry.get("name", ""))
        if _hashes(entry) != {str(digests.get(name))}:
            yield cyclonedx.FILE, f"gives another SHA-256 for {name} than the provenance"


def _origins(folder: Path, statement: object) -> Iterator[Difference]:
    """The digests of base and data in CycloneDX."""
    wanted = {text(entry, "name"): text(entry, "digest.sha256") for entry in entries_of(statement, _DEPENDENCIES)}
    document = _json(folder, cyclonedx.FILE)
    found: dict[str, set[str]] = {}
    for ancestor in entries_of(document, "metadata.component.pedigree.ancestors"):
        found |= {f"base/{entry.get('name')}": _hashes(entry) for entry in entries_of(ancestor, "components")}
    for entry in entries_of(document, "components"):
        if entry.get("type") == "data":
            found[f"data/{entry.get('name')}"] = _hashes(entry)
    for name, hashes in found.items():
        digest = wanted.get(name)
        if hashes != ({digest} if digest else set()):
            yield cyclonedx.FILE, f"gives another SHA-256 for {name} than the provenance"
    for origin in wanted:
        if origin is not None and origin.startswith(("base/", "data/")) and origin not in found:
            yield cyclonedx.FILE, f"lacks {origin}, from which the provenance says this was made"


def _hashes(entry: Mapping[str, object]) -> set[str]:
    return {str(item.get("content")) for item in _of(entry, "hashes", "alg", "SHA-256")}


def _of(entry: Mapping[str, object], key: str, name: str, value: str) -> list[Mapping[str, object]]:
    return [item for item in entries_of(entry, key) if item.get(name) == value]


def _json(folder: Path, name: str) -> object:
    """A paper as JSON; None where it cannot be read, which `verify` reports by itself."""
    try:
        return read_json(folder / name)
    except TkError:
        return None
