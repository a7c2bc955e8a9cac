"""A run's predicted length: steps times the predicted step, always with what it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.planning.fitting import Demand, Fitting
from toolkit.planning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Prediction:
    """An estimate. `steps`, `seconds` and `gpu_hours` are of the whole training where the rows could be counted;
    `tokens_per_second` counts what is trained on, padding left out, over all devices."""

    step_seconds: float
    tokens_per_second: float
    assumptions: tuple[str, ...]
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    gpu_hours: float | None = None

    @property
    def hours_per_million_tokens(self) -> float:
        return 1e6 / self.tokens_per_second / 3600

    def to_json(self) -> dict[str, object]:
        """Every known figure under `estimate`; what could not be told is left out."""
        facts: dict[str, object | None] = {
            "step_seconds": self.step_seconds,
            "tokens_per_second": self.tokens_per_second,
            "hours_per_million_tokens": self.hours_per_million_tokens,
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "gpu_hours": self.gpu_hours,
            "assumptions": list(self.assumptions),
        }
        return {name: value for name, value in facts.items() if value is not None}


def predict(recipe: Recipe, demand: Demand, way: Fitting) -> Prediction | None:
    """The prediction for one way to run; None where nothing is known of the device's speed."""
    if way.seconds is None or demand.rates is None:
        return None
    head = "every token counts for the loss; evaluation, loading and saving are left out"
    assumptions = [demand.rates.assumed, head]
    rows, batch = demand.rows, demand.batch_size
    if rows is None:
        assumptions.insert(0, f"rows of {demand.length} tokens, as the data could not be counted here")
        return Prediction(way.seconds, batch * demand.length / way.seconds, tuple(assumptions))
    mean = rows.tokens / rows.count
    assumptions.insert(0, f"{rows.count:,} rows of {mean:.0f} tokens on average, at 4 bytes a token")
    steps = math.ceil(rows.count / batch) * recipe.train.epochs
    steps = max(1, math.ceil(min(steps, recipe.train.max_steps or steps)))
    seconds = steps * way.seconds
    return Prediction(
        way.seconds,
        batch * mean / way.seconds,
        tuple(assumptions),
        steps=steps,
        tokens=round(min(steps * batch * mean, rows.tokens * recipe.train.epochs)),
        seconds=seconds,
        gpu_hours=seconds / 3600 * way.devices,
    )
