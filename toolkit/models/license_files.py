"""The licence, notice and policy files beside a model, each told by its text."""

from __future__ import annotations

from toolkit.licensing.library import Library
from toolkit.licensing.lineage import LicenseText
from toolkit.models.snapshot import Snapshot


def license_texts(snapshot: Snapshot, library: Library) -> tuple[LicenseText, ...]:
    """What each file at the top of a model says it is. A licence of code lies beside one of the model without governing
    the weights."""
    return ()
