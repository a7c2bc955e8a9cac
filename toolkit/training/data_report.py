"""What is known of the data before a GPU is touched, as the plan shows it and the run record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolkit.planning.recipe import Recipe
from toolkit.training.data import TrainingData

if TYPE_CHECKING:
    from toolkit.training.methods import Rows
    from toolkit.training.stream_rows import StreamedRows


def data_facts(
    recipe: Recipe,
    data: TrainingData,
    encoded: Rows | StreamedRows | None = None,
    template: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The data of a recipe as the record has it; token counts only with `encoded`, which needs the base's tokenizer.

    `train` is all sources as one: rows are the examples of an epoch. Each source stands under `sources` by itself.
    """
    source = data.source
    rows = len(data.train)
    if data.stream is not None:
        rows = encoded.rows if encoded is not None else data.stream.examples_per_epoch or 0
    facts: dict[str, object] = {
        "train": {
            "path": source.name,
            "sha256": source.sha256,
            "bytes": source.bytes,
            "rows": rows,
            **({"tokens": encoded.tokens} if encoded is not None and encoded.tokens else {}),
            "format": data.format,
        },
        "sources": [part.to_json() for part in data.parts],
        "eval": {"rows": len(data.held_out), "how": data.how},
        "id": recipe.data.id,
        "license": recipe.data.license,
        "train_on": recipe.data.train_on,
        "streaming": data.stream is not None,
    }
    if data.held_out_source is not None:
        facts["eval"]["sha256"] = data.held_out_source.sha256  # type: ignore[index]
    if data.duplicates is not None:
        facts["duplicates"] = data.duplicates.to_json()
    if encoded is not None:
        if encoded.tokens:  # of a stream that has not run, nothing is known
            facts["loss_tokens"] = encoded.loss_tokens
        facts["longest_row_tokens"] = encoded.longest
        facts["overlong_rows"] = encoded.overlength.rows if encoded.overlength else 0
        if encoded.overlength is not None:
            facts["overlength"] = encoded.overlength.to_json()
    if template is not None:
        facts["template"] = dict(template)
    return facts


def data_notes(
    data: TrainingData, encoded: Rows | StreamedRows | None = None, held_out: Rows | None = None
) -> list[str]:
    """What a reader should know of the data, in words, each once."""
    notes = list(data.notes())
    if encoded is not None:
        notes += encoded.notes
        notes += [note for counts in (encoded.overlength,) if counts and (note := counts.note())]
    if held_out is not None:
        notes += held_out.notes
        notes += [f"held out: {note}" for counts in (held_out.overlength,) if counts and (note := counts.note())]
    return list(dict.fromkeys(notes))
