"""A plan in words: what will run, why, and where the memory goes."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from toolkit.licensing.verdict import Verdict
from toolkit.planning.duration import Prediction
from toolkit.planning.plan import Plan

if TYPE_CHECKING:
    from toolkit.training.probe import Measured

GIB = 2**30
_BAR = 40
_FITS = {"comfortable": ("fits comfortably", "green"), "tight": ("fits, but tightly", "yellow")}


def plan_text(plan: Plan, verdict: Verdict, measured: Measured | None = None) -> str:
    """The plan as a terminal shows it, with what a probe measured. Sizes are GiB (2^30 bytes)."""
    return "\n".join(_lines(plan, verdict, measured))


def _lines(plan: Plan, verdict: Verdict, measured: Measured | None) -> Iterator[str]:
    device = plan.device
    words, colour = _FITS.get(plan.fit, ("does not fit", "red"))
    count = f"{plan.gpus} x " if plan.gpus > 1 else ""
    yield f"{plan.base} on {count}{device.name}: {click.style(words, fg=colour, bold=True)}"
    total = plan.shape.parameters
    share = plan.trainable_parameters / total
    yield f"  {total:,} parameters, {plan.trainable_parameters:,} of them trained beside it ({share:.2%}); licence verdict: {verdict.level}"
    yield ""
    yield "Choices"
    width = max(len(name) for name in plan.choices)
    for name, choice in plan.choices.items():
        value = ", ".join(choice.value) if isinstance(choice.value, list | tuple) else _shown(choice.value)
        yield from wrapped(f"{value}: {choice.why}", f"  {name.replace('_', ' '):{width}}  ")
    yield ""
    memory = plan.memory
    each = " on each GPU" if plan.gpus > 1 else ""
    usable = f"{size(memory.peak_bytes)} of {size(device.usable_bytes)} usable{each}"
    yield f"Memory at its peak ({memory.moment}): {usable}"
    yield f"  {_bar(memory.peak_bytes / max(device.usable_bytes, 1))}"
    for name, part in sorted(memory.parts.items(), key=lambda item: -item[1]):
        if part:
            yield f"  {name.replace('_', ' '):{width}}  {size(part):>11}"
    yield f"  {'sized by':{width}}  {memory.answered_by}"
    if plan.estimate and plan.fit != "does-not-fit":
        yield from _time(plan.estimate, plan.gpus)
    if measured:
        yield from _measured(measured)
    if plan.suggestions:
        yield ""
        yield "What would fit"
        for suggestion in plan.suggestions:
            yield from wrapped(suggestion, "  - ")


def _time(estimate: Prediction, gpus: int) -> Iterator[str]:
    step = f"a step takes {duration(estimate.step_seconds)} ({estimate.tokens_per_second:,.0f} tokens/s)"
    if estimate.seconds is None or estimate.gpu_hours is None:
        whole = f"a million tokens {duration(estimate.hours_per_million_tokens * 3600)}"
    else:
        hours = f", {estimate.gpu_hours:.2g} GPU-hours" if gpus > 1 else ""
        whole = f"{estimate.steps:,} steps {duration(estimate.seconds)}{hours}"
    yield ""
    yield f"Time, an estimate: {step}, {whole}"
    yield from wrapped(f"assumed: {'; '.join(estimate.assumptions)}", "  ")


def _measured(measured: Measured) -> Iterator[str]:
    yield ""
    yield "Two steps of the longest rows, run here"
    peaks = f"{size(measured.peak_bytes)} at the peak, {size(measured.planned_peak_bytes)} planned"
    yield f"  memory  {peaks} ({measured.error_percent:+.1f} %)"
    yield f"  speed   {duration(measured.step_seconds)} a step, {measured.tokens_per_second:,.0f} tokens/s"


def duration(seconds: float) -> str:
    """A length of time as people say it: `0.42 s`, `3.1 min`, `5.6 h`."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


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


def wrapped(text: str, lead: str) -> list[str]:
    """A sentence over as many lines as the terminal needs, each after the width of `lead`."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False)
