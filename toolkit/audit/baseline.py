"""Findings that somebody has accepted: what a later audit finds again does not fail it, what it finds beyond does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import toolkit
from toolkit.audit.failing import Item, digest
from toolkit.audit.outcome import Result
from toolkit.errors import TkError
from toolkit.licensing.use import IntendedUse

SCHEMA = "tk/audit-baseline/1"


class Accepted(NamedTuple):
    """One accepted item of one model."""

    model: str
    item: Item


class Baseline:
    """The accepted items of a file. Asked for each item of each model, it remembers which of them were found again."""

    def __init__(self, accepted: Mapping[Accepted, set[str]]) -> None:
        self._accepted = accepted
        self._unseen = dict.fromkeys(accepted)

    def accepts(self, result: Result, item: Item) -> bool:
        """Whether an item was accepted as it stands. One whose licences or reasons have changed was not."""
        key = Accepted(result.id, item)
        self._unseen.pop(key, None)
        return digest(item, result.outcome) in self._accepted.get(key, ())

    def gone(self) -> tuple[Accepted, ...]:
        """The accepted items that no model had."""
        return tuple(self._unseen)


def read_baseline(path: Path, use: IntendedUse) -> Baseline:
    """Read a baseline. Raises TkError when it is none, or was made for another use: then it accepts something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise TkError("no such baseline", where=str(path), hint="--write-baseline FILE makes one") from error
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise TkError("the baseline is not valid JSON", where=f"{path}:{line}") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("accepted"), list):
        raise TkError(f"is no baseline of an audit ({SCHEMA})", where=str(path), hint="--write-baseline FILE makes one")
    if differing := sorted(_differing(value.get("use"), _stated(use))):
        raise TkError(f"the baseline was made for another use: {', '.join(differing)} differ", where=str(path),
                      hint="audit for the same use, or accept anew with --write-baseline")  # fmt: skip
    accepted: dict[Accepted, set[str]] = {}
    for entry in value["accepted"]:
        try:
            key = Accepted(entry["model"], Item(entry["what"], entry["license"]))
            accepted.setdefault(key, set()).add(entry["digest"])
        except (KeyError, TypeError) as error:
            text = f"an entry lacks model, what, license or digest: {json.dumps(entry)[:80]}"
            raise TkError(text, where=str(path)) from error
    return Baseline(accepted)


def baseline_head(use: IntendedUse) -> str:
    """The first line of a baseline file; entries follow, one to a line so that a change of it reads well in a review, and
    then `]}`."""
    head = {"schema": SCHEMA, "tool": f"tk {toolkit.__version__}", "use": _stated(use)}
    return json.dumps(head, ensure_ascii=False)[:-1] + ', "accepted": ['


def baseline_entry(result: Result, item: Item) -> str:
    """The entry that accepts one item of one model."""
    entry = {"model": result.id, "what": item.what, "license": item.license, "digest": digest(item, result.outcome)}
    return json.dumps(entry, ensure_ascii=False)


def _stated(use: IntendedUse) -> dict[str, object]:
    return {key: value for key, value in use.to_json().items() if key != "purpose"}


def _differing(one: Any, other: Mapping[str, object]) -> set[str]:
    stated = one if isinstance(one, dict) else {}
    return {key for key in {*stated, *other} if stated.get(key) != other.get(key)}
