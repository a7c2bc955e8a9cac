"""What a person sees while a run goes on: one live line on a terminal, plain lines when piped. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from toolkit.training.progress import Event

_REDRAW_SECONDS = 0.1
_LONGEST_SILENCE_SECONDS = 30
_PLAIN_LINES = 10  # about so many lines for a stage when nobody watches it live


class Progress:
    """Called with each event of a run; it prints, training does not."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open_line = False
        self._drawn = time.monotonic()

    def say(self, text: str) -> None:
        """One sentence on a line of its own."""
        self.close()
        click.echo(text, err=True)

    def __call__(self, event: Event) -> None:
        if event.done is None or not event.total:
            self.say(event.message[:1].upper() + event.message[1:])
        elif self._live:
            self._draw(event, event.done, event.total)
        elif event.done == event.total or event.done % max(event.total // _PLAIN_LINES, 1) == 0 or self._silent_long():
            self._drawn = time.monotonic()
            click.echo(_words(event, event.done, event.total), err=True)

    def close(self) -> None:
        """End the live line, if one is open."""
        if self._open_line:
            click.echo("", err=True)
            self._open_line = False

    def _silent_long(self) -> bool:
        return time.monotonic() - self._drawn > _LONGEST_SILENCE_SECONDS

    def _draw(self, event: Event, done: int, total: int) -> None:
        now = time.monotonic()
        if 1 < done < total and now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        click.echo(f"\r\x1b[K{_words(event, done, total)}", err=True, nl=False)
        self._open_line = True


def _words(event: Event, done: int, total: int) -> str:
    share = f"  {event.stage:6} {done:>{len(str(total))}}/{total}"
    return "  ".join([share, *(_value(name, event.values) for name in event.values)])


def _value(name: str, values: Mapping[str, float]) -> str:
    return f"{name.replace('_', ' ')} {values[name]:.4g}"
