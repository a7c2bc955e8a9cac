"""How many examples an optimiser step takes where a recipe says its tokens instead."""

from __future__ import annotations

from dataclasses import replace

from toolkit.planning.choices import Choice
from toolkit.planning.recipe import Recipe
from toolkit.planning.rows import Rows


def with_batch_size(recipe: Recipe, rows: Rows | None, length: int, devices: int) -> tuple[Recipe, Choice | None]:
    """`recipe` with the `batch_size` that its `tokens_per_step` comes to on `devices`, and that choice; as it was where
    it says none.

    Examples are drawn whole, so steps differ in tokens and the expectation is kept: padded or packed, a step sees the
    same rows. A device's share is rounded so that micro-batches divide it.
    """
    tokens, micro = recipe.train.tokens_per_step, recipe.train.micro_batch_size
    if tokens is None:
        return recipe, None
    each = rows.tokens / rows.count if rows else float(length)
    share = tokens / each / devices
    unit = micro or (8 if share >= 32 else 4 if share >= 16 else 2 if share >= 8 else 1)
    size = devices * unit * max(1, round(share / unit))
    counted = f"rows of about {each:,.0f} tokens" if rows else f"rows of {length:,} tokens, as they were not counted"
    why = f"tokens_per_step {tokens:,} in {counted}: {size * each:,.0f} expected in a step"
    return replace(recipe, train=replace(recipe.train, batch_size=size)), Choice(size, why)
