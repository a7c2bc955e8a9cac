"""The data of a recipe: read, checked, split into rows to train on and rows held out, and mixed by weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import InvalidInput, Problem
from toolkit.files.digests import sha256_json, sha256_text
from toolkit.planning.mixing import epoch_examples, repeated
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSource
from toolkit.training.duplicates import Duplicates, find_duplicates, leaked, prompt_key
from toolkit.training.examples import Example, examples_of, unused_columns
from toolkit.training.rows import OpenSource, Source, read_source

if TYPE_CHECKING:
    from toolkit.training.stream import Stream


@dataclass(frozen=True, slots=True)
class Part:
    """One source of the training data: as the recipe names it, what was read, the format its rows have, how many rows
    are trained on, and how many examples of them an epoch has."""

    asked: DataSource
    source: Source | OpenSource
    format: str
    rows: int
    examples: int
    unused: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What others may know it by: its id, or the last part of where it lies here."""
        return self.asked.id or (self.asked.name if self.source.revision else Path(self.asked.path).name)

    def to_json(self) -> dict[str, object]:
        """The part as the run record and the data report have it."""
        asked = self.asked
        said = {"id": asked.id, "license": asked.license, "config": asked.config, "split": asked.split}
        return {
            "path": asked.path,
            **{key: value for key, value in said.items() if value is not None},
            **({"revision": self.source.revision} if self.source.revision else {}),
            "sha256": self.source.sha256,
            "bytes": self.source.bytes,
            "format": self.format,
            "rows": self.rows,
            "examples": self.examples,
            **({"weight": asked.weight} if asked.weight is not None else {}),
            **({"columns": dict(asked.columns)} if asked.columns else {}),
            **({"unused_columns": list(self.unused)} if self.unused else {}),
        }


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows on both sides of the split, what was read, and how the held-out rows came about, in words.

    `train` is one epoch: a row that a weight repeats stands in it more than once. When rows are streamed, `stream` gives
    them and `train` has none.
    """

    parts: tuple[Part, ...]
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    how: str
    held_out_source: Source | None = None
    duplicates: Duplicates | None = None
    stream: Stream | None = None

    @property
    def source(self) -> Source:
        """All sources as one: of one source its own digest, of several the digest of what they are and weigh."""
        if len(self.parts) == 1:
            only = self.parts[0].source
            return Source(only.name, (), only.sha256, only.bytes, only.revision)
        names = [part.asked.name for part in self.parts]
        digest = sha256_json([[part.source.sha256, part.asked.weight] for part in self.parts])
        return Source(" + ".join(names), (), digest, sum(part.source.bytes for part in self.parts))

    @property
    def format(self) -> str:
        """The formats of the sources, each once."""
        return ", ".join(dict.fromkeys(part.format for part in self.parts))

    def notes(self) -> Iterator[str]:
        """What a reader of the record should know of the rows."""
        found = self.duplicates
        if found and found.pairs:
            row, earlier = (place.rpartition("/")[2] for place in found.pairs[0])  # a note goes on the card
            yield (
                f"{found.exact} rows repeat another, {found.near} more but for case and punctuation; the first is {row}, "
                f"which says what {earlier} says"
            )
        for part in self.parts:
            if part.unused:
                yield f"columns of {part.label} that nothing was learnt from: {', '.join(part.unused)}"
            if part.rows and part.examples > part.rows:
                yield f"each row of {part.label} is seen {part.examples / part.rows:.1f} times an epoch, by its weight"


def load_data(recipe: Recipe, *, offline: bool = False) -> TrainingData:
    """Read, split and mix the data of a recipe; with `data.streaming` only its beginning.

    Raises TkError or InvalidInput, naming file and line, before torch is loaded.
    """
    if recipe.data.streaming:
        from toolkit.training.stream import open_stream

        return open_stream(recipe, offline=offline)
    read = []
    problems: list[Problem] = []
    hints: list[str | None] = []
    for asked in recipe.data.sources:
        try:
            read.append((asked, *_read(recipe, asked, offline=offline)))
        except InvalidInput as error:  # every source is looked at, so that all bad rows are told at once
            problems += error.problems
            hints.append(error.hint)
    if problems:
        raise InvalidInput(problems, hint=hints[0])
    examples = [example for _, _, _, found, _ in read for example in found]
    held_out, held_out_source, how, excluded = _hold_out(recipe, examples, offline=offline)
    parts: list[Part] = []
    train: list[list[Example]] = []
    begin = 0
    for asked, source, format_, found, unused in read:
        kept = [example for index, example in enumerate(found, start=begin) if index not in excluded]
        begin += len(found)
        parts.append(Part(asked, source, format_, len(kept), len(kept), unused))
        train.append(kept)
    epoch = epoch_examples([len(rows) for rows in train], [part.asked.weight for part in parts])
    mixed: list[Example] = []
    for part, rows, wanted in zip(parts, train, epoch, strict=True):
        key = f"{recipe.train.seed}/{part.asked.name}"
        mixed += [rows[index] for index in repeated(len(rows), wanted, key)]
    _check_enough(recipe, len(mixed))
    return TrainingData(
        tuple(replace(part, examples=wanted) for part, wanted in zip(parts, epoch, strict=True)),
        tuple(mixed),
        held_out,
        how,
        held_out_source,
        find_duplicates(examples),
    )


def _check_enough(recipe: Recipe, rows: int) -> None:
    """Raise InvalidInput when a method that takes whole batches alone has rows for none."""
    if recipe.method == "grpo" and rows < recipe.train.batch_size:
        text = f"{recipe.train.batch_size} prompts make a step, and {rows} are left to train on"
        raise InvalidInput([Problem("recipe.train.batch_size", text)], hint=f"set train.batch_size: {rows} or less")


def _read(
    recipe: Recipe, asked: DataSource, *, offline: bool
) -> tuple[Source, str, tuple[Example, ...], tuple[str, ...]]:
    path = recipe.data_path(asked.path)
    source = read_source(asked.path, path, offline=offline, config=asked.config, split=asked.split)
    format_, examples = examples_of(source, asked.format or "auto", asked.columns, recipe.method)
    unused = unused_columns(source.rows, format_, asked.columns)
    return replace(source, rows=()), format_, examples, unused


def read_held_out(recipe: Recipe, *, offline: bool) -> tuple[Source, tuple[Example, ...]]:
    """The held-out rows of `data.eval`, which must be there."""
    asked = recipe.data.eval_source
    assert asked is not None
    source, _, held_out, _ = _read(recipe, asked, offline=offline)
    return source, held_out


def _hold_out(
    recipe: Recipe, examples: Sequence[Example], *, offline: bool
) -> tuple[tuple[Example, ...], Source | None, str, set[int]]:
    """Held-out rows, the source of their own if any, how they came about, and which of `examples` are not trained on."""
    asked = recipe.data.eval_source
    if asked is None:
        fraction, seed = recipe.evaluate.fraction, recipe.train.seed
        held = held_out_indices(examples, fraction, seed)
        chosen = tuple(example for index, example in enumerate(examples) if index in held)
        return chosen, None, f"fraction {fraction:g}, seed {seed}", held
    source, held_out = read_held_out(recipe, offline=offline)
    found, exact = leaked(examples, held_out)
    if len(found) == len(examples):
        text = f"every prompt also stands in {asked.name}, so nothing is left to train on"
        raise InvalidInput([Problem(recipe.data.sources[0].path, text)])
    how = f"file {asked.name}"
    if found:
        how += f"; {len(found)} rows with the same prompt left out of training"
        if exact < len(found):
            how += f", {len(found) - exact} of them the same but for case and punctuation"
    return held_out, source, how, found


def split(examples: Sequence[Example], fraction: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows to train on and rows held out, about `fraction` of them."""
    held = held_out_indices(examples, fraction, seed)
    train = tuple(example for index, example in enumerate(examples) if index not in held)
    return train, tuple(example for index, example in enumerate(examples) if index in held)


def held_out_indices(examples: Sequence[Example], fraction: float, seed: int) -> set[int]:
    """Which examples to hold out; rows that ask the same thing, be it in another spelling, stay together.

    Which prompts are held out depends on the seed and on their text alone, so neither order nor further rows reshuffle it.
    """
    if fraction <= 0:
        return set()
    groups: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[prompt_key(example)].append(index)
    # Of the spellings of one prompt the least decides its place.
    spelt = {key: min(examples[index].split_key for index in members) for key, members in groups.items()}
    wanted = max(1, round(len(examples) * fraction))
    held: set[int] = set()
    for key in sorted(groups, key=lambda key: sha256_text(f"{seed}/{spelt[key]}")):
        # A prompt with more rows than are still wanted stays in training, else it could take all of a small data set.
        if len(held) + len(groups[key]) <= wanted and len(groups) > 1:
            held.update(groups[key])
    return held
