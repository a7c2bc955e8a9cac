"""The run record (`RUN/run.json`): written once when a run ends, read by everything that comes after it.

A record is kept as plain JSON so that a card or a bill of materials can be made from it years later by a version of the
toolkit that knows more keys. What this version needs is declared in `_NEEDED` and checked in one go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.atomic import write_json

FILE = "run.json"
SCHEMA = "tk/run/1"

Record = Mapping[str, object]

_ABSURD = 1e300  # JSON knows whole numbers that no float can hold; no figure of a run comes near

_WORDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "a mapping": (dict,),
    "a list": (list,),
    "a whole number": (int,),
}

# Dotted path → what must stand there. Keys that a run may lack (an evaluation, a licence of the data) are not here.
_NEEDED = {
    "id": "text",
    "started": "text",
    "finished": "text",
    "tool": "a mapping",
    "tool.name": "text",
    "tool.version": "text",
    "recipe": "a mapping",
    "recipe.sha256": "text",
    "recipe.resolved": "a mapping",
    "plan": "a mapping",
    "verdict": "a mapping",
    "verdict.verdict": "text",
    "verdict.effective_licenses": "a list",
    "verdict.obligations": "a list",
    "permit": "a mapping",
    "permit.verdict": "text",
    "use": "a mapping",
    "base": "a mapping",
    "base.id": "text",
    "base.source": "text",
    "base.files": "a mapping",
    "licenses": "a list",
    "data": "a mapping",
    "data.train": "a mapping",
    "data.train.sha256": "text",
    "seed": "a whole number",
    "versions": "a mapping",
    "hardware": "a mapping",
    "adapter": "a mapping",
    "adapter.type": "text",
    "adapter.files": "a mapping",
    "metrics": "a mapping",
}

# Lists and mappings of records: path → keys that each entry must have as text.
_ENTRIES = {
    "verdict.effective_licenses": ("role",),
    "verdict.obligations": ("id", "license", "check"),
    "licenses": ("path", "kind", "sha256"),
    "base.files": ("sha256",),
    "adapter.files": ("sha256",),
}


def read_record(run_folder: Path) -> Record:
    """The record of a finished run. Raises TkError for a folder that is not one, InvalidInput for a damaged record."""
    path = run_folder / FILE
    if not run_folder.is_dir():
        raise TkError("no such run folder", where=str(run_folder), hint="name the `output` of a finished `tk finetune`")
    if not path.is_file():
        raise TkError(
            f"not a finished run: it has no {FILE}",
            where=str(run_folder),
            hint="`tk finetune RECIPE` writes it when training ends; run it again to resume",
        )
    value = read_json(path)
    check_record(value, str(path))
    return value  # type: ignore[return-value]  # check_record has seen that it is a mapping


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a run, once and in one step. Raises TkError when the folder has one already."""
    path = folder / FILE
    check_record(record, str(path))
    if path.exists():
        raise TkError(
            "the run has its record already; records are written once", where=str(path), hint="use a new output folder"
        )
    write_json(path, record)


def check_record(value: object, where: str) -> None:
    """Raise InvalidInput with everything that is missing from a record or has the wrong type."""
    if not isinstance(value, Mapping):
        raise InvalidInput([Problem("run", "must be a JSON object", where)])
    if value.get("schema") != SCHEMA:
        found = f"is {value['schema']!r}" if "schema" in value else "is missing"
        raise InvalidInput(
            [Problem("schema", f"{found}; this version reads {SCHEMA!r}", where)],
            hint="use the version of tk that wrote the run",
        )
    problems = [
        Problem(path, f"must be {kind}" if has(value, path) else "is missing", where)
        for path, kind in _NEEDED.items()
        if not isinstance(at(value, path), _WORDS[kind]) and has(value, path.rpartition(".")[0])
    ]
    for path, keys in _ENTRIES.items():
        entries = at(value, path)
        named = (
            entries.items() if isinstance(entries, dict) else enumerate(entries) if isinstance(entries, list) else ()
        )
        for name, entry in named:
            for key in keys:
                if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
                    problems.append(Problem(f"{path}[{name}].{key}", "is missing or not text", where))
    for name in [
        *mapping(value, "adapter.files"),
        *(str(at(entry, "path")) for entry in entries_of(value, "licenses")),
    ]:
        if not is_inside(name):
            problems.append(Problem(name, "must be a path inside the run folder", where))
    if problems:
        raise InvalidInput(problems, hint="a record is not edited by hand; make the run again if its record is lost")


def read_json(path: Path) -> object:
    """A JSON file. Raises InvalidInput with the line when it is cut off, not JSON, or holds NaN."""
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but no text that can be written
    except OSError as error:
        raise TkError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except json.JSONDecodeError as error:
        raise InvalidInput([Problem("", f"not valid JSON: {error.msg}", f"{path}:{error.lineno}")]) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, NaN, or brackets without end
        raise InvalidInput([Problem("", f"not valid JSON: {error}", str(path))]) from error
    return value


def at(record: object, path: str) -> object:
    """The value at a dotted path, or None where any step of it is missing."""
    for key in path.split(".") if path else ():
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def has(record: object, path: str) -> bool:
    """Whether a dotted path is written in the record, be it as null."""
    parent, _, key = path.rpartition(".")
    holder = at(record, parent)
    return not path or (isinstance(holder, Mapping) and key in holder)


def text(record: object, path: str) -> str | None:
    """Text at a dotted path; None where there is none."""
    value = at(record, path)
    return value if isinstance(value, str) and value.strip() else None


def number(record: object, path: str) -> float | None:
    """A number at a dotted path; None where there is none."""
    value = at(record, path)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _ABSURD
    return value if sound else None  # type: ignore[return-value]  # `sound` has seen that it is a number


def whole(record: object, path: str) -> int | None:
    """A whole number at a dotted path; None where there is none."""
    value = number(record, path)
    return None if value is None else int(value)


def mapping(record: object, path: str) -> Mapping[str, object]:
    """A mapping at a dotted path; an empty one where there is none."""
    value = at(record, path)
    return value if isinstance(value, Mapping) else {}


def entries_of(record: object, path: str) -> tuple[Mapping[str, object], ...]:
    """The mappings of a list at a dotted path."""
    value = at(record, path)
    return tuple(entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list | tuple) else ()


def is_inside(name: str) -> bool:
    """Whether a relative POSIX path stays below the folder it is relative to."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and path.parts != ()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
