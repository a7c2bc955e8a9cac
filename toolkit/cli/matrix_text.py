"""What fits where, as a table: a row for each GPU or each base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from toolkit.cli.plan_text import size
from toolkit.planning.gpu import billions
from toolkit.planning.matrix import Entry

_COLOURS = {"comfortable": "green", "tight": "yellow"}


def matrix_text(title: str, entries: Sequence[Entry], *, bases: bool) -> str:
    """The table. Memory is GiB (2^30 bytes) of each GPU; tokens per second are an estimate."""
    head = ("base", "parameters", "licence") if bases else ("GPU", "usable")
    names = (*head, "fits", "adapter", "recompute", "micro x steps", "peak", "tokens/s")
    rows = [_cells(entry, bases=bases) for entry in entries]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return "\n".join([title, "", *_lines(names, rows, widths)])


def _lines(names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for cells in (names, *rows):
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        at = names.index("fits")
        padded[at] = click.style(padded[at], fg=_COLOURS.get(cells[at], "red" if cells is not names else None))
        yield "  ".join(padded).rstrip()


def _cells(entry: Entry, *, bases: bool) -> tuple[str, ...]:
    head = (
        (entry.name, billions(entry.parameters), entry.terms or "") if bases else (entry.name, size(entry.usable_bytes))
    )
    plan = entry.plan
    if plan is None:
        return (*head, "no", entry.problem or "", "", "", "", "")
    value = {name: choice.value for name, choice in plan.choices.items()}
    adapter = str(value["adapter"]) + (f", {value['sharding']} on {plan.gpus}" if plan.gpus > 1 else "")
    speed = f"{plan.estimate.tokens_per_second:,.0f}" if plan.estimate and plan.fit != "does-not-fit" else ""
    return (
        *head,
        "no" if plan.fit == "does-not-fit" else plan.fit,
        adapter,
        "yes" if value["gradient_checkpointing"] else "no",
        f"{value['micro_batch_size']} x {value['gradient_accumulation']}",
        size(plan.memory.peak_bytes),
        speed,
    )
