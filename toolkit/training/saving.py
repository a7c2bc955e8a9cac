"""When a checkpoint is written, and what a checkpoint that cannot be written comes to.

One is written right after the first step, whatever the recipe says: a full disk or a folder that became read-only shows
then, and not after the first hours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.planning.recipe_watching import period_seconds
from toolkit.training.distributed.team import ALONE, Team
from toolkit.training.settings import Settings

_NEVER = 10**9  # steps; the trainer still saves at the end


class Saving:
    """Asks for checkpoints after the first step and every so many seconds. `wanted` is false where none is kept.

    The processes of a `team` have clocks of their own and save together, so one that finds it due speaks for all.
    """

    def __init__(
        self, every_seconds: float | None, wanted: bool, team: Team = ALONE, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.wanted = wanted
        self._every = every_seconds
        self._team = team
        self._now = now
        self._last = now()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due at the end of `step`."""
        if not self.wanted:
            return False
        if step == 1:
            self._last = self._now()
            return True
        if self._every is not None and self._team.largest(int(self._now() - self._last >= self._every)):
            self._last = self._now()
            return True
        return False


def every_seconds(settings: Settings) -> float | None:
    """Seconds between two checkpoints; None where they are counted in steps."""
    return period_seconds(settings.save_every) if isinstance(settings.save_every, str) else None


def saving_arguments(settings: Settings, wanted: bool) -> dict[str, Any]:
    """The trainer's part: checkpoints by share of the steps, and how many are kept."""
    steps = _NEVER if isinstance(settings.save_every, str) else settings.save_every
    if isinstance(steps, float) and steps >= 1:
        steps = _NEVER  # the trainer would take 1 for every step
    return {"save_strategy": "steps" if wanted else "no", "save_steps": steps, "save_total_limit": settings.save_keep}


def guard(trainer: Any, run: Path) -> None:
    """Turn a checkpoint that cannot be written into one clear error, and remove what was written of it.

    Older checkpoints are removed only once a newer one is whole, so the last whole one stays.
    """
    save = trainer._save_checkpoint

    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            save(*args, **kwargs)
        except Exception as error:  # torch, safetensors and the system each have a class of their own for a full disk
            step = trainer.state.global_step
            if not _is_writing(error):
                raise
            shutil.rmtree(run / "checkpoints" / f"checkpoint-{step}", ignore_errors=True)
            raise _unsaved(run, step, error) from error

    trainer._save_checkpoint = guarded


def _is_writing(error: Exception) -> bool:
    words = ("PytorchStreamWriter", "inline_container", "os error", "write", "No space")
    return isinstance(error, OSError) or any(word in str(error) for word in words)


def _unsaved(run: Path, step: int, error: Exception) -> TkError:
    free = shutil.disk_usage(run).free / 2**30
    last = max((int(path.name.rpartition("-")[2]) for path in (run / "checkpoints").glob("checkpoint-*")), default=0)
    kept = f"; the checkpoint of step {last} is whole" if last else ""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return TkError(
        f"cannot save the checkpoint of step {step}: {reason} ({free:.2f} GiB free){kept}",
        where=str(run / "checkpoints"),
        hint="make room, then run the same command again" + (f" to go on from step {last}" if last else ""),
    )
