"""What the steps of a training so far tell: the loss curve, tokens a second, the time left, memory against the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

from toolkit.training.progress import Event

_RECENT = 20  # steps that speed and time left are taken from
_BARS = "▁▂▃▄▅▆▇█"


class Pace:
    """Takes in the events of one training."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.values: dict[str, float] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # seconds and tokens of a step

    def add(self, event: Event) -> None:
        """A step's figures, or what was known before the first."""
        self.values |= event.values
        if "loss" in event.values:
            self.losses.append(event.values["loss"])
        if "seconds" in event.values:
            if len(self.losses) == 2:
                self._recent.clear()  # the first step warms up and is followed by a checkpoint
            self._recent.append((event.values["seconds"], event.values.get("tokens", 0.0)))

    @property
    def tokens_per_second(self) -> float | None:
        """Over the last steps, padding left out; None where nobody counts tokens."""
        seconds, tokens = (sum(column) for column in zip(*self._recent, strict=True)) if self._recent else (0, 0)
        return tokens / seconds if seconds and tokens else None

    def seconds_left(self, done: int, total: int) -> float | None:
        """Time to the last step at the speed of the last ones; None before there is one."""
        if not self._recent:
            return None
        return (total - done) * sum(seconds for seconds, _ in self._recent) / len(self._recent)

    @property
    def memory_bytes(self) -> float | None:
        """What training holds, without what the process held before the base was loaded."""
        held = self.values.get("memory_bytes")
        return None if held is None else max(0.0, held - self.values.get("baseline_memory_bytes", 0.0))

    @property
    def planned_bytes(self) -> float | None:
        return self.values.get("planned_memory_bytes")


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in `width` characters at most: each the mean of its share of `values`, from lowest to highest."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    edges = [index * len(values) // count for index in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    lowest, span = min(means), max(means) - min(means)
    return "".join(_BARS[round((mean - lowest) / span * (len(_BARS) - 1))] if span else _BARS[0] for mean in means)


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:07:21`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def scores_line(values: Mapping[str, float]) -> str:
    """`loss 5.71, perplexity 301.7, exact match 0.25`."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
