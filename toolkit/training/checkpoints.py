"""Going on with a run that was stopped: only from a whole checkpoint, and only with the same recipe, base and data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from toolkit.errors import TkError
from toolkit.files.atomic import write_json

_IDENTITY = "identity.json"
_PARTS = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


def resumable(folder: Path, identity: dict[str, str]) -> Path | None:
    """The newest whole checkpoint in `folder`, or None; notes there whose checkpoints are about to be written.

    `identity` is everything that must be equal, by name. Raises TkError naming what differs when the checkpoints are
    another run's.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    known = folder / _IDENTITY
    if found and known.exists():
        before = json.loads(known.read_text(encoding="utf-8"))
        changed = sorted(name for name in {*before, *identity} if before.get(name) != identity.get(name))
        if changed:
            raise TkError(
                f"the folder holds checkpoints of a run with another {', '.join(changed)}",
                where=str(folder),
                hint="choose another output, or pass --overwrite to begin anew",
            )
        return next((path for path in found if _is_whole(path)), None)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(known, identity)
    return None


def discard(run: Path) -> None:
    """Remove what an earlier run left in a folder, but for its log, and nothing else that lies there."""
    for name in ("run.json", "state.json"):
        (run / name).unlink(missing_ok=True)
    for name in ("adapter", "checkpoints", "licenses", "tracking"):
        shutil.rmtree(run / name, ignore_errors=True)
    (run / "metrics.jsonl").unlink(missing_ok=True)


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last; a checkpoint cut short by a kill lacks it or ends in the middle of it."""
    if not all((checkpoint / part).is_file() for part in _PARTS):
        return False
    try:
        json.loads((checkpoint / _PARTS[-1]).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
