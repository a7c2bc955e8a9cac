"""What a person sees while an audit goes on: a bar on a terminal, and nothing but what PATHs were taken for when piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import click

Thing = TypeVar("Thing")


class AuditProgress(ExitStack):
    """The bar of an audit. `streaming` when models are written to standard output as they come: on a terminal these are
    the progress."""

    def __init__(self, *, streaming: bool) -> None:
        super().__init__()
        self._live = sys.stderr.isatty() and not (streaming and sys.stdout.isatty())
        self._stage_open = False

    def say(self, text: str) -> None:
        """One line of its own."""
        self._end_stage()
        click.echo(text, err=True)

    def stage(self, text: str) -> None:
        """What is being done now, on a line that the next stage takes over; on a terminal only."""
        if self._live:
            click.echo(f"\r\x1b[K  {text} ...", err=True, nl=False)
            self._stage_open = True

    def counted(self, things: Iterator[Thing], again: Callable[[], Iterator[object]]) -> Iterator[Thing]:
        """Things as they are taken, with a bar on a terminal; `again` gives them a second time, to count them."""
        if not self._live:
            return things
        total = sum(1 for _ in again())
        bar = click.progressbar(things, length=total, label="  models", show_pos=True, file=sys.stderr)
        return iter(self.enter_context(bar))

    def close(self) -> None:
        """End the bar and the open line."""
        self._end_stage()
        super().close()

    def _end_stage(self) -> None:
        if self._stage_open:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._stage_open = False
