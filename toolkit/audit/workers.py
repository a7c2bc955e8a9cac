"""Models read from their own files, several at a time, and given back in order: only a few are in flight at once, so that
memory does not grow with their number."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from toolkit.audit.outcome import Noted, Outcome, Result, Words, noted, outcome_of
from toolkit.audit.sources import Found
from toolkit.errors import InvalidInput, TkError
from toolkit.licensing.judge import Manner
from toolkit.licensing.library import library
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import IntendedUse
from toolkit.models.lineage import examine_snapshot
from toolkit.models.resolve import Access, resolve
from toolkit.models.snapshot import Snapshot

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from pathlib import Path

_BATCH = 16  # models to a message between processes
_AHEAD = 4  # batches in flight for each process


class Task(NamedTuple):
    """How each model is judged: what a process needs to start."""

    use: IntendedUse
    manner: Manner
    offline: bool
    registries: tuple[Path, ...]


def results(models: Iterable[Found], task: Task, jobs: int) -> Iterator[Result]:
    """The result of each model, in order, with `jobs` processes (one: this one)."""
    if jobs == 1:
        access = _access(task)
        for found in models:
            yield examine_found(found, task, access)
        return
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(jobs, initializer=_start, initargs=(task,))
    try:
        yield from _in_order(pool, iter(models), jobs * _AHEAD)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, models: Iterator[Found], ahead: int) -> Iterator[Result]:
    running: deque[Future[list[Result]]] = deque()
    while True:
        while len(running) < ahead and (batch := list(islice(models, _BATCH))):
            running.append(pool.submit(_examine_batch, batch))
        if not running:
            return
        yield from running.popleft().result()


def examine_found(found: Found, task: Task, access: Access) -> Result:
    """One model's result. A model whose files cannot be read needs review, and does not end the audit of the others."""
    try:
        if found.folder is None:
            assert found.reference is not None
            snapshot = resolve(found.reference, access)
        else:
            # The hub's cache knows a model by its id; elsewhere a folder's name is no proof of what it holds.
            identity = found.id if found.revision else str(found.folder)
            snapshot = Snapshot(identity, found.revision, "cache" if found.revision else "folder", found.folder)
        examined = examine_snapshot(snapshot, task.use, access, task.manner)
    except TkError as error:
        return _unread(found, error)
    outcome = outcome_of(examined.verdict)
    words = tuple(Words(noted(entry), entry.text, entry.where) for entry in examined.verdict.findings)
    return Result(found.id, snapshot.source, found.where, outcome, _roots(examined.works[0]), snapshot.revision, words)


def _unread(found: Found, error: TkError) -> Result:
    unread = Noted("model-not-readable", "error", None, "needs-review")
    where = error.problems[0].where if isinstance(error, InvalidInput) else error.where
    source = "cache" if found.revision else "folder" if found.folder else "hub"
    outcome = Outcome("needs-review", ((None, "model"),), (unread,), (), ())
    return Result(found.id, source, found.where, outcome, (), found.revision,
                  (Words(unread, f"{error.message}.", where),))  # fmt: skip


def _roots(work: Work) -> tuple[str, ...]:
    """The works at the end of a lineage; none when the work descends from nothing."""
    return tuple(dict.fromkeys(member.id for member in work.lineage() if not member.bases and member is not work))


# What a process of the pool keeps between batches.
_here: dict[str, tuple[Task, Access]] = {}


def _start(task: Task) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it and ends the pool
    _here["task"] = task, _access(task)


def _examine_batch(batch: list[Found]) -> list[Result]:
    task, access = _here["task"]
    return [examine_found(found, task, access) for found in batch]


def _access(task: Task) -> Access:
    return Access(library(), offline=task.offline, registries=task.registries)
