"""A run's curve and papers in other people's trackers, one module each; a module here is a name that `track:` may hold.

Nothing leaves the machine unless the recipe says so: each tracker writes below RUN/tracking, whatever the environment
says about servers and spaces. A tracker that fails is dropped with a line in the log; training goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.recipe import Recipe
from toolkit.training.progress import Event, Progress

if TYPE_CHECKING:
    from toolkit.licensing.verdict import Verdict
    from toolkit.planning.plan import Plan

_log = logging.getLogger("toolkit.training")
FOLDER = "tracking"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told at the start. `folder` is its own, `params` are flat, `tags` are short words."""

    name: str
    identity: str  # of recipe and run folder: the same when a run is gone on with
    folder: Path
    params: Mapping[str, str]
    tags: Mapping[str, str]
    settings: Mapping[str, str]


class Tracker(Protocol):
    """One open run in a tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of one optimiser step."""

    def close(self, finished: bool) -> None:
        """The run has ended: with its record, or before it."""


def require_packages(recipe: Recipe) -> None:
    """Raise InvalidInput naming every tracker of the recipe whose package is not installed, and the extra that has it."""
    absent = [name for name in recipe.track if find_spec(name) is None]
    if absent:
        raise InvalidInput(
            [Problem(f"recipe.track.{name}", "its package is not installed", recipe.path) for name in absent],
            hint=f"pip install 'tk-toolkit[{','.join(absent)}]', or leave it out of track",
        )


def refuse_network(recipe: Recipe) -> None:
    """Raise InvalidInput for trackers that are told to use the network where it is forbidden."""
    remote = [
        Problem(f"recipe.track.{name}", "sends to a server, and the network is forbidden (--offline)", recipe.path)
        for name, settings in recipe.track.items()
        if settings.get("mode") == "online" or str(settings.get("uri", "")).startswith(("http://", "https://"))
    ]
    if remote:
        raise InvalidInput(remote, hint="leave its mode or uri out; everything then stays in the run folder")


@contextmanager
def tracked(
    recipe: Recipe, plan: Plan, verdict: Verdict, run: Path, run_id: str, progress: Progress
) -> Iterator[Progress]:
    """Gives a `progress` that also feeds the trackers of the recipe. They are closed as finished or not at the end."""
    trackers = {name: _open(name, recipe, plan, verdict, run, run_id) for name in recipe.track}
    step = 0

    def feed(event: Event) -> None:
        nonlocal step
        progress(event)
        figures = _figures(event)
        step = event.done or step if event.stage == "train" else step
        for name, tracker in list(trackers.items()) if figures else ():
            try:
                tracker.log(step, figures)
            except Exception as error:
                _log.warning("%s failed and is left out from here on: %s", name, error)
                progress(Event(event.stage, f"{name} failed and is left out from here on: {error}"))
                del trackers[name]

    finished = False
    try:
        yield feed
        finished = True
    finally:
        for name, tracker in trackers.items():
            try:
                tracker.close(finished)
            except Exception as error:
                _log.warning("%s could not be closed: %s", name, error)


def _figures(event: Event) -> dict[str, float]:
    """`train/loss` of a step, `before/loss` and `after/loss` of an evaluation."""
    measured = event.stage in ("before", "after") or (event.stage == "train" and event.done is not None)
    if not measured:
        return {}
    return {f"{event.stage}/{name}": value for name, value in event.values.items()}


def _open(name: str, recipe: Recipe, plan: Plan, verdict: Verdict, run: Path, run_id: str) -> Tracker:
    folder = run / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in recipe.track[name].items()}
    choices = {f"plan.{key}": str(choice.value) for key, choice in plan.choices.items()}
    told = TrackedRun(
        name=run.name,
        identity=f"{run.name}-{recipe.sha256[:8]}",
        folder=folder.resolve(),
        params={**dict(flat(recipe.to_json())), **choices},
        tags={"tk.run": run_id, **_tags(recipe, verdict)},
        settings=settings,
    )
    module = import_module(f"{__name__}.{name}")
    return cast("Tracker", module.open_run(told))


def flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`train.epochs`: the leaves of nested mappings as text, without those that say nothing."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{prefix}{key}.")
        elif inner not in (None, [], ""):
            yield f"{prefix}{key}", str(inner)


def _tags(recipe: Recipe, verdict: Verdict) -> dict[str, str]:
    return {
        "tk.recipe": recipe.sha256[:12],
        "tk.base": recipe.base,
        "tk.method": recipe.method,
        "tk.verdict": verdict.level,
        "tk.licenses": ", ".join(dict.fromkeys(item.id for item in verdict.effective if item.id)),
        "tk.distribution": str(recipe.use.to_json().get("distribution") or "not stated"),
    }
