"""`RUN/state.json`: what a run is about and whether it is under way, stopped or failed, for those who list runs.

A record exists only once a run has finished. Until then this file tells what it would have told; a process that is gone
while the file says `running` was killed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.atomic import write_json
from toolkit.release.runs import STATE_FILE, STATE_SCHEMA
from toolkit.training.stopping import Stopped

if TYPE_CHECKING:
    from toolkit.planning.plan import Plan
    from toolkit.planning.recipe import Recipe


@contextmanager
def under_way(run: Path, recipe: Recipe, plan: Plan, verdict: str, started: str) -> Iterator[None]:
    """Note that a run is under way, and how it ended: finished (the record says the rest), stopped or failed."""
    facts: dict[str, Any] = {
        "schema": STATE_SCHEMA,
        "state": "running",
        "started": started,
        "process": os.getpid(),
        "host": platform.node(),
        "recipe": {"path": recipe.path, "sha256": recipe.sha256, "resolved": recipe.to_json()},
        "adapter": str(plan.choices["adapter"].value),
        "verdict": verdict,
    }
    place = run / STATE_FILE
    write_json(place, facts)
    try:
        yield
    except Stopped as error:
        _note(place, {**facts, "state": "stopped", "says": error.message})
        raise
    except KeyboardInterrupt:
        _note(place, {**facts, "state": "stopped", "says": "interrupted"})
        raise
    except Exception as error:
        says = error.message if isinstance(error, TkError) else f"{type(error).__name__}: {error}"
        _note(place, {**facts, "state": "failed", "says": says})
        raise
    write_json(place, {**facts, "state": "finished"})


def _note(place: Path, facts: dict[str, Any]) -> None:
    """Say how a run ended, unless the disk has no room for it either: the reason it ended must not be hidden by that."""
    with suppress(TkError):
        write_json(place, facts)
