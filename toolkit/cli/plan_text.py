"""A plan in words: what will run, why, and where the memory goes."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

import click

from toolkit.licensing.verdict import Verdict
from toolkit.planning.plan import Plan

GIB = 2**30
_BAR = 40
_FITS = {"comfortable": ("fits comfortably", "green"), "tight": ("fits, but tightly", "yellow")}


def plan_text(plan: Plan, verdict: Verdict) -> str:
    """The plan as a terminal shows it. Sizes are GiB (2^30 bytes)."""
    return "\n".join(_lines(plan, verdict))


def _lines(plan: Plan, verdict: Verdict) -> Iterator[str]:
    device = plan.device
    words, colour = _FITS.get(plan.fit, ("does not fit", "red"))
    count = f"{device.count} x " if device.count > 1 else ""
    yield f"{plan.base} on {count}{device.name}: {click.style(words, fg=colour, bold=True)}"
    total = plan.shape.parameters
    share = plan.trainable_parameters / total
    yield f"  {total:,} parameters, {plan.trainable_parameters:,} of them trained beside it ({share:.2%}); licence verdict: {verdict.level}"
    yield ""
    yield "Choices"
    width = max(len(name) for name in plan.choices)
    for name, choice in plan.choices.items():
        value = ", ".join(choice.value) if isinstance(choice.value, list | tuple) else _shown(choice.value)
        yield from _wrapped(f"{value}: {choice.why}", f"  {name.replace('_', ' '):{width}}  ")
    yield ""
    memory = plan.memory
    yield f"Memory at its peak ({memory.moment}): {size(memory.peak_bytes)} of {size(device.usable_bytes)} usable"
    yield f"  {_bar(memory.peak_bytes / max(device.usable_bytes, 1))}"
    for name, part in sorted(memory.parts.items(), key=lambda item: -item[1]):
        if part:
            yield f"  {name.replace('_', ' '):{width}}  {size(part):>11}"
    yield f"  {'sized by':{width}}  {memory.answered_by}"
    if plan.suggestions:
        yield ""
        yield "What would fit"
        for suggestion in plan.suggestions:
            yield from _wrapped(suggestion, "  - ")


def size(count: float) -> str:
    """Bytes as people read them: GiB, or MiB below a tenth of one."""
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def _bar(share: float) -> str:
    filled = min(round(share * _BAR), _BAR)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {share:.0%}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrapped(text: str, lead: str) -> list[str]:
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False)
