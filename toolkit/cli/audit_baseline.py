"""Accepting what fails now: `--write-baseline FILE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.audit.baseline import baseline_entry, baseline_head
from toolkit.cli.audit_formats.streams import whole

if TYPE_CHECKING:
    from toolkit.audit.audited import Audited
    from toolkit.licensing.use import IntendedUse


@contextmanager
def accepting(path: Path | None, use: IntendedUse) -> Iterator[Callable[[Audited], None]]:
    """A function that accepts what fails of a model, into a file that is whole or absent; without one it does nothing."""
    if path is None:
        yield lambda _: None
        return
    with whole(path) as stream:
        stream.write(baseline_head(use))
        before = "\n"

        def accept(audited: Audited) -> None:
            nonlocal before
            for item in audited.failing:
                stream.write(before + baseline_entry(audited.result, item))
                before = ",\n"

        yield accept
        stream.write("\n]}\n")
