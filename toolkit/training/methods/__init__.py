"""Training methods, one module each over a trainer of TRL; the folder is the list of them.

A module offers the functions of `Method`. What is common to all lies beside this folder: `arguments` (what every
trainer is told), `fit` (running one), `encoding` and `compared` (rows as tokens), `batches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.planning.recipe_values import EvaluateSettings
    from toolkit.training.answers import Question
    from toolkit.training.encoding import Encoded
    from toolkit.training.evaluation import Scores
    from toolkit.training.examples import Example
    from toolkit.training.fit import Trained
    from toolkit.training.metrics import Metric
    from toolkit.training.overlength import Overlength
    from toolkit.training.progress import Progress
    from toolkit.training.settings import Settings


class Rows(Protocol):
    """Rows as a method learns from them: counts of rows, tokens and counted tokens, the longest, notes for the record,
    the rows whose likelihood is what is wanted (`spoken`), and those that are an undivided example (`whole`)."""

    @property
    def rows(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def loss_tokens(self) -> int: ...
    @property
    def longest(self) -> int: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def overlength(self) -> Overlength | None: ...
    @property
    def spoken(self) -> Encoded: ...
    def whole(self) -> Iterator[tuple[int, list[int], list[int]]]: ...


class Method(Protocol):
    """What a module of this folder does: turn examples into rows, judge a model on them, and train an adapter.

    The rows that `encode` gives are those that its other functions take. `CONVERSES` says whether rows are
    conversations, rendered by the chat template.
    """

    CONVERSES: bool

    @staticmethod
    def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Any:
        """`Rows` as the method learns from them. Raises InvalidInput naming each row that it cannot learn from."""

    @staticmethod
    def questions(
        examples: Sequence[Example], held_out: Any, tokenizer: PreTrainedTokenizerBase, asked: EvaluateSettings
    ) -> Sequence[Question]:
        """Held-out prompts to be answered before and after."""

    @staticmethod
    def score(
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        held_out: Any,
        questions: Sequence[Question],
        stops: Sequence[int],
        asked: EvaluateSettings,
        report: Callable[[int, int], None],
        metrics: Sequence[Metric],
    ) -> Scores:
        """How good the model is as it stands, on rows it does not learn from; `metrics` are those of the recipe."""

    @staticmethod
    def train(
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        data: Any,
        settings: Settings,
        run: Path,
        progress: Progress,
        checkpoint: Path | None = None,
        *,
        keep_checkpoints: bool = True,
    ) -> Trained:
        """Train the adapter of `model` in place; checkpoints go to RUN/checkpoints, the curve to RUN/metrics.jsonl.

        `checkpoint` is one of this run's to go on from; without `keep_checkpoints` none is written. Raises Stopped on
        Ctrl-C, TkError when the memory does not suffice or the loss is no longer a number.
        """


def method_of(name: str) -> Method:
    """The module of a method that a recipe may name."""
    return cast("Method", import_module(f"{__name__}.{name}"))
