"""Continued pre-training on text: every token counts. Documents end in the end-of-text token, longer ones are split, and
rows are filled with whole pieces, none of which attends to another. TRL's `SFTTrainer` trains on the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.arguments import training_arguments
from toolkit.training.batches import bins, pad_right
from toolkit.training.encoding import IGNORED, Encoded, tokenise_texts
from toolkit.training.fit import Trained, fit
from toolkit.training.methods.sft import score, trainer_class
from toolkit.training.progress import Progress
from toolkit.training.trainers import adapter_kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from toolkit.training.examples import Example
    from toolkit.training.settings import Settings

__all__ = ["encode", "questions", "score", "train"]

CONVERSES = False


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Encoded:
    """Documents as pieces of at most `max_length` tokens, nothing left out: of one document, all about the same length.

    Raises TkError where the tokenizer has no end-of-text token.
    """
    documents = tokenise_texts([example.text for example in examples], tokenizer)
    found = [
        (index, piece) for index, document in enumerate(documents) for piece in split(document, settings.max_length)
    ]
    pieces = [piece for _, piece in found]
    parted = sum(len(document) > settings.max_length for document in documents)
    notes = (f"{parted} documents longer than {settings.max_length} tokens were split",) if parted else ()
    return Encoded(pieces, pieces, notes, origins=tuple(index for index, _ in found))


def questions(*_: Any) -> tuple[()]:
    """Text asks nothing."""
    return ()


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Encoded,
    settings: Settings,
    run: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    *,
    keep_checkpoints: bool = True,
) -> Trained:
    """Train the adapter of `model` in place, as `Method.train` has it."""
    from datasets import Dataset
    from trl import SFTConfig

    filled = bins([len(piece) for piece in data.input_ids], settings.max_length)
    args = SFTConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        max_length=None,  # the rows are of that length
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
        remove_unused_columns=False,
    )
    rows = {
        "input_ids": [[token for index in row for token in data.input_ids[index]] for row in filled],
        # The first token of a piece has no predecessor of its own.
        "labels": [[label for index in row for label in [IGNORED, *data.labels[index][1:]]] for row in filled],
        "lengths": [[len(data.input_ids[index]) for index in row] for row in filled],
    }
    with adapter_kept(model):
        trainer = trainer_class(settings)(
            model=model,
            args=args,
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
            data_collator=FilledCollator(tokenizer.pad_token_id),
        )
    return fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint)


def split(document: Sequence[int], length: int) -> list[list[int]]:
    """A document in as few pieces as `length` allows, no two of which differ by more than a token."""
    count = math.ceil(len(document) / length)
    cuts = [len(document) * index // count for index in range(count + 1)]
    return [list(document[begin:end]) for begin, end in pairwise(cuts)]


class FilledCollator:
    """Rows of pieces, end to end: `input_ids`, `labels` and `position_ids`, all (rows, longest).

    Position ids start over at every piece; without an attention mask transformers then keeps attention inside it.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        positions = []
        for row in rows:
            lengths = (*row.get("lengths", [len(row["input_ids"])]), longest - len(row["input_ids"]))
            positions.append([place for length in lengths for place in range(length)])
        return {
            "input_ids": pad_right([row["input_ids"] for row in rows], self._pad),
            "labels": pad_right([row["labels"] for row in rows], IGNORED),
            "position_ids": torch.tensor(positions),
        }
