"""Lists of hub ids and the names of a table's columns, read line by line so that an error has its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.models.reference import Reference, parse_hub_id

# Our name of a column, and how tables of the hub spell it (case and underscores aside).
DATA_COLUMNS = {
    "id": ("id", "modelid", "repoid", "model", "repo"),
    "tags": ("tags",),
    "license": ("license",),
    "license_name": ("licensename",),
    "base_model": ("basemodel", "basemodels"),
    "card_data": ("carddata",),
    "relation": ("basemodelrelation",),
    "library": ("libraryname",),
    "pipeline": ("pipelinetag",),
    "card": ("card", "readme", "modelcard", "cardtext", "readmetext"),
    "text": ("licensetext", "licensefile", "licensecontent"),
}
SPEAKING = ("tags", "license", "license_name", "base_model", "card_data", "card", "text")


def column_of(ours: str, columns: Iterable[str]) -> str | None:
    """The column of a table that is ours under one of its spellings, the first spelling first."""
    spelt = {column.lower().replace("_", "").replace("-", ""): column for column in reversed(list(columns))}
    return next((spelt[name] for name in DATA_COLUMNS[ours] if name in spelt), None)


def speaks(columns: Iterable[str]) -> bool:
    """Whether a table says anything of its models beside their ids."""
    columns = list(columns)
    return any(column_of(ours, columns) is not None for ours in SPEAKING)


def no_identity(where: str, columns: list[str]) -> TkError:
    """The one sentence for a table, or a row of one, that names no model."""
    shown = ", ".join(columns[:12]) or "none"
    return TkError(f"no column of hub ids; its columns are {shown}", where=where, hint="call one of them id")


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of JSON lines. Raises TkError with the line for one that is no object."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                reason = getattr(error, "msg", "not text in UTF-8")
                raise TkError(f"not valid JSON: {reason}", where=f"{path}:{number}") from error
            if not isinstance(value, dict):
                raise TkError("must be a JSON object with an id", where=f"{path}:{number}")
            yield number, value


def csv_header(path: Path) -> list[str]:
    """The first row of a CSV. Raises TkError when it is not text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            return next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise TkError("is not a CSV in UTF-8", where=str(path)) from error


def listed_ids(path: Path) -> Iterator[tuple[int, Reference]]:
    """(line, hub id) of a list. Raises TkError with the line for what is no hub id."""
    for number, text in _entries(path):
        try:
            yield number, parse_hub_id(text)
        except TkError as error:
            hint = "write one id such as org/name a line"
            raise TkError(f"{text!r} is not a hub id", where=f"{path}:{number}", hint=hint) from error


def _entries(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix in (".jsonl", ".ndjson"):
        for number, row in json_objects(path):
            column = column_of("id", row)
            if column is None:
                raise no_identity(f"{path}:{number}", list(row))
            yield number, str(row[column]).strip()
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file)
                column = column_of("id", reader.fieldnames or ())
                for row in reader:
                    yield reader.line_num, (row.get(column or "") or "").strip()
                return
            for number, line in enumerate(file, start=1):
                if text := line.partition("#")[0].strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise TkError("is not text in UTF-8", where=str(path)) from error
