"""trackio: a database below RUN/tracking/trackio; `TRACKIO_DIR=RUN/tracking/trackio trackio show` opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from toolkit.training.tracking import TrackedRun

_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_DATASET_ID", "TRACKIO_BUCKET_ID", "TRACKIO_WEBHOOK_URL")


def open_run(run: TrackedRun) -> Trackio:
    """Begin a run, or go on with the one of the same recipe and folder."""
    return Trackio(run)


class Trackio:
    """Recipe and tags as configuration, the curve as metrics."""

    def __init__(self, run: TrackedRun) -> None:
        for name in _REMOTE:  # trackio would send to what they name; a recipe did not say so
            os.environ.pop(name, None)
        os.environ["TRACKIO_DIR"] = str(run.folder)  # read when trackio is imported
        import trackio

        with _unsaid():
            self._run = self._begun(trackio, run)

    def _begun(self, trackio: Any, run: TrackedRun) -> Any:
        return trackio.init(
            project=run.settings.get("project", "tk"),
            name=run.identity,
            config={**run.params, **run.tags},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, finished: bool) -> None:
        import trackio

        with _unsaid():
            trackio.finish()  # not the run's own: trackio would finish it again, aloud, when the process ends


@contextmanager
def _unsaid() -> Iterator[None]:
    """trackio prints that it uploads, which it does not do here."""
    with redirect_stdout(StringIO()):
        yield
