"""Whether a text that a release passes on is the licence that it is passed on as."""

from __future__ import annotations

from functools import lru_cache

from toolkit.errors import TkError
from toolkit.licensing.library import library
from toolkit.licensing.recognition.exact import exact
from toolkit.licensing.recognition.prints import fingerprints
from toolkit.licensing.recognition.recognise import recognise
from toolkit.licensing.recognition.sources import text_of


@lru_cache(maxsize=64)
def text_problem(terms_id: str, content: bytes) -> str | None:
    """Why a text is not the licence `terms_id` as its authors wrote it: `is mit, not apache-2.0`. None when it is, and
    for a licence that has no fingerprint here, which nobody can tell."""
    folder = library().folder / "fingerprints"
    if not (folder / f"{terms_id}.json").is_file():
        return None
    try:
        text = text_of(content, terms_id)
    except TkError as error:
        return error.message
    if exact(text, folder) == terms_id:
        return None
    found = recognise(text, fingerprints(folder))
    if terms_id in {match.id for match in found.matches if not match.modified} and not found.modified:
        return None
    if found.id == terms_id:
        changes = [f"{change.clause} {change.kind}" for change in found.changes]
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        fields = "".join(f"; {difference.words}" for difference in found.fields.differences[:3])
        return f"is {terms_id} with changes ({', '.join(changes[:3])}{more}{fields})"
    return f"is {found.id}, not {terms_id}" if found.id else f"is not the text of {terms_id}"
