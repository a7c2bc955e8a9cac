"""How many rows and tokens a recipe trains on, told from a local JSONL file without a tokenizer: an estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """Rows to train on: how many, their estimated tokens, and those of a sample of them, ascending."""

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
        return max(longest, micro_batch * self.tokens / self.count / 0.9)


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
    read = [sorted(min(length, recipe.train.max_length) for length in _lengths(_lines(path))) for path in paths]
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
    return Rows(sum(epoch), round(tokens), tuple(sorted(sample)))


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.strip()]


def _lengths(lines: Sequence[bytes]) -> Iterator[int]:
    """Estimated tokens of each line, by the share of text and the number of strings in a sample of the lines."""
    sample = lines[:: max(1, len(lines) // _SAMPLED)]
    text = messages = 0
    for line in sample:
        try:
            for value in _texts(json.loads(line)):
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
        for name, inner in value.items():
            if name not in ("role", "from"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
