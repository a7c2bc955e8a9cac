"""Whether a release folder is what its papers say: every byte, every obligation, and the papers among each other.

Verification finds accidents and careless edits. Somebody who rewrites files and provenance together is stopped by a
signature over the folder, not here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.errors import TkError
from toolkit.files.digests import sha256_file
from toolkit.release import cyclonedx, provenance, spdx, spdx3
from toolkit.release.agreement import disagreements
from toolkit.release.form import ADAPTER, FORMS, Form
from toolkit.release.inventory import require_formats
from toolkit.release.obligations import CARD, NOTICE
from toolkit.release.obligations import FILE as OBLIGATIONS
from toolkit.release.owed import obligation_problems
from toolkit.release.pickles import is_pickle
from toolkit.release.record import at, entries_of, is_inside, read_json, text

SIGNATURE = "model.sig"
_PAPERS = (provenance.FILE, OBLIGATIONS, spdx.FILE, spdx3.FILE, cyclonedx.FILE)
_REQUIRED = (CARD, "card.html", NOTICE, OBLIGATIONS, spdx.FILE, spdx3.FILE, cyclonedx.FILE)

# What moving a folder about leaves in it: version control, the hub's own bookkeeping, a Mac's folder settings. None of
# it is loaded with the model. Anything else that the provenance does not name is an error.
_PASSED_OVER = frozenset({".git", ".cache", ".gitattributes", ".DS_Store"})


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing wrong with one file of a release."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome. `files` counts those checked; `signed` tells that there is a signature, not that it holds."""

    folder: Path
    name: str | None
    files: int
    signed: bool
    problems: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, object]:
        return {
            "schema": "tk/verify/1",
            "folder": str(self.folder),
            "release": self.name,
            "verified": self.ok,
            "files": self.files,
            "signed": self.signed,
            "problems": [{"file": problem.file, "what": problem.what} for problem in self.problems],
        }


def verify(release_folder: Path) -> VerifyReport:
    """Check a release folder. Raises TkError for a folder that is none; whatever is wrong with one is in the report."""
    require_formats()
    if not release_folder.is_dir():
        raise TkError("no such folder", where=str(release_folder), hint="name a folder that `tk release` made")
    if not any((release_folder / name).is_file() for name in _PAPERS):
        hint = "name a folder that `tk release` made; for a run folder, make its release first"
        raise TkError(
            "not a release folder: it has no provenance and no bill of materials", where=str(release_folder), hint=hint
        )
    problems: list[Damage] = []
    present = _present(release_folder, problems)
    statement = _read(release_folder, provenance.FILE, problems)
    digests = _subjects(statement, problems)
    if statement is not None and (wrong := provenance.seal_problem(statement, _content(release_folder))):
        problems.append(Damage(provenance.FILE, wrong))
    problems += _files(release_folder, present, digests, _form(statement, problems))
    problems += _formats(release_folder)
    problems += [Damage(*difference) for difference in disagreements(release_folder, statement, digests)]
    paper = _read(release_folder, OBLIGATIONS, problems)
    if paper is not None:
        problems += [Damage(*problem) for problem in obligation_problems(release_folder, paper, statement)]
    name = text(statement, "predicate.buildDefinition.internalParameters.release.name")
    unique = tuple(dict.fromkeys(problems))
    return VerifyReport(release_folder, name, len(digests), (release_folder / SIGNATURE).is_file(), unique)


def _present(folder: Path, problems: list[Damage]) -> set[str]:
    """Files of the folder by relative path. Links to folders are not followed, and are not part of any release."""
    found = set()
    for place, folders, files in os.walk(folder):
        top = Path(place) == folder
        folders[:] = [name for name in folders if not (top and name in (".git", ".cache"))]
        for name in folders:
            if (Path(place) / name).is_symlink():
                problems.append(Damage((Path(place) / name).relative_to(folder).as_posix(), "is a link to a folder"))
        found |= {(Path(place) / name).relative_to(folder).as_posix() for name in files}
    return found


