"""Whether a model will be asked as it was taught: the token that ends an answer, and the template that is saved.

A model that never learnt its end token never stops; one that is served under another template is asked in a form it
never saw. Both fail silently, so both are looked at before training and after.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.digests import sha256_text
from toolkit.training.encoding import IGNORED
from toolkit.training.examples import Example
from toolkit.training.masks import Template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLED = 8  # rows that are rendered by the saved tokenizer and compared


def stop_facts(tokenizer: PreTrainedTokenizerBase, template: Template, base: Path) -> dict[str, object]:
    """The token that ends an answer, whether it is learnt, the tokens at which the base by itself stops, the padding, and
    what to know about them (`notes`).

    Raises TkError when an answer would not end in one token that the loss counts.
    """
    from toolkit.training.encoding import encode

    question: list[dict[str, Any]] = [
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": "answer"},
    ]
    encoded = encode([Example("a trial", tuple(question))], tokenizer, 1 << 20, template=template)
    counted = [label for label in encoded.labels[0] if label != IGNORED]
    end = template.end_of_turn() or tokenizer.eos_token
    end_id = tokenizer.convert_tokens_to_ids(end) if end else None
    written = tokenizer(end, add_special_tokens=False)["input_ids"] if end else []
    if end_id is None or written != [end_id]:
        hint = "the tokenizer does not know it as one token; name a template with `data.template`"
        raise TkError(f"the chat template ends an answer with {end!r}, which is {len(written)} tokens", hint=hint)
    if end_id not in counted:
        hint = "a model trained so never stops; name a template with `data.template`"
        raise TkError(f"the token that ends an answer ({end!r}) would not be learnt", hint=hint)
    own = _own_stops(base)
    notes = []
    if own and end_id not in own:
        words = ", ".join(repr(tokenizer.convert_ids_to_tokens(stop)) for stop in own)
        notes.append(
            f"an answer ends with {end!r}, and the base by itself stops at {words}: the tokenizer saved with the adapter "
            f"names {end!r} as its end, and a server must stop there"
        )
    if tokenizer.pad_token_id == end_id:
        notes.append(
            f"padding is the token that ends an answer ({end!r}); it is learnt all the same, as labels say what counts"
        )
    if "strftime_now" in str(tokenizer.chat_template):
        notes.append(
            "the chat template writes the date of the day into every row; a run on another day trains on another"
        )
    return {"end": end, "id": end_id, "base_stops": own, "pad": tokenizer.pad_token, "notes": notes}


def template_facts(tokenizer: PreTrainedTokenizerBase, *, plain: bool, own: str | None) -> dict[str, object]:
    """Which template was trained under: the base's, the plain one, or that of a file; with its digest."""
    text = tokenizer.chat_template
    text = text if isinstance(text, str) else json.dumps(text, sort_keys=True)
    return {"from": own or ("plain" if plain else "base"), "sha256": sha256_text(text)}


def check_saved(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], rows: Sequence[Sequence[int]]) -> None:
    """Save the tokenizer for a moment and compare what it renders then with the rows that will be trained on.

    Raises TkError naming the row, before anything is trained.
    """
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        if wrong := served_otherwise(Path(place), examples, rows):
            raise TkError(f"the tokenizer that a server loads is not the one trained with: {wrong}")


def served_otherwise(folder: Path, examples: Sequence[Example], rows: Sequence[Sequence[int]]) -> str | None:
    """How a row that the tokenizer in `folder` renders differs from the row trained on; None when none does.

    `rows` are the token ids of `examples`. A template that writes no end, and plain text, had one token added for it.
    """
    from transformers import AutoTokenizer

    if not examples:
        return None
    saved = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    template = Template(saved)
    for example, trained in zip(examples, rows, strict=True):
        if example.messages:
            served = saved(template.render(example.messages, example.tools), add_special_tokens=False)["input_ids"]
        else:
            served = saved(example.text)["input_ids"]
        if served not in (list(trained), list(trained[:-1])):
            place = next(
                (at for at, (one, other) in enumerate(zip(served, trained, strict=False)) if one != other),
                min(len(served), len(trained)),
            )
            return f"{example.where} differs from token {place + 1} on"
    return None


def sampled(
    examples: Sequence[Example], whole: Sequence[tuple[int, list[int], list[int]]], max_length: int
) -> tuple[list[Example], list[list[int]]]:
    """A few examples spread over the data, with their token ids. `whole` are the undivided rows: (index, ids, labels);
    of those a row as long as `max_length` may have been cut off, and is not taken."""
    intact = [(index, ids) for index, ids, _ in whole if len(ids) < max_length]
    chosen = intact[:: max(1, len(intact) // SAMPLED)][:SAMPLED]
    return [examples[index] for index, _ in chosen], [ids for _, ids in chosen]


def _own_stops(base: Path) -> list[int]:
    """The ids at which generation stops by the base's own configuration."""
    for name in ("generation_config.json", "config.json"):
        path = base / name
        if path.is_file():
            stops = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
            if stops is not None:
                return list(stops) if isinstance(stops, list) else [stops]
    return []
