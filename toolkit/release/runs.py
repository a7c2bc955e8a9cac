"""The runs in a folder: finished ones by their record, others by what they left, broken ones with what is wrong.

Nothing here needs torch, and nothing that is wrong with one run hides another.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import TkError
from toolkit.release.evaluated import scores
from toolkit.release.record import FILE, at, read_json, read_record, text

STATE_FILE = "state.json"
STATE_SCHEMA = "tk/state/1"
_TRACES = (FILE, STATE_FILE, "metrics.jsonl", "checkpoints", "adapter")
_DEEPEST = 3  # folders below the one that is listed


@dataclass(frozen=True, slots=True)
class Run:
    """A run as a list shows it. `state` is finished, failed-gate, running, stopped, failed, killed or damaged."""

    folder: str  # below the folder that was listed
    state: str
    id: str | None = None
    started: str | None = None
    base: str | None = None
    method: str | None = None
    adapter: str | None = None
    verdict: str | None = None
    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None
    gate: bool | None = None
    says: str | None = None

    def to_json(self) -> dict[str, object]:
        names = (
            "folder",
            "state",
            "id",
            "started",
            "base",
            "method",
            "adapter",
            "verdict",
            "before",
            "after",
            "gate",
            "says",
        )
        values = {name: getattr(self, name) for name in names}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def list_runs(folder: Path) -> tuple[Run, ...]:
    """Every run below `folder`, or `folder` itself where it is one, the newest first. Raises TkError without a folder."""
    if not folder.is_dir():
        raise TkError(
            "no such folder", where=str(folder), hint="name the folder that holds the outputs of your recipes"
        )
    found = [_run(path, folder) for path in _folders(folder, _DEEPEST)]
    return tuple(sorted(found, key=lambda run: (run.started or "", run.folder), reverse=True))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / FILE).exists() or (folder / STATE_FILE).exists() or (folder / "checkpoints").is_dir():
        yield folder
        return
    if depth:
        try:
            inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            return
        for path in inner:
            yield from _folders(path, depth - 1)


def _run(path: Path, top: Path) -> Run:
    name = path.relative_to(top).as_posix() if path != top else path.name
    if (path / FILE).exists():
        return _finished(path, name)
    if not (path / STATE_FILE).exists():  # an older tk, or killed before it began
        return Run(name, "killed", started=_changed(path), says="has no record and says nothing of itself")
    try:
        return _unfinished(path, name)
    except TkError as error:
        return Run(name, "damaged", started=_changed(path), says=error.message)


def _finished(path: Path, name: str) -> Run:
    try:
        record = read_record(path)
    except TkError as error:
        return Run(name, "damaged", started=_changed(path), says=" ".join(error.message.split()))
    passed = at(record, "evaluation.gate.passed")
    return Run(
        folder=name,
        state="failed-gate" if passed is False else "finished",
        id=text(record, "id"),
        started=text(record, "started"),
        base=text(record, "base.id"),
        method=text(record, "recipe.resolved.method"),
        adapter=text(record, "adapter.type"),
        verdict=text(record, "verdict.verdict"),
        before=scores(record, "before"),
        after=scores(record, "after"),
        gate=passed if isinstance(passed, bool) else None,
    )


def _unfinished(path: Path, name: str) -> Run:
    facts = read_json(path / STATE_FILE)
    if not isinstance(facts, Mapping) or text(facts, "state") is None:
        raise TkError(f"its {STATE_FILE} says nothing of its state")
    state, says = str(facts["state"]), text(facts, "says")
    if state == "running" and not _alive(facts):
        state, says = "killed", "its process is gone; the same command goes on from the last checkpoint"
    if state == "finished":
        state, says = "damaged", f"finished, and {FILE} is missing"
    return Run(
        folder=name,
        state=state,
        started=text(facts, "started"),
        base=text(facts, "recipe.resolved.base"),
        method=text(facts, "recipe.resolved.method"),
        adapter=text(facts, "adapter"),
        verdict=text(facts, "verdict"),
        says=says,
    )


def _alive(facts: Mapping[str, object]) -> bool:
    """Whether the process that wrote the state is still there; of another machine nobody can tell, so it is believed."""
    number = facts.get("process")
    if facts.get("host") != platform.node() or not isinstance(number, int):
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _changed(path: Path) -> str | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except OSError:
        return None
