"""What the launcher hands to its workers, and what they hand back: one folder on each machine, private to the user."""

from __future__ import annotations

import json
import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.atomic import write_text
from toolkit.licensing.verdict import Verdict
from toolkit.models.snapshot import Snapshot
from toolkit.planning.plan import Plan
from toolkit.planning.recipe import Recipe
from toolkit.training.data import TrainingData
from toolkit.training.progress import Event
from toolkit.training.stopping import Stopped

ORDER, EVENTS = "order.pickle", "events.jsonl"


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that was found out before anything heavy was imported. The permit travels as paper: `permit` is its
    JSON, and a worker brings it to the gate again."""

    permit: Mapping[str, object]
    recipe: Recipe
    plan: Plan
    snapshot: Snapshot
    verdict: Verdict
    data: TrainingData
    overwrite: bool
    offline: bool

    def write(self, folder: Path) -> None:
        """Leave the order in `folder`, which only this user may read."""
        (folder / ORDER).write_bytes(pickle.dumps(self))


def read_order(folder: Path) -> Order:
    """The order that the launcher left in `folder`: a pickle that the same user wrote a moment ago."""
    order = pickle.loads((folder / ORDER).read_bytes())
    assert isinstance(order, Order)
    return order


def events_to(folder: Path) -> Callable[[Event], None]:
    """Progress that a launcher reads from `folder`."""
    file = (folder / EVENTS).open("a", encoding="utf-8")

    def write(event: Event) -> None:
        line = [event.stage, event.message, event.done, event.total, dict(event.values)]
        file.write(json.dumps(line) + "\n")
        file.flush()

    return write


class Events:
    """The events that the first worker wrote to `folder`, each once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        self._at = 0

    def new(self) -> list[Event]:
        """Those written since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text.rpartition(b"\n")[0]
        self._at += len(whole) + bool(whole)
        return [Event(*json.loads(line)) for line in whole.splitlines()]


def note_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Leave word of what ended a worker."""
    stopped, known = isinstance(error, Stopped), isinstance(error, TkError)
    value = {
        "rank": rank,
        "at": time.time(),
        "kind": "stopped" if stopped else "known" if known else "unknown",
        "text": error.message if isinstance(error, TkError) else f"{type(error).__name__}: {error}",
        "where": getattr(error, "where", None),
        "hint": getattr(error, "hint", None),
        "trace": "".join(traceback.format_exception(error)),
    }
    write_text(folder / f"failure-{rank}.json", json.dumps(value))


def failures(folder: Path) -> list[dict[str, Any]]:
    """What ended workers, those first that say it in words of ours, then the earliest: when one process ends, the
    others fail at whatever they were waiting for."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("failure-*.json")]
    return sorted(found, key=lambda value: (value["kind"] == "unknown", value["at"]))
