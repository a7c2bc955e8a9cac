"""What a PATH of an audit is: a folder of models, a hub cache, a list of hub ids, or a table of hub metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from toolkit.audit.lines import column_of, csv_header, json_objects, listed_ids, no_identity, speaks
from toolkit.errors import TkError
from toolkit.models.reference import Reference
from toolkit.models.resolve import is_model

DEEPEST = 4  # levels of folders below a PATH in which models are looked for
_FIRST_ROWS = 100  # of JSON lines, whose keys tell a list from a table
_CACHED = "models--"
_CONFIGURED = ("config.json", "adapter_config.json", "model_index.json")


class Source(NamedTuple):
    """A PATH and what it was taken for."""

    path: Path
    kind: str  # models | cache | ids | table

    def says(self) -> str:
        """What it was taken for, in words."""
        words = {"models": "a folder of models", "cache": "a hub cache", "ids": "a list of hub ids",
                 "table": "a table of hub metadata"}  # fmt: skip
        return f"{self.path}: {words[self.kind]}"


class Found(NamedTuple):
    """One model that a source names: a folder with the id it goes by, or a reference to resolve. `where` is its folder,
    or the line that names it."""

    id: str
    where: str
    folder: Path | None = None
    revision: str | None = None
    reference: Reference | None = None


def source_of(path: Path) -> Source:
    """What a PATH is. Raises TkError when it is nothing that can be audited."""
    if path.is_dir():
        cached = any(entry.name.startswith(_CACHED) for entry in os.scandir(path))
        return Source(path, "cache" if cached else "models")
    if not path.is_file():
        raise TkError("no such file or folder", where=str(path),
                      hint="name a folder of models, a hub cache, a list of hub ids or a table of hub metadata")  # fmt: skip
    if path.suffix == ".parquet":
        from toolkit.audit.table.columns import parquet_columns

        columns = parquet_columns(path)
    elif path.suffix == ".csv":
        columns = csv_header(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        columns = list({key: None for _, row in islice(json_objects(path), _FIRST_ROWS) for key in row} or ["id"])
    else:
        return Source(path, "ids")
    if column_of("id", columns) is None:
        raise no_identity(str(path), columns)
    if path.suffix == ".parquet" and not speaks(columns):
        raise TkError("says nothing of its models but their ids", where=str(path),
                      hint="write the ids as text, one a line, and each model is looked for by itself")  # fmt: skip
    return Source(path, "table" if speaks(columns) else "ids")


def models_of(source: Source, *, prefix: bool) -> Iterator[Found]:
    """The models of a folder, cache or list, as they are met. `prefix` puts the PATH before ids, where several PATHs
    may hold the same. Raises TkError when a folder holds none, and for lines that are no hub ids."""
    finders = {"models": _folders, "cache": _cached, "ids": _listed}
    empty = True
    for found in finders[source.kind](source.path):
        empty = False
        yield found._replace(id=f"{source.path}/{found.id}") if prefix and source.kind == "models" else found
    if empty and source.kind == "ids":
        raise TkError("names no model", where=str(source.path), hint="write one id such as org/name a line")
    if empty:
        raise TkError("holds no model", where=str(source.path),
                      hint="a model is a folder with README.md, config.json or adapter_config.json")  # fmt: skip


def _listed(path: Path) -> Iterator[Found]:
    for line, reference in listed_ids(path):
        yield Found(reference.id, f"{path}:{line}", reference=reference)


def _folders(root: Path) -> Iterator[Found]:
    for folder in _below(root, DEEPEST):
        name = folder.relative_to(root).as_posix()
        yield Found(folder.resolve().name if name == "." else name, str(folder), folder)


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Model folders in order of their names. What lies below a model belongs to it; a folder with nothing but a README is
    a model only when no model lies below it, for registries have READMEs too."""
    if any((folder / name).is_file() for name in _CONFIGURED):
        yield folder
        return
    found = False
    for name in _subfolders(folder) if levels else ():
        for model in _below(folder / name, levels - 1):
            found = True
            yield model
    if not found and is_model(folder):
        yield folder


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )


def _cached(cache: Path) -> Iterator[Found]:
    """Every snapshot of every model of a hub cache that holds what a model says of itself."""
    for store in _subfolders(cache):
        snapshots = cache / store / "snapshots"
        if store.startswith(_CACHED) and snapshots.is_dir():
            for revision in _subfolders(snapshots):
                if is_model(snapshots / revision):
                    name = store.removeprefix(_CACHED).replace("--", "/")
                    yield Found(name, str(snapshots / revision), snapshots / revision, revision)
