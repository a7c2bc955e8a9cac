"""Where the data that travels with the package lies: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

import toolkit

_PACKAGE = Path(toolkit.__file__).parent


def shipped(name: str) -> Path:
    """Folder `licenses`, `recipes` or `examples` as it is shipped.

    The wheel carries the three inside `toolkit/shipped/`; a checkout (and an editable install) has them at its top.
    """
    inside = _PACKAGE / "shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
