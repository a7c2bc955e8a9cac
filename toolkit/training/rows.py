"""Sources of training data: files, folders, saved data sets and the hub, with what identifies each.

A source can be gone through as often as needed (`rows`), holding one row at a time, or read whole (`read_source`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.digests import sha256_file, sha256_json
from toolkit.files.schema import did_you_mean
from toolkit.training.readers import READABLE, Row, is_data, rows_of_file

__all__ = ["MOST_PROBLEMS", "OpenSource", "Row", "Source", "open_source", "raise_problems", "read_source"]

MOST_PROBLEMS = 20  # shown at once; a file with the wrong delimiter would otherwise fill the screen


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one entry of a recipe, with what identifies them: SHA-256 and size in bytes of what was read, and
    the commit of a hub data set."""

    name: str
    rows: tuple[Row, ...]
    sha256: str
    bytes: int
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source whose rows are read as they are asked for. `files` are its files with the names that messages use."""

    name: str
    files: tuple[tuple[Path, str], ...]
    sha256: str
    bytes: int
    revision: str | None = field(default=None, kw_only=True)

    def rows(self) -> Iterator[Row]:
        """Every row in order, from the first; malformed ones with what is `wrong`."""
        for path, name in self.files:
            yield from rows_of_file(path, name)


def read_source(
    name: str,
    path: Path | None,
    *,
    offline: bool = False,
    config: str | None = None,
    split: str | None = None,
) -> Source:
    """Read a file, a folder of them, a data set saved by `datasets` (`path`), or a hub data set (no `path`) whole.

    `name` is the entry as the recipe writes it; messages use it. Raises TkError when there is nothing to read and
    InvalidInput with every malformed line, up to MOST_PROBLEMS of them.
    """
    source = open_source(name, path, offline=offline, config=config, split=split)
    rows = tuple(source.rows())
    raise_problems([Problem(row.where, row.wrong) for row in rows if row.wrong])
    if not rows:
        raise InvalidInput([Problem(name, "has no rows")], hint='one JSON object a line, such as {"messages": [...]}')
    return Source(name, rows, source.sha256, source.bytes, source.revision)


def open_source(
    name: str,
    path: Path | None,
    *,
    offline: bool = False,
    config: str | None = None,
    split: str | None = None,
    streaming: bool = False,
) -> OpenSource:
    """Find a source without reading its rows; `streaming` leaves a hub data set on the hub. Raises TkError."""
    if path is None:
        from toolkit.training.hub_data import open_hub_data

        return open_hub_data(name, config=config, split=split, offline=offline, streaming=streaming)
    if not path.exists():
        raise TkError("no such file or folder of training data", where=name)
    if config:
        raise TkError(f"only a hub data set has configurations, and {config!r} is asked for", where=name)
    if path.is_file():
        if split:
            raise TkError(f"a file has no splits, and {split!r} is asked for", where=name)
        return OpenSource(name, ((path, name),), sha256_file(path), path.stat().st_size)
    return _open_folder(path, name, split)


def raise_problems(problems: list[Problem], hint: str | None = None) -> None:
    """Raise InvalidInput with the first problems and the number of the others; nothing when there are none."""
    if not problems:
        return
    shown = problems[:MOST_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(Problem("", f"and {len(problems) - len(shown)} more"))
    raise InvalidInput(shown, hint=hint)


def _open_folder(folder: Path, name: str, split: str | None) -> OpenSource:
    """A folder of data files, or what `save_to_disk` of `datasets` wrote: a data set, or one for each split."""
    place, label = folder, name.rstrip("/")
    if (folder / "dataset_dict.json").is_file():
        splits = cast("dict[str, list[str]]", _json(folder / "dataset_dict.json", name)).get("splits", [])
        wanted = split or "train"
        if wanted not in splits:
            text = f"has no split {wanted!r}{did_you_mean(wanted, splits)}; it has {', '.join(splits) or 'none'}"
            raise TkError(text, where=name, hint="name one with `split`")
        place, label, split = folder / wanted, f"{label}/{wanted}", None
    if (place / "state.json").is_file() and (place / "dataset_info.json").is_file():
        if split:
            raise TkError(f"a saved data set has no splits, and {split!r} is asked for", where=name)
        state = cast("dict[str, list[dict[str, str]]]", _json(place / "state.json", name))
        files = [place / Path(entry["filename"]).name for entry in state.get("_data_files", [])]
    else:
        files = [path for path in sorted(place.rglob("*")) if path.is_file() and is_data(path)]
        files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(place).parts)]
        if split:
            files = [path for path in files if split in re.split(r"[-_./]", path.relative_to(place).as_posix())]
        if not files:
            what = f"files of the split {split!r}" if split else "training data"
            raise TkError(f"the folder holds no {what}", where=name, hint=f"it may hold {READABLE}")
    digests = {path.relative_to(place).as_posix(): sha256_file(path) for path in files}
    named = tuple((path, f"{label}/{inner}") for path, inner in zip(files, digests, strict=True))
    return OpenSource(name, named, sha256_json(digests), sum(path.stat().st_size for path in files))


def _json(path: Path, name: str) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TkError(f"its {path.name} is not valid JSON", where=name) from error