def _read(folder: Path, name: str, problems: list[Damage]) -> Mapping[str, object] | None:
    """A JSON paper, or None with the problem noted."""
    if not (folder / name).is_file():
        problems.append(Damage(name, "is missing"))
        return None
    try:
        paper = read_json(folder / name)
    except TkError as error:
        problems.append(Damage(name, error.message))
        return None
    if not isinstance(paper, Mapping):
        problems.append(Damage(name, "is not a JSON object"))
        return None
    return paper


def _content(folder: Path) -> bytes:
    try:
        return (folder / provenance.FILE).read_bytes()
    except OSError:
        return b""  # `_read` has just read it


def _subjects(statement: object, problems: list[Damage]) -> dict[str, str]:
    """The digests that the provenance gives, with a problem for each subject that makes no sense."""
    if statement is None:
        return {}
    digests: dict[str, str] = {}
    if at(statement, "_type") != provenance.STATEMENT or at(statement, "predicateType") != provenance.PREDICATE:
        problems.append(Damage(provenance.FILE, "is not an in-toto statement with SLSA provenance"))
    subjects = entries_of(statement, "subject")
    if not subjects:
        problems.append(Damage(provenance.FILE, "names no files"))
    for entry in subjects:
        name, digest = text(entry, "name"), text(entry, "digest.sha256")
        if name is None or digest is None or not is_inside(name):
            problems.append(
                Damage(provenance.FILE, f"has a subject that is no file of the release: {json.dumps(entry)[:120]}")
            )
        elif name in digests:
            problems.append(Damage(provenance.FILE, f"names {name} twice"))
        else:
            digests[name] = digest
    return digests


def _form(statement: object, problems: list[Damage]) -> Form:
    """In which form the provenance says this was released; an adapter where it says nothing."""
    kind = at(statement, "predicate.buildDefinition.internalParameters.release.form")
    if kind is None or kind in FORMS:
        return ADAPTER if kind is None else Form(str(kind))
    problems.append(Damage(provenance.FILE, f"says it is released as {kind!r}, which is no form of a release"))
    return ADAPTER


def _files(folder: Path, present: set[str], digests: Mapping[str, str], form: Form) -> Iterator[Damage]:
    for name, digest in digests.items():
        if not (folder / name).is_file():
            yield Damage(name, "is missing")
            continue
        try:
            changed = sha256_file(folder / name) != digest.lower()
        except OSError as error:
            yield Damage(name, f"cannot be read: {error.strerror}")
            continue
        if changed:
            yield Damage(name, "was changed after the release: its SHA-256 is not the one in the provenance")
    for name in (*_REQUIRED, *filter(None, [form.config])) if digests else ():
        if name not in digests:
            yield Damage(name, "belongs to every release and the provenance does not name it")
    if digests and not any(name.endswith(form.suffix) for name in digests):
        yield Damage(provenance.FILE, f"names no {form.suffix.removeprefix('.')} weights")
    for name in sorted(present):
        if is_pickle(name):
            yield Damage(name, "can run code when it is loaded; a release has safetensors only")
        elif digests and name not in digests and name not in (provenance.FILE, SIGNATURE) and not _is_passed_over(name):
            yield Damage(name, "is not part of the release: the provenance does not name it")


def _is_passed_over(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name == ".DS_Store" or path.parts[0] in _PASSED_OVER


def _formats(folder: Path) -> Iterator[Damage]:
    """Each bill of materials against the rules of its own format."""
    if (folder / spdx.FILE).is_file():
        yield from (Damage(spdx.FILE, what) for what in spdx.spdx_problems(folder / spdx.FILE)[:5])
    else:
        yield Damage(spdx.FILE, "is missing")
    for name in (spdx3.FILE, cyclonedx.FILE):
        problems: list[Damage] = []
        document = _read(folder, name, problems)
        yield from problems
        if problems:
            continue
        if name == spdx3.FILE:
            yield from (Damage(name, what) for what in spdx3.spdx3_problems(document)[:5])
        else:
            yield from (Damage(name, what) for what in _cyclonedx(folder / name, document))


def _cyclonedx(path: Path, document: object) -> list[str]:
    if at(document, "bomFormat") != "CycloneDX" or not isinstance(at(document, "metadata.component"), dict):
        return ["is not a CycloneDX document with a component"]
    return cyclonedx.cyclonedx_problems(path.read_text(encoding="utf-8"))
