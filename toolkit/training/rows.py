"""Rows of training data as they lie in a file, each with the place it came from, so that every complaint can name it.

Files are read here rather than by `datasets`, which neither keeps line numbers nor reports a second malformed line;
hub data sets go through `datasets`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.digests import sha256_file, sha256_json

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
MOST_PROBLEMS = 20  # shown at once; a file with the wrong delimiter would otherwise fill the screen


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its place: `examples/support.jsonl:7`, or `rows.parquet row 7` where a file has no lines."""

    value: object
    where: str


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one entry of a recipe, with what identifies them: SHA-256 and size in bytes of what was read."""

    name: str
    rows: tuple[Row, ...]
    sha256: str
    bytes: int


def read_source(name: str, path: Path | None, *, offline: bool = False) -> Source:
    """Read a JSONL, JSON, CSV, TSV or Parquet file, a folder of them (`path`), or a hub data set (no `path`).

    `name` is the entry as the recipe writes it; messages use it. Raises TkError when there is nothing to read and
    InvalidInput with every malformed line, up to MOST_PROBLEMS of them.
    """
    if path is None:
        return _read_hub(name, offline=offline)
    if not path.exists():
        raise TkError("no such file or folder of training data", where=name)
    if path.is_file():
        source = Source(name, tuple(_read_file(path, name)), sha256_file(path), path.stat().st_size)
    else:
        source = _read_folder(path, name)
    if not source.rows:
        raise InvalidInput([Problem(name, "has no rows")], hint='one JSON object a line, such as {"messages": [...]}')
    return source


def raise_problems(problems: list[Problem], hint: str | None = None) -> None:
    """Raise InvalidInput with the first problems and the number of the others; nothing when there are none."""
    if not problems:
        return
    shown = problems[:MOST_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(Problem("", f"and {len(problems) - len(shown)} more"))
    raise InvalidInput(shown, hint=hint)


def _read_folder(folder: Path, name: str) -> Source:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not files:
        raise TkError(f"the folder holds no training data ({', '.join(SUFFIXES)})", where=name)
    digests = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    rows = [
        row
        for path, inner in zip(files, digests, strict=True)
        for row in _read_file(path, f"{name.rstrip('/')}/{inner}")
    ]
    return Source(name, tuple(rows), sha256_json(digests), sum(path.stat().st_size for path in files))


def _read_file(path: Path, name: str) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _read_parquet(path, name)
        return
    if suffix not in SUFFIXES:
        raise TkError(
            f"cannot tell how to read {suffix or 'a file without suffix'}",
            where=name,
            hint=f"use {', '.join(SUFFIXES)}",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InvalidInput([Problem(f"{name}:{line}", "is not text in UTF-8")]) from error
    except OSError as error:
        raise TkError(f"cannot be read: {error.strerror}", where=name) from error
    if suffix in (".csv", ".tsv"):
        yield from _read_table(text, name, "\t" if suffix == ".tsv" else ",")
    elif suffix == ".json" and text.lstrip().startswith("["):
        yield from _read_array(text, name)
    else:  # many a `.json` holds one object a line
        yield from _read_lines(text, name)


def _read_lines(text: str, name: str) -> Iterator[Row]:
    problems = []
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Row(json.loads(line), f"{name}:{number}"))
        except json.JSONDecodeError as error:
            problems.append(Problem(f"{name}:{number}", f"not valid JSON: {error.msg} at column {error.colno}"))
        except (ValueError, RecursionError) as error:  # a number too long, brackets without end
            problems.append(Problem(f"{name}:{number}", f"not valid JSON: {error}"))
    raise_problems(problems)
    yield from rows


def _read_array(text: str, name: str) -> Iterator[Row]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            [Problem(f"{name}:{error.lineno}", f"not valid JSON: {error.msg} at column {error.colno}")]
        ) from error
    yield from (Row(value, f"{name} row {number}") for number, value in enumerate(values, start=1))


def _read_table(text: str, name: str, delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    problems = []
    rows = []
    line = 2
    try:
        for value in reader:
            if None in value or None in value.values():
                wanted = len(reader.fieldnames or ())
                problems.append(Problem(f"{name}:{line}", f"has not the {wanted} columns of the first line"))
            else:
                rows.append(Row(value, f"{name}:{line}"))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(f"{name}:{line}", f"not valid CSV: {error}"))
    raise_problems(problems)
    yield from rows


def _read_parquet(path: Path, name: str) -> Iterator[Row]:
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import read_table  # type: ignore[import-untyped]

    try:
        values = read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise TkError(f"not a readable Parquet file: {error}", where=name) from error
    yield from (Row(value, f"{name} row {number}") for number, value in enumerate(values, start=1))


def _read_hub(name: str, *, offline: bool) -> Source:
    hub_id, _, revision = name.partition("@")
    if hub_id.count("/") != 1 or Path(hub_id).suffix.lower() in SUFFIXES or hub_id.startswith((".", "/")):
        raise TkError(
            "no such file or folder of training data", where=name, hint="paths are relative to the current folder"
        )
    if offline:
        raise TkError("a hub data set cannot be read offline unless it is a file", where=name, hint="download it first")
    import datasets

    try:
        table = datasets.load_dataset(hub_id, split="train", revision=revision or None)
    except Exception as error:  # the library raises a dozen unrelated classes for not found, no network and bad files
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise TkError(
            f"the hub data set cannot be read: {first}", where=name, hint="check the id, or name a file"
        ) from error
    values: list[Mapping[str, object]] = list(table)
    rows = tuple(Row(value, f"{name} row {number}") for number, value in enumerate(values, start=1))
    if not rows:
        raise InvalidInput([Problem(name, "has no rows")])
    return Source(name, rows, sha256_json(values), table.nbytes if hasattr(table, "nbytes") else 0)
