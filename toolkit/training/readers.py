"""Rows of one data file, one after another, each with its place: JSON lines (also compressed), JSON, CSV, TSV, Parquet,
Arrow.

Files are read here rather than by `datasets`, which neither keeps line numbers nor reports a second malformed line.
Nothing but the row at hand is held, except for a JSON array, which has to be parsed whole.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from toolkit.errors import InvalidInput, Problem, TkError

_TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_ARROW = (".arrow", ".feather", ".ipc")
_COMPRESSED = (".gz", ".zst")
SUFFIXES = (*_TEXT, ".parquet", *_ARROW)
READABLE = f"{', '.join(SUFFIXES)}; text also as .gz or .zst"


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its place: `examples/support.jsonl:7`, or `rows.parquet row 7` where a file has no lines.

    `wrong` says why the place holds no row: a line that is not JSON, say. Then there is no value.
    """

    value: object
    where: str
    wrong: str | None = None


def is_data(path: Path) -> bool:
    """Whether a file's name says that it holds rows that can be read."""
    suffix, compression = _suffixes(path)
    return suffix in (_TEXT if compression else SUFFIXES)


def rows_of_file(path: Path, name: str) -> Iterator[Row]:
    """The rows of a file; `name` is how messages call it. A malformed line is a row with `wrong`.

    Raises TkError or InvalidInput when the file cannot be read at all.
    """
    suffix, compression = _suffixes(path)
    if not is_data(path):
        kind = f"{suffix}{compression}" or "a file without suffix"
        raise TkError(f"cannot tell how to read {kind}", where=name, hint=f"use {READABLE}")
    try:
        if suffix == ".parquet":
            yield from _numbered(_parquet(path), name)
        elif suffix in _ARROW:
            yield from _numbered(_arrow(path), name)
        elif suffix in (".csv", ".tsv"):
            yield from _table(path, name, "\t" if suffix == ".tsv" else ",")
        elif suffix == ".json" and _is_array(path):
            yield from _array(path, name)
        else:  # many a `.json` holds one object a line
            yield from _lines(path, name)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TkError(f"cannot be read: {reason}", where=name) from error


def _suffixes(path: Path) -> tuple[str, str]:
    """`.jsonl` and `.gz` of `rows.jsonl.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSED else ""
    return (suffixes[-1] if suffixes else ""), compression


def _open(path: Path) -> IO[bytes]:
    _, compression = _suffixes(path)
    if compression == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == ".zst":
        stream = _pyarrow().input_stream(str(path), compression="zstd")
        return cast("IO[bytes]", io.BufferedReader(stream))
    return path.open("rb")


def _lines(path: Path, name: str) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):  # bytes split at \n alone: U+2028 may stand inside a string
            where = f"{name}:{number}"
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError:
                yield Row(None, where, "is not text in UTF-8")
                continue
            try:
                yield Row(json.loads(text), where)
            except json.JSONDecodeError as error:
                yield Row(None, where, f"not valid JSON: {error.msg} at column {error.colno}")
            except (ValueError, RecursionError) as error:  # a number too long, brackets without end
                yield Row(None, where, f"not valid JSON: {error}")


def _is_array(path: Path) -> bool:
    with _open(path) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array(path: Path, name: str) -> Iterator[Row]:
    with _open(path) as file:
        content = file.read()
    try:
        values = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput([Problem(f"{name}:{line}", "is not text in UTF-8")]) from error
    except json.JSONDecodeError as error:
        text = f"not valid JSON: {error.msg} at column {error.colno}"
        raise InvalidInput([Problem(f"{name}:{error.lineno}", text)]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput([Problem(name, f"not valid JSON: {error}")]) from error
    yield from _numbered(iter(values), name)


def _table(path: Path, name: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # else a text of 131,073 characters is an error
    with _open(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, delimiter=delimiter, strict=True)
        line = 2
        try:
            for value in reader:
                where = f"{name}:{line}"
                if None in value or None in value.values():
                    yield Row(None, where, f"has not the {len(reader.fieldnames or ())} columns of the first line")
                else:
                    yield Row(value, where)
                line = reader.line_num + 1
        except csv.Error as error:
            yield Row(None, f"{name}:{line}", f"not valid CSV: {error}")
        except UnicodeDecodeError:
            yield Row(None, f"{name}:{_undecodable(path)}", "is not text in UTF-8")


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8: decoders read ahead in blocks and cannot tell."""
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _parquet(path: Path) -> Iterator[object]:
    _pyarrow()
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise TkError(f"not a readable Parquet file: {error}", where=str(path)) from error


def _arrow(path: Path) -> Iterator[object]:
    """The IPC formats, file (Feather) and stream; `datasets` writes the latter."""
    pyarrow = _pyarrow()
    try:
        with pyarrow.memory_map(str(path)) as file:
            with contextlib.suppress(pyarrow.ArrowInvalid):
                for batch in _batches(pyarrow.ipc.open_file(file)):
                    yield from batch.to_pylist()
                return
            file.seek(0)
            for batch in pyarrow.ipc.open_stream(file):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise TkError(f"not a readable Arrow file: {error}", where=str(path)) from error


def _batches(file: Any) -> Iterator[Any]:
    return (file.get_batch(index) for index in range(file.num_record_batches))


def _numbered(values: Iterator[object], name: str) -> Iterator[Row]:
    return (Row(value, f"{name} row {number}") for number, value in enumerate(values, start=1))


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc  # type: ignore[import-untyped]
    except ImportError as error:
        hint = "install the training extra: pip install 'tk-toolkit[train]'"
        raise TkError("this kind of file needs pyarrow, which is not installed", hint=hint) from error
    return pyarrow
