"""How many rows and tokens a recipe trains on, told from a local JSONL file without a tokenizer: an estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.planning.mixing import epoch_examples
from toolkit.planning.recipe import Recipe

_LARGEST_BYTES = 2**25  # reading more than 32 MiB would make a plan slow
_SAMPLED = 500  # rows that are parsed; of the others the length of the line is enough

# English text is about 4 bytes a token in vocabularies of 100,000 words and more; a chat template adds a few tokens
# around each message. Both are assumptions: no tokenizer is loaded for a plan.
_BYTES_PER_TOKEN, _TOKENS_PER_MESSAGE = 4.0, 6


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to train on: how many, their estimated tokens, and those of a sample of them, ascending.

    Rows are what an optimiser step counts; of pairs of answers, `sample` has the length of one of the two, prompt
    included.
    """

    count: int
    tokens: int
    sample: tuple[int, ...]

    def computed_tokens(self, micro_batch: int, *, packed: bool) -> float:
        """Expected tokens that a forward pass computes for `micro_batch` random rows, padding included.

        Padded rows are as long as the longest of them, whose expectation follows from order statistics; packed rows
        fill lines of that length, best-fit, to about nine tenths.
        """
        longest, before = 0.0, 0.0
        for index, length in enumerate(self.sample, 1):
            below = (index / len(self.sample)) ** micro_batch
            longest, before = longest + length * (below - before), below
        if not packed:
            return micro_batch * longest
        return min(max(longest, micro_batch * self.tokens / self.count / 0.9), micro_batch * longest)


def rows_of(recipe: Recipe) -> Rows | None:
    """The training rows of one epoch of a recipe, sources mixed by their weights; None where they are not local JSONL
    files of at most 32 MiB together.

    Malformed lines are not this function's business (loading the data answers them); they count by their length.
    """
    sources = recipe.data.sources
    paths = [path for source in sources if (path := recipe.data_path(source.path)) is not None and path.is_file()]
    if len(paths) < len(sources) or any(path.suffix not in (".jsonl", ".ndjson") for path in paths):
        return None
    if sum(path.stat().st_size for path in paths) > _LARGEST_BYTES:
        return None
    read = [sorted(_rows_in(_lines(path), recipe)) for path in paths]
    if not all(read):
        return None
    held_out = 0.0 if recipe.data.eval else recipe.evaluate.fraction
    counts = [len(lengths) - math.ceil(len(lengths) * held_out) for lengths in read]
    if not all(count > 0 for count in counts):
        return None
    epoch = epoch_examples(counts, [source.weight for source in sources])
    tokens = sum(sum(lengths) * count / len(lengths) for lengths, count in zip(read, epoch, strict=True))
    sample: list[int] = []
    for lengths, count in zip(read, epoch, strict=True):
        wanted = max(1, round(_SAMPLED * count / sum(epoch)))
        step = max(1, len(lengths) // wanted)
        sample += lengths[step // 2 :: step]
    return _as_steps_count(Rows(sum(epoch), round(tokens), tuple(sorted(sample))), recipe)


def _rows_in(lines: Sequence[bytes], recipe: Recipe) -> list[int]:
    """Estimated tokens that each line is trained on: of a pair both answers, of a prompt the answer sampled to it."""
    most = recipe.train.max_length
    if recipe.method == "pretrain":
        return list(_lengths(lines))  # longer documents are divided
    if recipe.method in ("dpo", "orpo"):
        return [min(length, 2 * most) for length in _lengths(lines)]
    if recipe.method == "grpo":
        return [min(length + recipe.grpo.max_completion_length, most) for length in _lengths(lines, "prompt")]
    return [min(length, most) for length in _lengths(lines)]


def _as_steps_count(rows: Rows, recipe: Recipe) -> Rows:
    """Lines of the data as the rows that an optimiser step counts."""
    if (
        recipe.method == "pretrain"
    ):  # documents fill rows of `max_length`, which best-fit leaves next to nothing free of
        return Rows(math.ceil(rows.tokens / recipe.train.max_length), rows.tokens, (recipe.train.max_length,))
    if recipe.method in ("dpo", "orpo"):
        return replace(rows, sample=tuple(length // 2 for length in rows.sample))
    if recipe.method == "grpo":
        generations = recipe.grpo.generations
        return replace(rows, count=rows.count * generations, tokens=rows.tokens * generations)
    return rows


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.strip()]


def _lengths(lines: Sequence[bytes], key: str | None = None) -> Iterator[int]:
    """Estimated tokens of each line (of its value under `key`, where one is named), by the share of text and the number
    of strings in a sample of the lines."""
    sample = lines[:: max(1, len(lines) // _SAMPLED)]
    text = messages = 0
    for line in sample:
        try:
            row = json.loads(line)
            for value in _texts(row.get(key) if key and isinstance(row, dict) else row):
                text, messages = text + len(value.encode()), messages + 1
        except (ValueError, RecursionError):
            text += len(line)
    share = text / max(1, sum(map(len, sample)))
    around = _TOKENS_PER_MESSAGE * messages / max(1, len(sample))
    return (max(1, round(len(line) * share / _BYTES_PER_TOKEN + around)) for line in lines)


def _texts(value: object) -> Iterator[str]:
    """Every string in a row but the names of roles."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        if "chosen" in value and "rejected" in value:  # both answers are read with the prompt before them
            yield from _texts(value.get("prompt"))
        for name, inner in value.items():
            if name not in ("role", "from"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
