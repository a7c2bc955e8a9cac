"""How many rows and tokens a recipe trains on, told from a local JSONL file without a tokenizer: an estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
    """The training rows of a recipe; None where they are not a local JSONL file of at most 32 MiB.

    Malformed lines are not this function's business (loading the data answers them); they count by their length.
    """
    path = recipe.data_path(recipe.data.train)
    if path is None or path.suffix != ".jsonl" or not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
        return None
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    most = recipe.train.max_length
    if recipe.method == "pretrain":
        return _filled(sum(_lengths(lines)), recipe)
    if recipe.method in ("dpo", "orpo"):
        pairs = sorted(min(length, 2 * most) for length in _lengths(lines))
        rows = _held_in(pairs, recipe)
        return rows and replace(rows, sample=tuple(length // 2 for length in rows.sample))
    if recipe.method == "grpo":
        answer, generations = recipe.grpo.max_completion_length, recipe.grpo.generations
        rows = _held_in(sorted(min(length + answer, most) for length in _lengths(lines, "prompt")), recipe)
        return rows and replace(rows, count=rows.count * generations, tokens=rows.tokens * generations)
    return _held_in(sorted(min(length, most) for length in _lengths(lines)), recipe)


def _held_in(lengths: Sequence[int], recipe: Recipe) -> Rows | None:
    """The rows that are left to train on; None where all are held out."""
    held_out = 0 if recipe.data.eval else math.ceil(len(lengths) * recipe.evaluate.fraction)
    count = len(lengths) - held_out
    if count <= 0:
        return None
    step = max(1, len(lengths) // _SAMPLED)
    return Rows(count, round(sum(lengths) * count / len(lengths)), tuple(lengths[step // 2 :: step]))


def _filled(tokens: int, recipe: Recipe) -> Rows | None:
    """Documents as rows of `max_length`, which best-fit leaves next to nothing free of."""
    kept = round(tokens * (1 - (0 if recipe.data.eval else recipe.evaluate.fraction)))
    return Rows(math.ceil(kept / recipe.train.max_length), kept, (recipe.train.max_length,)) if kept else None


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
