"""The evaluation of a run, before training and after it, in one process on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.recipe import Recipe
from toolkit.planning.requirements import gate, requirements_of
from toolkit.training import tracking
from toolkit.training.answers import Question
from toolkit.training.evaluation import Scores, held_out_loss
from toolkit.training.initialisation import base_alone
from toolkit.training.methods import Method
from toolkit.training.metrics import Metric, metrics_of
from toolkit.training.progress import Event, Progress
from toolkit.training.tasks import Task, task_scores, tasks_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Measures:
    """What a recipe has measured: its metrics, with functions loaded, and its tasks."""

    metrics: tuple[Metric, ...]
    tasks: tuple[Task, ...]


def measures_of(recipe: Recipe, *, offline: bool) -> Measures:
    """What is to be measured and tracked, known to be there before anything heavy is loaded.

    Raises InvalidInput or TkError for a package that is not installed, a function that does not load, a task file that
    is none, or a tracker that would use a forbidden network.
    """
    tracking.require_packages(recipe)
    if offline:
        tracking.refuse_network(recipe)
    return Measures(metrics_of(recipe), tasks_of(recipe))


@dataclass(frozen=True, slots=True)
class Judge:
    """Everything an evaluation needs but the moment. `held_out` may be empty where the recipe has tasks only."""

    method: Method
    model: Any
    tokenizer: PreTrainedTokenizerBase
    held_out: Any  # rows of the method
    questions: Sequence[Question]
    stops: Sequence[int]
    recipe: Recipe
    measures: Measures
    progress: Progress

    @property
    def idle(self) -> bool:
        """Whether there is nothing to measure."""
        return not self.held_out.rows and not self.measures.tasks

    def __call__(self, stage: str) -> Scores:
        """The scores of the model as it stands; `stage` is `before` or `after`."""
        counts = f"held-out loss on {self.held_out.rows} rows, {len(self.questions)} answers"
        self.progress(Event(stage, counts))
        scores = Scores(None, ())
        if self.held_out.rows:
            scores = self.method.score(
                self.model,
                self.tokenizer,
                self.held_out,
                self.questions,
                self.stops,
                self.recipe.evaluate,
                lambda done, total: self.progress(Event(stage, "held-out rows and answers", done, total)),
                self.measures.metrics,
            )
        if self.measures.tasks:
            self.progress(
                Event(stage, f"lm-evaluation-harness: {', '.join(task.name for task in self.measures.tasks)}")
            )
            limit = self.recipe.evaluate.task_limit
            found = task_scores(self.model, self.tokenizer, self.measures.tasks, limit)
            scores = Scores(scores.loss, scores.answers, {**scores.others, **found})
        self.progress(Event(stage, "measured", values=scores.to_json()))
        return scores

    def before(self) -> Scores:
        """The scores of the base itself, the adapter switched off, or with the adapter that training starts from.

        Raises InvalidInput where a required score is none of them, since it will not be there after training either.
        """
        with nullcontext() if self.recipe.adapter.start else base_alone(self.model):
            scores = self("before")
        known = scores.to_json()
        absent = [name for name in self.recipe.evaluate.require if name not in known]
        if absent:
            text = f"is no score of this run; it has {', '.join(known)}"
            raise InvalidInput([Problem(f"recipe.evaluate.require.{name}", text, self.recipe.path) for name in absent])
        return scores

    def loss_now(self) -> float:
        """Held-out loss in the midst of training."""
        return held_out_loss(self.model, self.held_out.spoken, self.tokenizer.pad_token_id)

    def record(self, before: Scores, after: Scores) -> dict[str, object]:
        """Both evaluations side by side as the run record keeps them, with the first few answers in full."""
        value: dict[str, object] = {
            "rows": self.held_out.rows,
            "generated": len(self.questions),
            "before": before.to_json(),
            "after": after.to_json(),
            "samples": self._samples(before, after),
        }
        if functions := [metric.source.to_json() for metric in self.measures.metrics if metric.source]:
            value["functions"] = functions
        if self.measures.tasks:
            value["tasks"] = [task.to_json() for task in self.measures.tasks]
            value["task_limit"] = self.recipe.evaluate.task_limit
        if requirements := requirements_of(self.recipe.evaluate.require):
            value["gate"] = gate(requirements, before.to_json(), after.to_json())
        return value

    def _samples(self, before: Scores, after: Scores) -> list[dict[str, str]]:
        """The first ones, not the best ones."""
        answers = list(zip(self.questions, before.answers, after.answers, strict=True))
        return [
            {"prompt": question.prompt, "expected": question.expected, "before": first, "after": second}
            for question, first, second in answers[: self.recipe.evaluate.samples]
        ]
