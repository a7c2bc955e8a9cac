"""Jobs for schedulers, one module each; the folder is the list of them. Every one runs `tk finetune` on each node.

A module offers what `Scheduler` says. The recipe, the number of devices and the gate are the same as for a run on the
machine at hand; only how nodes are got and how they find each other differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from toolkit.training.jobs.job import Job


class Scheduler(Protocol):
    """What a module of this folder does."""

    SUFFIX: str
    CLIENT: str  # the program that submits

    @staticmethod
    def write(job: Job) -> str:
        """The job as the file that the scheduler takes. Raises InvalidInput for what it needs and was not given."""

    @staticmethod
    def submit(path: Path) -> Sequence[str]:
        """The command that hands the file in."""


def scheduler_of(name: str) -> Scheduler:
    """The module of a scheduler by its name."""
    return cast("Scheduler", import_module(f"{__name__}.{name}"))


def schedulers() -> tuple[str, ...]:
    """Every scheduler there is a module for."""
    return tuple(
        sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "job"))
    )
