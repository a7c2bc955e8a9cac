"""Held-out loss in the midst of training, so that a run that gets worse is seen before it ends."""

from __future__ import annotations

import math
from collections.abc import Callable

from toolkit.training.curve import Curve
from toolkit.training.progress import Event, Progress

_RISES = 2  # checks in a row above the lowest before anything is said


class Checkup:
    """A `progress` in front of another: measures each time `every` of all steps is done, except at the end, which the
    evaluation after training covers. `measure` gives the held-out loss of the model as it stands."""

    def __init__(self, every: float, measure: Callable[[], float], curve: Curve, progress: Progress) -> None:
        self._every = every
        self._measure = measure
        self._curve = curve
        self._progress = progress
        self._lowest = math.inf
        self._rises = 0

    def __call__(self, event: Event) -> None:
        self._progress(event)
        if event.stage == "train" and event.done and event.total and self._is_due(event.done, event.total):
            self._check(event.done, event.total)

    def _is_due(self, done: int, total: int) -> bool:
        period = max(1, round(self._every * total))
        return done < total and done % period == 0

    def _check(self, done: int, total: int) -> None:
        loss = self._measure()
        self._curve.add(done, 0.0, {"eval_loss": loss})
        self._progress(Event("train", "held-out loss", done, total, {"eval_loss": loss}))
        self._rises = self._rises + 1 if loss > self._lowest else 0
        self._lowest = min(self._lowest, loss)
        if self._rises == _RISES:
            text = (
                f"held-out loss has risen to {loss:.4g} from {self._lowest:.4g}: the adapter learns the rows by heart"
            )
            self._progress(
                Event("train", f"{text}; fewer train.epochs or a lower train.learning_rate may serve better")
            )
