"""The columnar engine, which is an extra: imported when a table needs it, with one sentence when it is missing."""

from __future__ import annotations

from typing import Any

from toolkit.errors import TkError


def columnar_engine(purpose: str) -> Any:
    """The polars module. Raises TkError when it is not installed; `purpose` says what needs it."""
    try:
        import polars
    except ImportError as error:
        raise TkError(f"{purpose} needs polars", hint='pip install "tk-toolkit[audit]"') from error
    return polars
