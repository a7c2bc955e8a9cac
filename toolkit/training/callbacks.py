"""What is written down and passed on at every training step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.atomic import write_text
from toolkit.training.progress import Event, Progress
from toolkit.training.stopping import StopRequest

if TYPE_CHECKING:
    from transformers import TrainerCallback

_KEPT = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm"}


class Curve:
    """The loss curve, one JSON object a line, written as training goes so that a killed run keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, epoch: float, values: dict[str, float]) -> None:
        line = json.dumps({"step": step, "epoch": round(epoch, 4), **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def losses(self) -> list[float]:
        """The loss of every step so far, in order."""
        if not self.path.exists():
            return []
        return [json.loads(line)["loss"] for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip()]


def keep_until(path: Path, step: int) -> None:
    """Drop what a curve says beyond `step`, and a last line cut short: training goes on from there."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            break
    write_text(path, "".join(line + "\n" for line in kept))


def watch(
    curve: Curve, progress: Progress, stop: StopRequest, more: Mapping[str, str] = MappingProxyType({})
) -> TrainerCallback:
    """A callback that writes the curve, reports each step, notices a lost loss, and stops at a step's end when asked to.

    `more` names further figures to keep: the trainer's name of each, and ours.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if stop.asked and state.global_step < state.max_steps:
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # PEFT puts a model card into every checkpoint, with a path of this machine as the base.
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "README.md").unlink(missing_ok=True)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if not logs or "loss" not in logs:
                return
            values = {
                ours: float(logs[theirs]) for theirs, ours in {**_KEPT, **more}.items() if logs.get(theirs) is not None
            }
            if not math.isfinite(values["loss"]):
                raise TkError(
                    f"the loss is no longer a number at step {state.global_step}",
                    hint="lower train.learning_rate, or set train.dtype: float32 (or bfloat16 instead of float16)",
                )
            curve.add(state.global_step, float(state.epoch or 0.0), values)
            progress(Event("train", "training", state.global_step, state.max_steps, values))

    return Watch()
