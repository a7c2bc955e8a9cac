"""What was assumed, as sentences: one per fact, its values put together, with the clauses that asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from toolkit.licensing.reasoning import Assumption

_SHOWN = 6  # of a longer list the first are named and the rest counted; `--explain` shows each


def sentences(assumptions: Iterable[Assumption]) -> Iterator[str]:
    """One sentence per assumed fact."""
    for (operand, operator, _), group in groupby(sorted(assumptions, key=_key), key=_key):
        entries = list(group)
        values = dict.fromkeys(
            value
            for entry in entries
            for value in (entry.leaf.value if isinstance(entry.leaf.value, list | tuple) else (entry.leaf.value,))
        )
        yield f"{_phrase(operand, operator, tuple(values), entries[0].leaf.month)} ({_clauses(entries)})"


def _key(entry: Assumption) -> tuple[str, str, str]:
    lists = isinstance(entry.leaf.value, list | tuple)
    return entry.leaf.operand, entry.leaf.operator, "" if lists else f"{entry.leaf.value} {entry.leaf.month or ''}"


def _clauses(entries: list[Assumption]) -> str:
    """`llama-3.1 2; llama-3.1-aup 1.1, 1.2`: each licence once, its clauses in order."""
    by_license: dict[str, dict[str, None]] = {}
    for entry in entries:
        by_license.setdefault(entry.license, {})[entry.clause] = None
    return "; ".join(f"{name} {_range(tuple(clauses))}" for name, clauses in by_license.items())


def _range(clauses: tuple[str, ...]) -> str:
    return ", ".join(clauses) if len(clauses) <= _SHOWN else f"{clauses[0]} to {clauses[-1]}"


def _phrase(operand: str, operator: str, values: tuple[object, ...], month: str | None) -> str:
    name = operand.replace("_", " ") + (f" in {month}" if month else "")
    listed = [
        f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value) for value in values
    ]
    shown = ", ".join(listed if len(listed) <= _SHOWN else [*listed[: _SHOWN - 1], f"{len(listed) - _SHOWN + 1} more"])
    said = {
        "gt": f"{name}: not above {shown}",
        "gteq": f"{name}: below {shown}",
        "lt": f"{name}: not below {shown}",
        "lteq": f"{name}: above {shown}",
        "isAnyOf": f"{name}: none of {shown}",
        "eq": f"{name}: not {shown}",
    }
    return said.get(operator, f"{name}: {operator} {shown} taken as harmless")
