"""Rows that are read as they are needed: shuffled in a window, mixed by weight, and gone on with after a stop.

What is held is the window and nothing else, however many rows there are. The order depends on the seed alone, so that a
resumed run passes over the rows it has seen and goes on with the next one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.planning.mixing import epoch_examples
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSource
from toolkit.training.conversations import Wrong
from toolkit.training.data import Part, TrainingData, held_out_indices, read_held_out
from toolkit.training.duplicates import find_duplicates, prompt_key
from toolkit.training.examples import Example, detect, example_of, format_hint, unused_columns
from toolkit.training.rows import OpenSource, Row, open_source, raise_problems

if TYPE_CHECKING:
    from toolkit.training.settings import Settings

HEAD = 10_000  # rows at the beginning of each source that are checked, and from which rows are held out
WINDOW = 10_000  # rows among which the next one is drawn
_ENOUGH = 1000  # bad rows after which a source is read no further


@dataclass(frozen=True, slots=True)
class Reader:
    """One source of a stream, with the format that its rows were found to have."""

    asked: DataSource
    source: OpenSource
    format: str

    def examples(self) -> Iterator[Example]:
        """Every row as an example. Raises InvalidInput at a row that is none, naming its place."""
        for row in self.source.rows():
            try:
                yield example_of(row, self.format, self.asked.columns)
            except Wrong as wrong:
                raise InvalidInput([Problem(row.where, str(wrong))], hint=format_hint(self.format)) from wrong


@dataclass(frozen=True, slots=True)
class Stream:
    """The rows to train on, without end: pass after pass over the sources.

    `excluded` are the prompts of held-out rows, normalised. `examples_per_epoch` is None while nobody has counted.
    """

    readers: tuple[Reader, ...]
    excluded: frozenset[str]
    seed: int
    examples_per_epoch: int | None = None

    def examples(self) -> Iterator[Example]:
        """Examples in the order in which they are trained on. Raises InvalidInput at a row that is none."""
        number = 0
        while True:
            found = False
            for example in _shuffled(self._mixed(), Random(f"{self.seed}/{number}")):
                found = True
                yield example
            if not found:  # a data set of held-out rows alone
                raise InvalidInput([Problem(self.readers[0].asked.name, "has no rows to train on")])
            number += 1

    def steps(self, settings: Settings) -> int:
        """Optimiser steps of the run. Raises TkError when neither `train.max_steps` nor the number of rows says."""
        if self.examples_per_epoch is None:
            if settings.max_steps is None:
                text = "a streamed data set whose length is not known needs train.max_steps"
                raise TkError(text, where=self.readers[0].asked.name)
            return settings.max_steps
        batch = settings.micro_batch_size * settings.accumulation
        steps = math.ceil(math.ceil(self.examples_per_epoch / batch) * settings.epochs)
        return min(steps, settings.max_steps or steps)

    def _mixed(self) -> Iterator[Example]:
        """One pass: until every source has been gone through, the shorter ones over again, each by its share."""
        weights = [reader.asked.weight or 1.0 for reader in self.readers]
        open_readers = [self._kept(reader) for reader in self.readers]
        drawn = [0] * len(weights)
        unfinished = set(range(len(weights)))
        while True:
            # The source that is furthest behind its share; the first of them where several are.
            index = min(range(len(weights)), key=lambda index: ((drawn[index] + 1) / weights[index], index))
            example = next(open_readers[index], None)
            if example is None:
                unfinished.discard(index)
                if not unfinished:
                    return
                open_readers[index] = self._kept(self.readers[index])
                example = next(open_readers[index], None)
                if example is None:
                    raise InvalidInput([Problem(self.readers[index].asked.name, "has no rows to train on")])
            drawn[index] += 1
            yield example

    def _kept(self, reader: Reader) -> Iterator[Example]:
        return (example for example in reader.examples() if prompt_key(example) not in self.excluded)


def open_stream(recipe: Recipe, *, offline: bool = False, every_row: bool = False) -> TrainingData:
    """Open the sources of a recipe and check the first rows of each; all of them, once, when `every_row`, or when the
    length of a run has to be known and the rows lie here.

    Raises TkError or InvalidInput, naming file and line.
    """
    heads: list[tuple[Example, ...]] = []
    readers: list[Reader] = []
    unused: list[tuple[str, ...]] = []
    for asked in recipe.data.sources:
        path = recipe.data_path(asked.path)
        source = open_source(asked.path, path, offline=offline, config=asked.config, split=asked.split, streaming=True)
        format_, rows, examples = _head(asked, source)
        readers.append(Reader(asked, source, format_))
        heads.append(examples)
        unused.append(unused_columns(rows, format_, asked.columns))
    first = tuple(example for examples in heads for example in examples)
    held_out_source = None
    if recipe.data.eval is not None:
        held_out_source, held_out = read_held_out(recipe, offline=offline)
        how = f"file {recipe.data.eval_source.name}; rows with the same prompt left out of training"  # type: ignore[union-attr]
    else:
        fraction, seed = recipe.evaluate.fraction, recipe.train.seed
        held = held_out_indices(first, fraction, seed)
        held_out = tuple(example for index, example in enumerate(first) if index in held)
        how = f"fraction {fraction:g} of the first {len(first)} rows, seed {seed}"
    excluded = frozenset(prompt_key(example) for example in held_out)
    counts: list[int] | None = None
    local = all(source.source.files for source in readers)
    if every_row or (recipe.train.max_steps is None and local):
        counts = [_count(reader, excluded) for reader in readers]
    elif recipe.train.max_steps is None:
        text = "is streamed from the hub, so its length is not known beforehand; it needs train.max_steps"
        raise InvalidInput([Problem(readers[0].asked.name, text)])
    weights = [reader.asked.weight for reader in readers]
    epoch = epoch_examples(counts, weights) if counts else None
    parts = tuple(
        Part(
            reader.asked,
            reader.source,
            reader.format,
            counts[index] if counts else 0,
            epoch[index] if epoch else 0,
            unused[index],
        )
        for index, reader in enumerate(readers)
    )
    stream = Stream(tuple(readers), excluded, recipe.train.seed, sum(epoch) if epoch else None)
    return TrainingData(parts, (), held_out, how, held_out_source, find_duplicates(first), stream)


def _head(asked: DataSource, source: OpenSource) -> tuple[str, tuple[Row, ...], tuple[Example, ...]]:
    rows = tuple(islice(source.rows(), HEAD))
    if not rows:
        raise InvalidInput([Problem(asked.name, "has no rows")])
    format_ = asked.format if asked.format not in (None, "auto") else detect(rows[0], asked.columns)
    problems = []
    examples = []
    for row in rows:
        try:
            examples.append(example_of(row, str(format_), asked.columns))
        except Wrong as wrong:
            problems.append(Problem(row.where, str(wrong)))
    raise_problems(problems, hint=format_hint(str(format_)))
    return str(format_), rows, tuple(examples)


def _count(reader: Reader, excluded: frozenset[str]) -> int:
    """Rows to train on, every one of them checked on the way. Raises InvalidInput with the first bad rows."""
    count = 0
    problems: list[Problem] = []
    for row in reader.source.rows():
        try:
            count += prompt_key(example_of(row, reader.format, reader.asked.columns)) not in excluded
        except Wrong as wrong:
            problems.append(Problem(row.where, str(wrong)))
            if len(problems) == _ENOUGH:
                break
    raise_problems(problems, hint=format_hint(reader.format))
    return count


def _shuffled(examples: Iterator[Example], random: Random, window: int = WINDOW) -> Iterator[Example]:
    """Each example once, drawn at random from a window that is filled up in the order of reading."""
    held = list(islice(examples, window))
    for example in examples:
        index = random.randrange(len(held))
        yield held[index]
        held[index] = example
    random.shuffle(held)
    yield from held
