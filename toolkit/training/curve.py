"""The loss curve of a run: `metrics.jsonl`, one JSON object a line, written as training goes so that a killed run keeps it.

A line of a step has `step`, `epoch`, `loss`, `learning_rate`, `grad_norm`, `tokens` (padding left out), `seconds` and
`memory_bytes` (allocated on the device, else resident). A line of an evaluation in between has `step` and `eval_loss`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.files.atomic import write_text


class Curve:
    """Appends to a curve and reads it back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """One more line."""
        line = json.dumps({"step": step, "epoch": round(epoch, 4), **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def losses(self) -> list[float]:
        """The training loss of every step so far, in order."""
        return [step["loss"] for step in self._steps()]

    def tokens(self) -> int | None:
        """Tokens of all steps so far; None where one of them was not counted."""
        counts = [step.get("tokens") for step in self._steps()]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    def _steps(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = (json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip())
        return [line for line in lines if "loss" in line]


def keep_until(path: Path, step: int) -> None:
    """Drop what a curve says beyond `step`, and a last line cut short: training goes on from there."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            break
    write_text(path, "".join(line + "\n" for line in kept))
