"""What an export left, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Where it lies, and what `export.json` there says."""

    folder: Path
    paper: dict[str, Any]

    def to_json(self) -> dict[str, object]:
        return {"folder": str(self.folder), **self.paper}
