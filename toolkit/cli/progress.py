"""What a person sees while a run goes on: one live line on a terminal, plain lines when piped. All of it on stderr."""

from __future__ import annotations

import sys
import time

import click


class Progress:
    """Says what happens and how far the training is. `training.run` calls it; it prints, training does not."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open_line = False
        self._last = 0.0

    def say(self, text: str) -> None:
        """One sentence on a line of its own."""
        self.close()
        click.echo(text, err=True)

    def step(self, done: int, total: int, loss: float | None, tokens_per_second: float | None) -> None:
        """How far the optimiser is. On a terminal the line is redrawn; in a pipe every tenth of the way is a line."""
        now = time.monotonic()
        last_step = done >= total
        if not self._live and done % max(total // 10, 1) and not last_step:
            return
        if self._live and now - self._last < 0.1 and not last_step:
            return
        self._last = now
        words = [f"step {done}/{total}"]
        if loss is not None:
            words.append(f"loss {loss:.4f}")
        if tokens_per_second:
            words.append(f"{tokens_per_second:,.0f} tokens/s")
        text = "  ".join(words)
        if self._live:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
            self._open_line = True
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        """End the live line, if one is open."""
        if self._open_line:
            click.echo("", err=True)
            self._open_line = False
