"""Ctrl-C in the middle of training: finish the step, keep a checkpoint, say how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from toolkit.errors import TkError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(TkError):
    """The run was stopped on request; a checkpoint is kept and no record or adapter was written."""


class StopRequest:
    """While entered, the first Ctrl-C (or SIGTERM) only sets `asked` and calls `tell`, which may do little: it runs in
    the midst of anything. A second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self.tell: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python does not allow handlers
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        self.tell()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
