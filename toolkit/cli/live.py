"""The live view of a run on a terminal: a bar with time left, and while training the loss curve, speed and memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from toolkit.cli.pace import Pace, clock, sparkline
from toolkit.cli.plan_text import size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from toolkit.training.progress import Event

_REFRESHES = 4  # a second
_LABEL = 8


class LiveView:
    """Three lines at the bottom of the terminal, redrawn by rich in a thread of its own, so that they also move during
    a long step. `close` takes them away and gives the cursor back, whatever happened."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False)
        self._event: Event | None = None
        self._pace = Pace()
        self._stage_began = time.monotonic()
        self._notice = ""
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=_REFRESHES,
            transient=True,
            redirect_stdout=False,
        )
        self._open = False

    def show(self, event: Event, pace: Pace) -> None:
        """Draw this from now on."""
        if self._event is None or self._event.stage != event.stage:
            self._stage_began = time.monotonic()
        self._event, self._pace = event, pace
        if not self._open:
            self._live.start()
            self._open = True

    def notice(self, text: str) -> None:
        """Words below the bar. Only sets them, since it may be called from a signal handler."""
        self._notice = text

    def close(self) -> None:
        """Take the view away; a later `show` brings it back."""
        if self._open:
            self._live.stop()
            self._open = False
        self._event = None
        self._notice = ""

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        event = self._event
        if event is None or event.done is None or not event.total:
            return Text("")
        width = self._console.width
        lines = [self._bar(event, event.done, event.total, width)]
        if event.stage == "train":
            lines += self._training(width)
        if self._notice:
            lines.append(Text(f"{'':{_LABEL}}{self._notice}", style="yellow"))
        for line in lines:
            line.truncate(width - 1)  # a wrapped line would be drawn over itself
        return Group(*lines)

    def _bar(self, event: Event, done: int, total: int, width: int) -> Text:
        from rich.text import Text

        left = self._pace.seconds_left(done, total) if event.stage == "train" else self._rest(done, total)
        passed = clock(time.monotonic() - self._stage_began)
        words = f"  {done}/{total}  {done / total:4.0%}  {passed}" + (f", {clock(left)} left" if left else "")
        room = max(4, min(50, width - _LABEL - len(words) - 1))
        full = room * done // total
        bar = Text(f"{event.stage:{_LABEL}}")
        bar.append("━" * full, style="green")
        bar.append("━" * (room - full), style="bright_black")
        return bar.append(words)

    def _rest(self, done: int, total: int) -> float | None:
        return (time.monotonic() - self._stage_began) / done * (total - done) if done else None

    def _training(self, width: int) -> list[Text]:
        from rich.text import Text

        pace = self._pace
        if not pace.losses:
            return []
        numbers = f"{pace.losses[-1]:.4g}"
        if (held_out := pace.values.get("eval_loss")) is not None:
            numbers += f", held-out {held_out:.4g}"
        curve = Text(f"{'loss':{_LABEL}}").append(sparkline(pace.losses, min(40, max(8, width - 40))), style="cyan")
        curve.append(f"  {numbers}")
        facts = []
        if (speed := pace.tokens_per_second) is not None:
            facts.append(f"{speed:,.0f} tokens/s")
        if (memory := pace.memory_bytes) is not None:
            planned = f" of {size(int(pace.planned_bytes))} planned" if pace.planned_bytes else ""
            facts.append(f"memory {size(int(memory))}{planned}")
        if (rate := pace.values.get("learning_rate")) is not None:
            facts.append(f"learning rate {rate:.3g}")
        return [curve, Text(f"{'':{_LABEL}}" + "  ".join(facts))]
