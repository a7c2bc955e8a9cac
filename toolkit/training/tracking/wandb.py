"""Weights & Biases: offline files below RUN/tracking/wandb, which `wandb sync` sends when somebody wants that; or online."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.training.tracking import TrackedRun


def open_run(run: TrackedRun) -> Wandb:
    """Begin a run, or go on with the one of the same recipe and folder."""
    return Wandb(run)


class Wandb:
    """Recipe and papers as configuration, the curve as metrics. Neither console output nor code is taken along."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        quiet = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, save_code=False, x_disable_stats=True
        )
        self._run = wandb.init(
            mode="online" if run.settings.get("mode") == "online" else "offline",
            dir=str(run.folder),
            project=run.settings.get("project", "tk"),
            entity=run.settings.get("entity"),
            id=run.identity,
            name=run.name,
            resume="allow",
            config={**run.params, **run.tags},
            tags=[run.tags["tk.method"], run.tags["tk.verdict"]],
            settings=quiet,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
