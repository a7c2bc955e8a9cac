"""Runs as tables for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolkit.release.comparison import Comparison, Difference
from toolkit.release.runs import Run

_VERDICTS = {"allowed-with-obligations": "obligations", "needs-review": "review", "needs-separate-license": "separate"}
_STATES = {"failed-gate": "gate failed"}

# Head, cell, and whether the column gives way first on a narrow terminal.
_COLUMNS: tuple[tuple[str, Callable[[Run], str], bool], ...] = (
    ("run", lambda run: run.folder, False),
    ("state", lambda run: _STATES.get(run.state, run.state), False),
    ("when", lambda run: (run.started or "")[:16].replace("T", " "), True),
    ("base", lambda run: (run.base or "").rstrip("/").rpartition("/")[2], False),
    ("method", lambda run: " ".join(filter(None, (run.method, run.adapter))), True),
    ("verdict", lambda run: _VERDICTS.get(run.verdict or "", run.verdict or ""), True),
    ("held-out loss", lambda run: _both(run, "loss", "{:.4g}"), False),
    ("exact", lambda run: _both(run, "exact_match", "{:.0%}"), False),
    ("gate", lambda run: {True: "met", False: "not met"}.get(run.gate, "") if run.gate is not None else "", False),
)


def runs_text(runs: Sequence[Run], folder: Path) -> str:
    """The table, then a line for every run that says something of itself."""
    if not runs:
        return f"No runs below {folder}."
    columns = [(head, [cell(run) for run in runs], gives_way) for head, cell, gives_way in _COLUMNS]
    columns = [column for column in columns if any(column[1])]
    room = shutil.get_terminal_size((120, 24)).columns
    for yielding in [column for column in columns if column[2]]:
        if _width(columns) <= room:
            break
        columns.remove(yielding)
    widths = [max(len(head), *map(len, cells)) for head, cells, _ in columns]
    lines = [_line([head for head, _, _ in columns], widths)]
    lines += [_line([cells[row] for _, cells, _ in columns], widths) for row in range(len(runs))]
    said = [f"  {run.folder}: {run.says}" for run in runs if run.says]
    return "\n".join([*lines, *(["", *said] if said else [])])


def comparison_text(found: Comparison, first: Path, second: Path) -> str:
    """Differences of recipe, plan and papers, then the figures, both runs beside each other."""
    parts = (
        ("told differently", found.recipe),
        ("planned differently", found.plan),
        ("on something else", found.papers),
        ("figures", found.figures),
    )
    rows = [(title, [_row(item) for item in items]) for title, items in parts]
    cells = [row for _, items in rows for row in items] + [("", first.name, second.name)]
    widths = [max(len(row[place]) for row in cells) for place in range(3)]
    lines = [_line(("", first.name, second.name), [widths[0] + 2, *widths[1:]])]
    for title, items in rows:
        lines += [title, *(_line((f"  {row[0]}", *row[1:]), [widths[0] + 2, *widths[1:]]) for row in items)]
        if not items:
            lines.append("  nothing")
    return "\n".join(lines)


def _row(item: Difference) -> tuple[str, str, str]:
    if item.name.endswith("bytes"):
        name = item.name.removesuffix(" bytes")
        return name, _gib(item.first), _gib(item.second)
    return item.name, _value(item.first), _value(item.second)


def _gib(value: object) -> str:
    return f"{value / 2**30:.2f} GiB" if isinstance(value, int | float) else "-"


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    if isinstance(value, int | float):
        return f"{int(value):,}" if abs(value) >= 10_000 else f"{int(value)}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 32 else f"{text[:31]}…"


def _both(run: Run, name: str, form: str) -> str:
    before, after = (_score(scores, name, form) for scores in (run.before, run.after))
    return f"{before} → {after}" if before or after else ""


def _score(scores: Mapping[str, float] | None, name: str, form: str) -> str:
    value = (scores or {}).get(name)
    return "" if value is None else form.format(value)


def _width(columns: Sequence[tuple[str, list[str], bool]]) -> int:
    return sum(max(len(head), *map(len, cells)) + 2 for head, cells, _ in columns) - 2


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
