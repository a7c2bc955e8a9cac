"""The licence, notice and policy files beside a model, each told by its words, whatever its name or the card says."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import LicenseText
from toolkit.models.snapshot import Snapshot

if TYPE_CHECKING:
    from toolkit.licensing.recognition.recognise import Recognition

_POINTER_CHARACTERS = 400  # a file this short holds no licence: at most it says where one is
_SHOWN_CHANGES = 3
_CARD = "README.md"


def license_texts(snapshot: Snapshot, library: Library) -> tuple[LicenseText, ...]:
    """What each file at the top of a model says it is, and the licence that its gate shows where there is one."""
    texts = texts_of(snapshot.license_files, library)
    prompt = snapshot.card.gated_prompt
    if prompt and len(prompt) > _POINTER_CHARACTERS:
        name = f"{_CARD} (extra_gated_prompt)"
        texts += tuple(_recognised(name, prompt, library, kind="license", embedded=True))
    return texts


def texts_of(files: Iterable[Path], library: Library) -> tuple[LicenseText, ...]:
    """What each file says it is. Several licences in one file come one by one. A licence of code lies beside one of the
    model without governing the weights."""
    texts = [text for path in files for text in _read(path, library)]
    if any(text.kind == "license" and not is_of_code(text.path) for text in texts):
        texts = [text._replace(governs=not is_of_code(text.path)) for text in texts]
    return tuple(texts)


def texts_said(name: str, text: str, library: Library, *, compare: bool) -> tuple[LicenseText, ...] | None:
    """What a licence text says it is, as `texts_of` has it of a file. Without `compare` only a letter-for-letter copy is
    told, and None stands for any other text."""
    if not text.strip():
        return ()
    if len(text.strip()) <= _POINTER_CHARACTERS and (named := library.mentioned(text)):
        return tuple(LicenseText(name, identifier, detail="it names the licence") for identifier, _ in named)
    if not compare:
        from toolkit.licensing.recognition.exact import exact

        known = exact(text, library.folder / "fingerprints")
        if known not in library.ids:
            return None
    return tuple(_recognised(name, text, library, kind="license"))


def kind_of(name: str) -> str:
    """Whether a file beside a model is a `notice`, a `policy` or a `license`, by its name."""
    upper = name.upper()
    return "notice" if upper.startswith("NOTICE") else "policy" if "POLICY" in upper else "license"


def is_of_code(name: str) -> bool:
    """Whether a licence file speaks of code beside a model: `LICENSE-CODE` as against `LICENSE-MODEL`."""
    return "CODE" in name.upper()


def _read(path: Path, library: Library) -> list[LicenseText]:
    from toolkit.licensing.recognition.sources import read_source

    kind = kind_of(path.name)
    if kind == "notice":
        return [LicenseText(path.name, None, kind=kind)]
    try:
        text = read_source(path, str(path))
    except TkError as error:
        return [LicenseText(path.name, None, detail=error.message, kind=kind)]
    if kind == "license":
        return [*(texts_said(path.name, text, library, compare=True) or ())]
    if len(text.strip()) <= _POINTER_CHARACTERS and (named := library.mentioned(text)):
        return [LicenseText(path.name, identifier, detail="it names the licence", kind=kind) for identifier, _ in named]
    return _recognised(path.name, text, library, kind=kind)


def _recognised(name: str, text: str, library: Library, *, kind: str, embedded: bool = False) -> list[LicenseText]:
    from toolkit.licensing.recognition.exact import exact

    folder = library.folder / "fingerprints"
    if not folder.is_dir():
        return []
    known = exact(text, folder)
    if known in library.ids:
        return [LicenseText(name, known, kind=_own_kind(str(known), kind, library))]
    found = _compared(text, folder, embedded=embedded)
    if found.id is None:
        return [] if embedded else [LicenseText(name, None, kind=kind)]
    if found.modified or found.id not in library.ids:
        changes = [f"{change.clause} {change.kind}" for change in found.changes]
        more = f" and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
        detail = ", ".join(changes[:_SHOWN_CHANGES]) + more
        if fields := [difference.words for difference in found.fields.differences[:_SHOWN_CHANGES]]:
            detail += f"; {'; '.join(fields)}"
        identifier = found.id if found.id in library.ids else None
        return [LicenseText(name, identifier, modified=identifier is not None, detail=detail, kind=kind)]
    return [
        LicenseText(name, match.id, kind=_own_kind(match.id, kind, library))
        for match in found.matches
        if match.id in library.ids
    ]


@lru_cache(maxsize=256)
def _compared(text: str, folder: Path, *, embedded: bool) -> "Recognition":
    """The comparison of one text, kept: the models of a registry bring the same few texts again and again."""
    from toolkit.licensing.recognition.prints import fingerprints
    from toolkit.licensing.recognition.recognise import recognise

    return recognise(text, fingerprints(folder), embedded=embedded)


def _own_kind(identifier: str, kind: str, library: Library) -> str:
    """A policy appended to a licence file is a policy all the same."""
    return "policy" if library.head(identifier).subject == "policy" else kind
