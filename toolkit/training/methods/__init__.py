"""Training methods, one module each over a trainer of TRL; the folder is the list of them.

A module offers the functions of `Method`. What is common to all lies beside this folder: `arguments` (what every
trainer is told), `fit` (running one), `encoding` and `batches` (rows as tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.encoding import Encoded
    from toolkit.training.examples import Example
    from toolkit.training.fit import Trained
    from toolkit.training.progress import Progress
    from toolkit.training.settings import Settings
    from toolkit.training.stream_rows import StreamedRows


class Method(Protocol):
    """What a module of this folder does: turn examples into rows of tokens, and train an adapter on them."""

    @staticmethod
    def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Encoded:
        """Rows as the method's trainer takes them. Raises InvalidInput naming each row that it cannot learn from."""

    @staticmethod
    def train(
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        data: Encoded | StreamedRows,
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
