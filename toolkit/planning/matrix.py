"""What fits where: one recipe on every card of the table, or every known base on one device."""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolkit.errors import InvalidInput
from toolkit.planning.bases import known_bases
from toolkit.planning.gpu import Device, cards
from toolkit.planning.plan import Plan, make_plan
from toolkit.planning.recipe import Recipe
from toolkit.planning.rows import Rows
from toolkit.planning.shape import Shape
from toolkit.planning.suggestions import terms_of

_SHOWN = ("adapter", "sharding", "gradient_checkpointing", "micro_batch_size", "gradient_accumulation", "max_length")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a card or a base with its plan, or why it can have none. `terms` is the licence of a base."""

    name: str
    parameters: int
    usable_bytes: int
    plan: Plan | None
    problem: str | None = None
    terms: str | None = None

    @property
    def fit(self) -> str:
        """The plan's verdict; `impossible` where the recipe asks for what the device cannot do."""
        return self.plan.fit if self.plan else "impossible"

    def to_json(self) -> dict[str, object]:
        """The row; what is not known is left out."""
        facts: dict[str, object | None] = {
            "name": self.name,
            "parameters": self.parameters,
            "license": self.terms,
            "usable_bytes": self.usable_bytes,
            "fit": self.fit,
            "problem": self.problem,
        }
        if plan := self.plan:
            facts |= {name: plan.choices[name].value for name in _SHOWN}
            facts["gpus"], facts["peak_bytes"] = plan.gpus, plan.memory.peak_bytes
            facts["tokens_per_second"] = plan.estimate.tokens_per_second if plan.estimate else None
        return {name: value for name, value in facts.items() if value is not None}


def over_gpus(recipe: Recipe, shape: Shape, *, gpus: int | None = None, rows: Rows | None = None) -> tuple[Entry, ...]:
    """The recipe on every card of the table (`gpus` of each), smallest usable memory first."""
    listed = sorted(cards(), key=lambda card: (card.usable_gib, card.name))
    return tuple(
        _entry(card.name, recipe, shape, replace(card.device("gpus.csv"), count=gpus or 1), gpus, rows)
        for card in listed
    )


def over_bases(
    recipe: Recipe, device: Device, *, gpus: int | None = None, rows: Rows | None = None
) -> tuple[Entry, ...]:
    """The recipe with every known base in the place of its own, smallest first, each with its licence."""
    entries = []
    for base in sorted(known_bases(), key=lambda base: (base.parameters, base.ids)):
        other = replace(recipe, base=base.ids[0])
        entry = _entry(base.ids[0], other, base.shape, device, gpus, rows)
        entries.append(replace(entry, terms=terms_of(base.ids[0])))
    return tuple(entries)


def _entry(name: str, recipe: Recipe, shape: Shape, device: Device, gpus: int | None, rows: Rows | None) -> Entry:
    plan, problem = None, None
    try:
        plan = make_plan(recipe, shape, device, gpus=gpus, rows=rows, suggest=False)
    except InvalidInput as error:
        problem = "; ".join(problem.message for problem in error.problems)
    return Entry(name, shape.parameters, device.usable_bytes, plan, problem)
