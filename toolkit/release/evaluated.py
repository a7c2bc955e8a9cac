"""What a run's evaluation says: its scores by name, the requirements they had to meet, and how a card shows both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from toolkit.errors import NotFulfilled
from toolkit.release.blocks import Block, Code, Heading, Paragraph, Strong, Table, line
from toolkit.release.record import Record, at, entries_of, mapping, number, text, whole

_LOWER_IS_BETTER = {"loss": True, "perplexity": True, "preference_accuracy": False, "preference_margin": False,
                    "reward": False, "exact_match": False, "contains": False, "f1": False,
                    "json_valid": False, "regex": False}  # fmt: skip


def scores(record: object, when: str) -> dict[str, float]:
    """The scores of an evaluation by name, `before` (the base alone) or `after` training; what is no number is left out."""
    names = mapping(record, f"evaluation.{when}")
    found = {name: number({"it": value}, "it") for name, value in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def score_words(name: str) -> str:
    """A score's name for people: `exact_match` as `Exact match`; a task's as it is."""
    return name if "/" in name else name[:1].upper() + name[1:].replace("_", " ")


def gate_words(requirement: object) -> str:
    """One requirement with its figures: `loss 2.1, required < base (2.0)`."""
    value, limit = number(requirement, "value"), number(requirement, "limit")
    said = f"{text(requirement, 'score')} {'not measured' if value is None else f'{value:.4g}'}"
    required = text(requirement, "requires") or ""
    bound = f" ({limit:.4g})" if limit is not None and "base" in required else ""
    return f"{said}, required {required}{bound}"


def unmet(record: object) -> tuple[str, ...]:
    """Every requirement that the run did not meet, in words."""
    return tuple(
        gate_words(item)
        for item in entries_of(record, "evaluation.gate.requirements")
        if item.get("passed") is not True
    )


def require_gate(record: Record, run_folder: Path) -> None:
    """Raise NotFulfilled for a run whose recipe requires something of the evaluation, unless its record says it passed."""
    asked = mapping(record, "recipe.resolved.evaluate.require")
    if (not asked and at(record, "evaluation.gate") is None) or at(record, "evaluation.gate.passed") is True:
        return
    figures = "; ".join(unmet(record)) or "its record does not say that it passed"
    raise NotFulfilled(
        f"the run does not meet what its recipe requires: {figures}",
        where=str(run_folder / "run.json"),
        hint="train again with other settings, or change evaluate.require in the recipe and train again",
    )


def evaluation_blocks(record: Record) -> tuple[Block, ...]:
    """The card's section. Before is the base without the adapter, measured in the same process on the same rows."""
    before, after = scores(record, "before"), scores(record, "after")
    rows = [
        (line(score_words(name)), line(f"{before[name]:.4g}"), line(f"{after[name]:.4g}"), line(_change(name, before[name], after[name])))
        for name in after
        if name in before
    ]  # fmt: skip
    if not rows:
        return Heading("Evaluation"), Paragraph(line("None was run."))
    blocks: list[Block] = [
        Heading("Evaluation"),
        Paragraph(line(f"{_before(record)} against base with adapter, {_on_what(record)}.")),
        Table(("Metric", _before(record), "With adapter", "Change"), tuple(rows)),
    ]
    blocks += _gate(record)
    keys = ("prompt", "expected", "before", "after")
    samples = entries_of(record, "evaluation.samples")
    if samples:
        cells = tuple(tuple(line(_short(str(sample.get(key) or ""))) for key in keys) for sample in samples)
        blocks.append(Table(("Prompt", "Expected", _before(record), "With adapter"), cells))
    return tuple(blocks)


def _before(record: Record) -> str:
    """What was measured before training: the base, or the base with the adapter that training began with."""
    return "Before" if at(record, "adapter.start") else "Base alone"


def _on_what(record: Record) -> str:
    how = text(record, "data.eval.how")
    counted = f"{whole(record, 'evaluation.rows') or 0} held-out rows" + (f" ({how})" if how else "")
    if generated := whole(record, "evaluation.generated"):
        asked = at(record, "recipe.resolved.evaluate.metric")
        measured = "exact match" if asked in (None, ["exact-match"]) else "answers scored"
        counted += f"; {measured} over {generated} answered prompts"
    return counted


def _gate(record: Record) -> Iterable[Block]:
    requirements = entries_of(record, "evaluation.gate.requirements")
    if not requirements:
        return ()
    passed = at(record, "evaluation.gate.passed") is True
    rows = tuple(
        (
            line(Code(str(item.get("score")))),
            line(Code(str(item.get("requires")))),
            line("not measured" if (value := number(item, "value")) is None else f"{value:.4g}"),
            line("met" if item.get("passed") is True else "not met"),
        )
        for item in requirements
    )
    said = Paragraph(line("What the recipe required of it was ", Strong("met" if passed else "not met"), "."))
    return said, Table(("Score", "Required", "Measured", "Outcome"), rows)


def _change(name: str, before: float, after: float) -> str:
    change = f"{after - before:+.4g}"
    if after == before:
        return f"{change}, unchanged"
    lower = _LOWER_IS_BETTER.get(name)
    return change if lower is None else f"{change}, {'better' if (after < before) == lower else 'worse'}"


def _short(words: str, most: int = 400) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
