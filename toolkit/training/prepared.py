"""The data of a recipe under the base's tokenizer: rows to train on, rows held out, and what was made sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.planning.recipe import Recipe
from toolkit.training import new_tokens, serving
from toolkit.training.base import load_tokenizer
from toolkit.training.data import TrainingData
from toolkit.training.data_report import data_notes
from toolkit.training.distributed.team import current
from toolkit.training.examples import Example
from toolkit.training.masks import Template, ensure_template
from toolkit.training.methods import Method
from toolkit.training.settings import Settings
from toolkit.training.stream_rows import StreamedRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TRIED = 1000  # streamed rows that are tokenised before the base is loaded


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """Tokenised data. `settings` know the length of a streamed run; `template` is what the record says of the template;
    `sampled` are a few whole rows to compare with what a server would make of them."""

    tokenizer: PreTrainedTokenizerBase
    encoded: Any  # rows of the method, or streamed ones
    held_out: Any
    settings: Settings
    template: dict[str, object]
    sampled: tuple[Sequence[Example], Sequence[Sequence[int]]]

    @property
    def at_hand(self) -> Any:
        """Rows that are held in memory: all of them, or the first of a stream."""
        return self.encoded.first if isinstance(self.encoded, StreamedRows) else self.encoded

    def notes(self, data: TrainingData) -> list[str]:
        """What the record should say of the data, in words. Of a stream it is complete once it was trained on."""
        notes = data_notes(data, self.encoded, self.held_out)
        if self.template.get("from") == "plain":
            notes.append("the base has no chat template; the plain one was used")
        stops = self.template.get("stops")
        return [*notes, *(stops["notes"] if isinstance(stops, dict) else [])]


def open_tokenizer(
    recipe: Recipe, folder: Path, *, converses: bool = True
) -> tuple[PreTrainedTokenizerBase, dict[str, object]]:
    """The base's tokenizer with the template that the recipe trains under, and what the record says of it; without one
    where no row is a conversation.

    Raises TkError when there is no such template, or when answers under it would not end in a token that is learnt.
    """
    own = None
    if recipe.data.template is not None:
        own = recipe.data_path(recipe.data.template)
        if own is None or not own.is_file():
            raise TkError("no such chat template", where=recipe.data.template)
    tokenizer = load_tokenizer(folder, trust_remote_code=recipe.trust_remote_code)
    new_tokens.extend(tokenizer, recipe.adapter.new_tokens, recipe.path)
    if not converses:
        return tokenizer, {"from": "none"}
    plain = ensure_template(tokenizer, own)
    facts = serving.template_facts(tokenizer, plain=plain, own=recipe.data.template)
    return tokenizer, {**facts, "stops": serving.stop_facts(tokenizer, Template(tokenizer), folder)}


def prepare_rows(recipe: Recipe, data: TrainingData, method: Method, settings: Settings, folder: Path) -> PreparedRows:
    """Tokenise the data of a recipe for `method` with the tokenizer in `folder`. torch is not needed for it.

    Raises InvalidInput naming each row that cannot be used, TkError when the model would not be asked as it is taught.
    """
    tokenizer, template = open_tokenizer(recipe, folder, converses=method.CONVERSES)
    held_out = method.encode(data.held_out, tokenizer, settings)
    encoded: Any
    if data.stream is None:
        encoded = method.encode(data.train, tokenizer, settings)
    else:
        if current().size > 1:
            raise TkError("rows are streamed to one process only", where=recipe.path, hint="set data.streaming: false")
        first = method.encode(tuple(islice(data.stream.examples(), _TRIED)), tokenizer, settings)
        settings = replace(settings, max_steps=data.stream.steps(settings))
        encoded = StreamedRows(
            data.stream,
            lambda group: method.encode(group, tokenizer, settings),
            steps=settings.max_steps or 0,
            batch=settings.micro_batch_size * settings.accumulation,
            divided=settings.on_overlength == "split",
            first=first,
        )
    sampled = _sampled(data, encoded, held_out, settings.max_length) if method.CONVERSES else ((), ())
    serving.check_saved(tokenizer, *sampled)
    return PreparedRows(tokenizer, encoded, held_out, settings, template, sampled)


def _sampled(
    data: TrainingData, encoded: Any, held_out: Any, max_length: int
) -> tuple[Sequence[Example], Sequence[Sequence[int]]]:
    """A few whole rows: of those to train on where they are at hand, else of those held out."""
    if isinstance(encoded, StreamedRows):
        return serving.sampled(data.held_out, list(held_out.whole()), max_length)
    return serving.sampled(data.train, list(encoded.whole()), max_length)
