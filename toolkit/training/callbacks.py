"""What is written down and passed on at every training step."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.curve import Curve
from toolkit.training.environment import memory_now
from toolkit.training.progress import Event, Progress
from toolkit.training.saving import Saving
from toolkit.training.stopping import StopRequest

if TYPE_CHECKING:
    from transformers import TrainerCallback

_KEPT = ("loss", "learning_rate", "grad_norm")


class TokenCount:
    """A collator that counts the tokens of each micro-batch before they are padded.

    Counted here, on rows still in main memory, since asking a GPU would make it wait. A loader may collate ahead of the
    step that it is for, so counts are taken out one a micro-batch, in order.
    """

    def __init__(self, collate: Callable[[Sequence[Mapping[str, Any]]], Any]) -> None:
        self._collate = collate
        self._counts: deque[int] = deque()

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        self._counts.append(sum(_tokens(row) for row in rows))
        return self._collate(rows)

    def take(self) -> int:
        """Tokens of the oldest micro-batch not yet taken; 0 where another process collated it."""
        return self._counts.popleft() if self._counts else 0


def _tokens(row: Mapping[str, Any]) -> int:
    """Tokens of a row of any method: whatever stands under a name that ends in `ids`, a preference's both sides."""
    return sum(len(value) for name, value in row.items() if name.endswith("ids") and hasattr(value, "__len__"))


def watch(
    curve: Curve,
    progress: Progress,
    stop: StopRequest,
    saving: Saving,
    tokens: TokenCount | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> TrainerCallback:
    """A callback that writes the curve, reports each step, notices a lost loss, has checkpoints saved, and stops at a
    step's end when asked to. `more` names further figures to keep: the trainer's name of each, and ours."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        begun = 0.0
        counted = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.begun, self.counted = time.monotonic(), 0

        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.counted += tokens.take() if tokens else 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.counted += tokens.take() if tokens else 0
            if saving.is_due(state.global_step):
                control.should_save = True
            if stop.asked and state.global_step < state.max_steps:
                control.should_save, control.should_training_stop = saving.wanted, True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # PEFT puts a model card into every checkpoint, with a path of this machine as the base.
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "README.md").unlink(missing_ok=True)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not logs or "loss" not in logs:
                return
            kept = {**{name: name for name in _KEPT}, **more}
            values = {ours: float(logs[theirs]) for theirs, ours in kept.items() if logs.get(theirs) is not None}
            if not math.isfinite(values["loss"]):
                raise TkError(
                    f"the loss is no longer a number at step {state.global_step}",
                    hint="lower train.learning_rate, or set train.dtype: float32 (or bfloat16 instead of float16)",
                )
            if self.counted:
                values["tokens"] = self.counted
            # The trainer has just read the loss, so the device has finished the step: the time is the step's own.
            values["seconds"] = round(time.monotonic() - self.begun, 6)
            values["memory_bytes"] = memory_now(args.device.type)
            curve.add(state.global_step, float(state.epoch or 0.0), values)
            progress(Event("train", "training", state.global_step, state.max_steps, values))

    return Watch()
