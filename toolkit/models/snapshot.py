"""A model at hand: the folder that a reference resolved to, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import TkError
from toolkit.models.card import Card, license_files, read_card, read_config

if TYPE_CHECKING:
    from toolkit.files.digests import FileDigest


@dataclass(frozen=True)
class Snapshot:
    """A resolved model. `folder` is None when only the catalogue knows it; `note` says why the answer comes from there."""

    id: str
    revision: str | None
    source: str  # folder | cache | hub | catalogue | embedded
    folder: Path | None
    note: str | None = None

    @cached_property
    def card(self) -> Card:
        return read_card(self.folder) if self.folder else Card()

    @cached_property
    def config(self) -> Mapping[str, object] | None:
        return read_config(self.folder) if self.folder else None

    @property
    def adapter_config(self) -> Mapping[str, object] | None:
        return read_config(self.folder, "adapter_config.json") if self.folder else None

    @property
    def license_files(self) -> tuple[Path, ...]:
        return license_files(self.folder) if self.folder else ()

    def files(self) -> dict[str, FileDigest]:
        """Digest of every file of the snapshot, by relative path. Reads all weights once."""
        from toolkit.files.digests import digest_folder

        return digest_folder(self.local_folder())

    def local_folder(self) -> Path:
        """The folder. Raises TkError when the model is only known from the catalogue."""
        if self.folder is None:
            reason = f" ({self.note})" if self.note else ""
            raise TkError(
                f"{self.id} is not on this machine{reason}", hint="download it first, or name its folder as base"
            )
        return self.folder
