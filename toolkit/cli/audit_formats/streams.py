"""Where a report goes: standard output, a file that grows line by line, or a file that is whole or absent."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from toolkit.files.atomic import unwritable


@contextmanager
def growing(to: Path | None) -> Iterator[IO[str]]:
    """A stream whose lines stay when the command is interrupted. Raises TkError for a file that cannot be written."""
    if to is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        stream = to.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise unwritable(to, error) from error
    with stream:
        yield stream


@contextmanager
def whole(to: Path | None) -> Iterator[IO[str]]:
    """A stream whose file takes its name only when the block ends well."""
    if to is None:
        with growing(None) as stream:
            yield stream
        return
    with staged_file(to) as staged, staged.open("w", encoding="utf-8", newline="") as stream:
        yield stream


@contextmanager
def staged_file(to: Path) -> Iterator[Path]:
    """A sibling of `to` that becomes `to` when the block ends well, and vanishes otherwise."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent)
    except OSError as error:
        raise unwritable(to, error) from error
    with folder as name:
        staged = Path(name) / to.name
        yield staged
        try:
            staged.replace(to)
        except OSError as error:
            raise unwritable(to, error) from error
