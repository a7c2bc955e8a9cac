"""What a person sees while a run goes on: a live view on a terminal, plain lines when piped. All of it on stderr."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from toolkit.cli.live import LiveView
    from toolkit.cli.pace import Pace
    from toolkit.training.progress import Event

_LONGEST_SILENCE_SECONDS = 30
_PLAIN_LINES = 10  # about so many lines for a stage when nobody watches it live
_COUNTED = ("train", "before", "after")


class Progress:
    """Called with each event of a run; it prints, training does not."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._view: LiveView | None = None
        self._pace: Pace | None = None
        self._printed = time.monotonic()

    def say(self, text: str) -> None:
        """One sentence on a line of its own, above the live view where there is one."""
        click.echo(text, err=True)

    def __call__(self, event: Event) -> None:
        if event.stage == "stopping":
            self._stopping(event.message)
        elif event.done is not None and event.total:
            self._step(event, event.done, event.total)
        else:
            self._sentence(event)

    def close(self) -> None:
        """Take the live view away, if there is one."""
        if self._view is not None:
            self._view.close()

    def _sentence(self, event: Event) -> None:
        from toolkit.cli.pace import scores_line

        if event.stage == "train":
            self._known.add(event)
        scores = event.stage in ("before", "after") and event.values
        message = f"{event.stage} training: {scores_line(event.values)}" if scores else event.message
        if event.stage not in _COUNTED or scores:
            self.close()  # a stage is over
        self.say(message[:1].upper() + message[1:])

    def _step(self, event: Event, done: int, total: int) -> None:
        if event.stage == "train":
            self._known.add(event)
        if self._live:
            self._shown.show(event, self._known)
            if done == total:
                self.close()
                if event.stage == "train":
                    self.say(self._plain(event, done, total))
        elif done == total or done % max(total // _PLAIN_LINES, 1) == 0 or self._silent_long():
            self._printed = time.monotonic()
            self.say(self._plain(event, done, total))

    def _stopping(self, text: str) -> None:
        """Called within a signal handler, in the midst of anything: nothing that takes a lock or a buffer."""
        if self._live and self._view is not None:
            self._view.notice(f"{text}; Ctrl-C again stops at once")
        else:
            os.write(2, f"\n{text[:1].upper()}{text[1:]}; Ctrl-C again stops at once.\n".encode())

    def _plain(self, event: Event, done: int, total: int) -> str:
        from toolkit.cli.pace import clock

        words = [f"  {event.stage:6} {done:>{len(str(total))}}/{total}"]
        if event.stage == "train":
            pace = self._known
            names = [name for name in ("loss", "eval_loss", "learning_rate") if name in event.values]
            words += [f"{name.replace('_', ' ')} {event.values[name]:.4g}" for name in names]
            if (speed := pace.tokens_per_second) is not None and "loss" in event.values:
                words.append(f"{speed:,.0f} tokens/s")
            if (left := pace.seconds_left(done, total)) and done < total:
                words.append(f"{clock(left)} left")
        return "  ".join(words)

    def _silent_long(self) -> bool:
        return time.monotonic() - self._printed > _LONGEST_SILENCE_SECONDS

    @property
    def _known(self) -> Pace:
        from toolkit.cli.pace import Pace

        self._pace = self._pace or Pace()
        return self._pace

    @property
    def _shown(self) -> LiveView:
        from toolkit.cli.live import LiveView

        self._view = self._view or LiveView()
        return self._view
