"""What every bill of materials lists: the release's files, and the packages it stands on. Read by all three formats."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from toolkit.errors import TkError
from toolkit.release.content import opening_words
from toolkit.release.copies import Copy, wording
from toolkit.release.facts import Dataset, Facts, expression
from toolkit.release.provenance import base_uri
from toolkit.release.record import mapping
from toolkit.release.terms import NamedTerms


@dataclass(frozen=True, slots=True)
class Digests:
    """One file's digests as hex. SPDX 2.3 demands SHA-1; SHA-256 is the one to trust."""

    sha1: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Library:
    """A program that made the release, with its version."""

    name: str
    version: str

    @property
    def purl(self) -> str:
        kind = "generic" if self.name.lower() in ("python", "cuda") else "pypi"
        return f"pkg:{kind}/{self.name.lower().replace('_', '-')}@{self.version.replace('+', '%2B')}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The facts, the files and the licence texts of one release. `serial` is the same for the same run and files."""

    facts: Facts
    files: Mapping[str, Digests]
    texts: Mapping[str, str]

    @property
    def serial(self) -> uuid.UUID:
        seed = self.facts.record_sha256 + "".join(
            f"{name}{digest.sha256}" for name, digest in sorted(self.files.items())
        )
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.facts.name}#{seed}")

    @property
    def version(self) -> str:
        """A release has no version number of its own: its run names it."""
        return str(self.facts.record["id"])

    @property
    def created(self) -> str:
        return f"{self.facts.finished:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def summary(self) -> str:
        return opening_words(self.facts)

    @property
    def libraries(self) -> tuple[Library, ...]:
        versions = mapping(self.facts.record, "versions").items()
        return tuple(Library(name, str(version)) for name, version in versions if version)

    @property
    def base_declared(self) -> str:
        """What the base itself is under, as far as the verdict attributes a licence to it by name."""
        return expression(
            item.terms for item in self.facts.effective if item.role == "model" and item.work == self.facts.base.name
        )

    @property
    def base_concluded(self) -> str:
        return expression(self.facts.governing)

    @property
    def base_purl(self) -> str | None:
        uri = base_uri(self.facts.base).get("uri")
        return uri if uri and uri.startswith("pkg:") else None

    @property
    def custom_terms(self) -> tuple[NamedTerms, ...]:
        """Licences that SPDX does not list, each once by SPDX identifier."""
        return tuple({terms.spdx: terms for terms in self.facts.all_terms if terms.custom}.values())

    @property
    def weights(self) -> tuple[tuple[str, Digests], ...]:
        return tuple((name, digest) for name, digest in self.files.items() if name.endswith(self.facts.form.suffix))


def require_formats() -> None:
    """Raise TkError unless the packages that write and check bills of materials are installed; they are an extra."""
    missing = [
        name for name in ("spdx_tools", "spdx_python_model", "cyclonedx", "jsonschema") if find_spec(name) is None
    ]
    if missing:
        raise TkError(f"this needs {', '.join(missing)}", hint="pip install 'tk-toolkit[release]'")


def take_inventory(facts: Facts, folder: Path, copies: tuple[Copy, ...]) -> Inventory:
    """List the files that lie in `folder` now, with the texts of the licences that hold for them."""
    files = {
        path.relative_to(folder).as_posix(): file_digests(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    texts = {terms.id: wording(terms, copies) for terms in facts.all_terms}
    return Inventory(facts, files, texts)


def file_digests(path: Path) -> Digests:
    """SHA-1 and SHA-256 of a file in one reading."""
    first, second = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            first.update(block)
            second.update(block)
    return Digests(first.hexdigest(), second.hexdigest())


def data_license(dataset: Dataset) -> str:
    """The SPDX expression of a data set's licence."""
    return dataset.terms.spdx if dataset.terms else "NOASSERTION"
