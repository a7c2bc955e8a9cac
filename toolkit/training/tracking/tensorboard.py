"""TensorBoard: event files below RUN/tracking/tensorboard. `tensorboard --logdir RUN/tracking/tensorboard` shows them."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.training.tracking import TrackedRun


def open_run(run: TrackedRun) -> TensorBoard:
    """Begin, or go on with, the run's event files."""
    return TensorBoard(run)


class TensorBoard:
    """Scalars by step; recipe and tags as text."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.folder))
        for title, pairs in (("recipe", run.params), ("tags", run.tags)):
            table = "\n".join(["| key | value |", "|---|---|", *(f"| {key} | {pairs[key]} |" for key in pairs)])
            self._writer.add_text(title, table)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, finished: bool) -> None:
        self._writer.close()
