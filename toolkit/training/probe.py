"""Two real optimiser steps of a plan on the device at hand: random rows of the greatest length, the base's own weights."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training import environment
from toolkit.training.progress import Event
from toolkit.training.settings import settings_of

if TYPE_CHECKING:
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.plan import Plan
    from toolkit.planning.recipe import Recipe

_STEPS = 2  # the first makes the optimiser's states and warms up; the second is timed


@dataclass(frozen=True, slots=True)
class Measured:
    """What the device did beside what was planned. Peaks are bytes that the allocator had handed out."""

    peak_bytes: int
    planned_peak_bytes: int
    step_seconds: float
    tokens_per_second: float

    @property
    def error_percent(self) -> float:
        """How far the measured peak stands above (below: negative) the planned one."""
        return 100 * (self.peak_bytes / self.planned_peak_bytes - 1)

    def to_json(self) -> dict[str, object]:
        return {
            "steps": _STEPS,
            "peak_bytes": self.peak_bytes,
            "planned_peak_bytes": self.planned_peak_bytes,
            "error_percent": self.error_percent,
            "step_seconds": self.step_seconds,
            "tokens_per_second": self.tokens_per_second,
        }


def probe(recipe: Recipe, plan: Plan, snapshot: Snapshot) -> Measured:
    """Run two optimiser steps as `plan` says, every row as long as it may be, and measure peak memory and speed.

    Nothing is saved. Raises TkError when the base cannot be loaded or the memory does not suffice.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own lines
    environment.prepare()
    settings = replace(settings_of(recipe, plan.choices, plan.device.kind), max_steps=_STEPS)
    folder = snapshot.local_folder()
    with tempfile.TemporaryDirectory() as place, environment.quiet_libraries(Path(place) / "log.txt"):
        from toolkit.training import base, masks, new_tokens
        from toolkit.training.encoding import Encoded
        from toolkit.training.loading import load_adapted
        from toolkit.training.methods import sft

        tokenizer = base.load_tokenizer(folder, trust_remote_code=settings.trust_remote_code)
        new_tokens.extend(tokenizer, settings.new_tokens, recipe.path)
        masks.ensure_template(tokenizer)
        peak = environment.PeakMemory(settings.device_type)
        environment.seed_everything(settings.seed)
        # How an adapter begins changes no size, and random rows would give EVA nothing to find.
        adapted = load_adapted(folder, tokenizer, replace(settings, init="default"), None).model
        batch_size = settings.micro_batch_size * settings.accumulation
        rows = _random_rows(batch_size * _STEPS, settings.max_length, adapted.config.get_text_config().vocab_size)
        data = Encoded(rows, [list(row) for row in rows])
        ends: list[float] = []

        def note(event: Event) -> None:
            if event.done is not None:
                ends.append(time.monotonic())

        def steps() -> None:
            sft.train(adapted, tokenizer, data, settings, Path(place), note, keep_checkpoints=False)

        steps()
        seconds = ends[-1] - ends[-2]
        # A CPU has no count of what its allocator hands out; the profiler has, and would spoil the time.
        taken = peak.bytes() if settings.device_type == "cuda" else _allocated(adapted, steps)
    return Measured(taken, plan.memory.peak_bytes, seconds, batch_size * settings.max_length / seconds)


def _allocated(model: Any, run: Callable[[], None]) -> int:
    """Peak of the bytes allocated on a CPU while `run` trains: what the model holds, and the allocator's events."""
    from torch.profiler import ProfilerActivity, profile

    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in (*model.parameters(), *model.buffers())
    }
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held, highest = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += int(event.nbytes())
        highest = max(highest, held)
    return int(sum(storages.values())) + highest


def _random_rows(count: int, length: int, vocabulary: int) -> list[list[int]]:
    """Random token ids. Every other row is one token shorter, so that attention gets the mask that real rows ask for."""
    numbers = random.Random(0)
    return [[numbers.randrange(vocabulary) for _ in range(max(2, length - index % 2))] for index in range(count)]
