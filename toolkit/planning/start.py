"""What an earlier run's adapter was trained on, read from its record: it is part of what is judged when training goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import TkError


def started_from(folder: str) -> tuple[Mapping[str, str | None], ...]:
    """The data sets, each with its `id` and `license`, behind the adapter of a run.

    None of a run that has not finished: a recipe can be planned before the one it builds on is trained, and training
    refuses to begin without it. Raises TkError for a damaged record.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        return ()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        hint = "name the `output` of a finished `tk finetune`"
        raise TkError("not valid JSON", where=str(path), hint=hint) from error
    return datasets_of(record)


def datasets_of(record: Any) -> tuple[Mapping[str, str | None], ...]:
    """Every data set that a record names, its own and those its use states, and those of the run it started from."""
    found: dict[str, str | None] = {}
    data, start = _inner(record, "data"), _inner(_inner(record, "adapter"), "start")
    for source in data.get("sources") or ({"path": _inner(data, "train").get("path"), **data},):
        if name := source.get("id") or source.get("path"):
            found[str(name)] = source.get("license")
    for entry in (*(_inner(record, "use").get("datasets") or ()), *(start.get("datasets") or ())):
        if isinstance(entry, Mapping) and entry.get("id"):
            found.setdefault(str(entry["id"]), entry.get("license"))
    return tuple({"id": name, "license": terms} for name, terms in found.items())


def _inner(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
