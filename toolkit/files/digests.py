"""SHA-256 of files, texts and JSON values: what a record, a permit and a release point to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileDigest:
    """SHA-256 (hex) and size of one file."""

    sha256: str
    bytes: int

    def to_json(self) -> dict[str, object]:
        return {"sha256": self.sha256, "bytes": self.bytes}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as hex, read in blocks so that weights of any size fit."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces), independent of how it was written down."""
    return sha256_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def digest_folder(folder: Path, skip: Container[str] = ()) -> dict[str, FileDigest]:
    """Digest of every file below `folder`, by POSIX path relative to it, in sorted order. `skip` names such paths."""
    digests = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in skip:
            digests[name] = FileDigest(sha256_file(path), path.stat().st_size)
    return digests
