"""Writes that are either whole or absent, so that a killed process leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import TkError


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` in one step: a temporary sibling, flushed to disk, then renamed."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step. Raises TkError when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes 0600; a report is for colleagues too
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON in one step, spelt as `json_text` does."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """JSON as every file of ours has it: two spaces, key order kept, a final newline, no NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def staged_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `target` that becomes `target` when the block ends well, and vanishes otherwise.

    `target` may exist only as an empty folder, or, with `overwrite`, as a folder that is then replaced; until the block
    has ended well it is left alone. Raises TkError when it holds something or cannot be written.
    """
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not overwrite)):
        raise TkError("already exists and is not empty", where=str(target), hint="name another folder, or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())
        if target.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(aside)  # over an empty folder, in one step
            staging.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> TkError:
    """The one sentence for a place that cannot be written."""
    reason = error.strerror or str(error)
    return TkError(f"cannot write: {reason}", where=str(path), hint="choose a folder that you may write to")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
