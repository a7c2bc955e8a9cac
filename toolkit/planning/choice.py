"""A decision with its reason."""

from __future__ import annotations

from dataclasses import dataclass

ASKED = "as the recipe says"


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision and its reason."""

    value: str | int | float | bool | tuple[str, ...]
    why: str

    def to_json(self) -> dict[str, object]:
        return {"value": list(self.value) if isinstance(self.value, tuple) else self.value, "why": self.why}
