"""MLflow: a run in a database below RUN/tracking/mlflow, or at the `uri` of the recipe.

The client is used rather than the fluent interface, which keeps its state in globals and writes into the current folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from toolkit.training.tracking import TrackedRun

_BATCH = 100  # params a call may have
_LONGEST = 500  # characters of a value that every store takes


def open_run(run: TrackedRun) -> Mlflow:
    """Begin a run, or go on with the unfinished one of the same recipe and folder."""
    return Mlflow(run)


class Mlflow:
    """Recipe and choices as params, the curve as metrics, papers as tags."""

    def __init__(self, run: TrackedRun) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = run.settings.get("uri") or f"sqlite:///{run.folder / 'mlflow.db'}"
        local = "uri" not in run.settings
        self._client = MlflowClient(tracking_uri=uri)
        self._run = self._unfinished(run, local)
        params = [Param(key, value[:_LONGEST]) for key, value in run.params.items()]
        for begin in range(0, len(params), _BATCH):
            self._client.log_batch(self._run, params=params[begin : begin + _BATCH])

    def _unfinished(self, run: TrackedRun, local: bool) -> str:
        """The id of the run to write to."""
        name = run.settings.get("experiment", "tk")
        known = self._client.get_experiment_by_name(name)
        artifacts = (run.folder / "artifacts").as_uri() if local else None
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifacts)
        same = f"tags.`tk.identity` = '{run.identity}' and attributes.status != 'FINISHED'"
        for found in self._client.search_runs([experiment], same, max_results=1):
            self._client.set_terminated(found.info.run_id, "RUNNING")
            return str(found.info.run_id)
        tags = {**run.tags, "tk.identity": run.identity}
        return str(self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name.replace("%", ""), float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
