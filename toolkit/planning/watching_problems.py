"""Contradictions in what a recipe says about evaluation and tracking, found before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toolkit.errors import Problem
from toolkit.files.schema import did_you_mean
from toolkit.planning.metrics import SCORES, function_place, repeated, score_name

if TYPE_CHECKING:
    from toolkit.files.strict_yaml import Document
    from toolkit.planning.recipe import Recipe

# Scores that a method measures beside the loss. `tasks` of lm-evaluation-harness name theirs only once they have run.
_PREFERENCE = ("preference_accuracy", "preference_margin")
METHOD_SCORES: dict[str, tuple[str, ...]] = {
    "dpo": _PREFERENCE,
    "orpo": _PREFERENCE,
    "kto": _PREFERENCE,
    "grpo": ("reward",),
}


def watching_problems(recipe: Recipe, document: Document) -> Iterator[Problem]:
    """What cannot be measured, or not as asked."""
    asked = recipe.evaluate
    held_out = bool(recipe.data.eval) or asked.fraction > 0
    if asked.every is not None and not held_out:
        text = "there is no held-out row to measure; set evaluate.fraction or data.eval"
        yield Problem("recipe.evaluate.every", text, document.where(("evaluate", "every")))
    if asked.every is not None and recipe.method == "grpo":
        text = "measures held-out loss, and grpo has rewards instead of one; the curve has the mean reward of each step"
        yield Problem("recipe.evaluate.every", text, document.where(("evaluate", "every")))
    if name := repeated(asked.metric):
        text = f"two metrics give the score {name!r}; leave one out, or rename the function"
        yield Problem("recipe.evaluate.metric", text, document.where(("evaluate", "metric")))
    if not asked.generate and asked.metric != ("exact-match",):
        text = "scores answers, and evaluate.generate: 0 asks for none"
        yield Problem("recipe.evaluate.metric", text, document.where(("evaluate", "metric")))
    for metric in asked.metric:
        place = function_place(metric)
        if place is not None and recipe.data_path(place[0]) is None:
            text = f"no such file: {place[0]}"
            yield Problem("recipe.evaluate.metric", text, document.where(("evaluate", "metric")))
    if asked.task_limit and not asked.tasks:
        text = "limits evaluate.tasks, and there are none"
        yield Problem("recipe.evaluate.task_limit", text, document.where(("evaluate", "task_limit")))
    yield from _requirements(recipe, document, held_out)


def _requirements(recipe: Recipe, document: Document, held_out: bool) -> Iterator[Problem]:
    """Scores that this recipe will never have: found now, not after hours of training."""
    asked = recipe.evaluate
    lossy = SCORES if recipe.method != "grpo" else ()
    scores: list[str] = [*lossy, *METHOD_SCORES.get(recipe.method, ())] if held_out else []
    if held_out and asked.generate and recipe.method != "pretrain":
        scores += [score_name(metric) for metric in asked.metric]
    for name in asked.require:
        if name in scores or (asked.tasks and "/" in name):
            continue
        if not scores and not asked.tasks:
            text = "nothing is evaluated; set evaluate.fraction or data.eval"
        else:
            tasks = [f"TASK/METRIC of {', '.join(asked.tasks)}"] if asked.tasks else []
            text = f"is no score of this recipe; it has {', '.join([*scores, *tasks])}{did_you_mean(name, scores)}"
        yield Problem(f"recipe.evaluate.require.{name}", text, document.where(("evaluate", "require", name)))
