"""Rows as the model will see them, token by token: what is rendered, and which tokens the loss counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from toolkit.errors import TkError
from toolkit.planning.recipe import Recipe
from toolkit.training.data import TrainingData
from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.examples import Example
from toolkit.training.methods import Method
from toolkit.training.prepared import open_tokenizer
from toolkit.training.settings import Settings


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its id, its text by itself (bytes of a character that it only begins show as U+FFFD), whether it counts."""

    id: int
    text: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One row that is trained on, or a piece of it, with the place it came from. `runs` are its words in turns, each with
    whether its tokens count."""

    where: str
    tokens: tuple[Token, ...]
    runs: tuple[tuple[str, bool], ...]

    def to_json(self) -> dict[str, object]:
        """The row as ids and labels, with the text of each token."""
        return {
            "where": self.where,
            "input_ids": [token.id for token in self.tokens],
            "labels": [token.id if token.counts else IGNORED for token in self.tokens],
            "tokens": [token.text for token in self.tokens],
            "text": "".join(text for text, _ in self.runs),
        }


def samples_of(
    recipe: Recipe, data: TrainingData, method: Method, settings: Settings, folder: Path, count: int
) -> tuple[list[Sample], dict[str, object]]:
    """Rows spread over the training data as `method` encodes them, and what is known of template and stop tokens.

    Raises InvalidInput for a row that cannot be used, TkError for a method that does not train on single rows.
    """
    tokenizer, template = open_tokenizer(recipe, folder, converses=method.CONVERSES)
    chosen = _chosen(data, count)
    encoded = method.encode(chosen, tokenizer, settings)
    if not isinstance(encoded, Encoded):
        raise TkError(f"method {recipe.method} does not train on rows with labels, so there are none to show")
    samples = []
    for origin, ids, labels in zip(encoded.origins, encoded.input_ids, encoded.labels, strict=True):
        counts = [label != IGNORED for label in labels]
        tokens = tuple(
            Token(identifier, tokenizer.decode([identifier]), counted)
            for identifier, counted in zip(ids, counts, strict=True)
        )
        runs = tuple(
            (tokenizer.decode([token.id for token in run]), counted)
            for counted, run in groupby(tokens, key=lambda token: token.counts)
        )
        samples.append(Sample(chosen[origin].where, tokens, runs))
    return samples, template


def _chosen(data: TrainingData, count: int) -> Sequence[Example]:
    if data.stream is not None:
        return tuple(islice(data.stream.examples(), count))
    step = max(1, len(data.train) // count)
    return data.train[::step][:count]
