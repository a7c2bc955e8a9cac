"""A licence text from bytes: which encodings are read, and what is no text."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import TkError

LARGEST_BYTES = 4 * 1024 * 1024  # far above any licence file; reading time grows with it


def text_of(content: bytes, where: str) -> str:
    """Decode a file's bytes: UTF-8 with or without BOM, UTF-16 with BOM, else Windows-1252. Raises TkError for what is
    empty, binary or above LARGEST_BYTES."""
    if len(content) > LARGEST_BYTES:
        size = LARGEST_BYTES // 1024**2
        raise TkError(f"larger than {size} MiB, which no licence is", where=where, hint="name the licence file alone")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise TkError("begins as UTF-16 and is not", where=where, hint="save it as UTF-8") from error
    else:
        if b"\x00" in content:
            raise TkError("is not a text file", where=where, hint="name the licence file, such as LICENSE")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
        odd = sum(content.count(bytes([code])) for code in (*range(1, 9), *range(14, 27), 28, 29, 31, 127))
        if odd > max(4, len(content) // 100):
            raise TkError("is not a text file", where=where, hint="name the licence file, such as LICENSE")
    if not text.strip():
        raise TkError("is empty", where=where, hint="name the licence file, such as LICENSE")
    return text


def read_source(source: Path | bytes, where: str) -> str:
    """The text of a file, or of bytes that were read already. Raises TkError for what cannot be read or is no text."""
    if isinstance(source, bytes):
        return text_of(source, where)
    try:
        if source.is_dir():
            raise TkError("is a folder", where=where, hint="name the licence file in it, such as LICENSE")
        with source.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise TkError("no such file", where=where, hint="name a licence file, or - for stdin") from error
    except OSError as error:
        raise TkError(f"cannot be read: {error.strerror or error}", where=where) from error
    return text_of(content, where)
