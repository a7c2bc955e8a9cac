"""A model reference as people write it: `embedded:qwen2`, a folder, or a hub id with an optional `@revision`."""

import re
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import TkError

EMBEDDED = "embedded:"
_HUB_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]*[\w-])?/[A-Za-z0-9](?:[\w.-]*[\w-])?\Z")
_REVISION = re.compile(r"[\w./-]{1,200}\Z")


class Reference(NamedTuple):
    """What was asked for. `kind` is embedded, folder or hub; `name` the family, path or hub id."""

    kind: str
    name: str
    revision: str | None = None

    @property
    def id(self) -> str:
        return f"{EMBEDDED}{self.name}" if self.kind == "embedded" else self.name


def parse_reference(text: str) -> Reference:
    """Read a reference. Raises TkError when it is neither a folder that exists nor shaped like a hub id."""
    if text.startswith(EMBEDDED):
        return Reference("embedded", text.removeprefix(EMBEDDED).strip().lower())
    path = Path(text).expanduser()
    if text.strip() and path.is_dir():
        return Reference("folder", text)
    if path.is_file():
        raise TkError("is a file; name the folder of a model", where=text)
    return parse_hub_id(text)


def parse_hub_id(text: str) -> Reference:
    """Read a hub id with an optional `@revision`, whatever folders there are. Raises TkError when it is not shaped so."""
    name, at, revision = text.partition("@")
    looks_like_path = text.startswith((".", "/", "~")) or text.endswith("/") or "\\" in text
    if looks_like_path or not _HUB_ID.match(name):
        raise TkError(
            "no such folder, and not a hub id",
            where=text,
            hint="name a folder, a hub id such as Qwen/Qwen2.5-7B-Instruct, or embedded:qwen2",
        )
    if at and not _REVISION.match(revision):
        raise TkError(f"{revision!r} is not a revision", where=text, hint="write a branch, a tag or a commit after @")
    return Reference("hub", name, revision or None)
