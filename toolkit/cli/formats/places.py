"""The line of an input that a finding speaks of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from toolkit.files.strict_yaml import Document
from toolkit.licensing.verdict import Verdict


class Place(NamedTuple):
    """A file, as a URI relative to where the command runs, and a line from 1."""

    uri: str
    line: int


def place_of(where: str | None, facts: Iterable[str], verdict: Verdict, stated: Document) -> Place:
    """Where a finding belongs: its own line; else that of a fact of the use that decided it; else the target's
    declaration; else the licence data that speaks."""
    for candidate in (where, *(_fact(fact, stated) for fact in facts), verdict.target.where, _use(stated)):
        if place := read_place(candidate):
            return place
    licenses = [entry.id for entry in verdict.effective if entry.id]
    return Place(f"licenses/{licenses[0] if licenses else 'vocabulary'}.yaml", 1)


def _fact(fact: str, stated: Document) -> str | None:
    return stated.where((fact,)) if (fact,) in stated.lines and (fact,) not in stated.origins else None


def _use(stated: Document) -> str | None:
    return f"{stated.name}:{min(stated.lines.values())}" if stated.lines else None


def read_place(where: str | None) -> Place | None:
    """`README.md:3` as a place; None for what is no file, such as the command line."""
    if not where:
        return None
    path, _, line = where.rpartition(":")
    if not path or not line.isdigit():
        path, line = where, "1"
    if " " in path and not os.path.exists(path):
        return None
    if os.path.isabs(path):
        relative = os.path.relpath(path)
        path = relative if not relative.startswith("..") else path
    uri = quote(path.replace(os.sep, "/"))
    return Place(f"file://{uri}" if os.path.isabs(path) else uri, max(int(line), 1))
