"""The data of a recipe: read, checked, and split into rows to train on and rows held out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.errors import InvalidInput, Problem
from toolkit.files.digests import sha256_text
from toolkit.planning.recipe import Recipe
from toolkit.training.examples import Example, examples_of
from toolkit.training.rows import Source, read_source


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows on both sides of the split, what was read, and how the held-out rows came about, in words."""

    source: Source
    format: str
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    how: str
    held_out_source: Source | None = None


def load_data(recipe: Recipe, *, offline: bool = False) -> TrainingData:
    """Read and split the data of a recipe. Raises TkError or InvalidInput, naming file and line, before torch is loaded."""
    settings = recipe.data
    source = read_source(settings.train, recipe.data_path(settings.train), offline=offline)
    format_, examples = examples_of(source, settings.format, recipe.method)
    if settings.eval:
        other = read_source(settings.eval, recipe.data_path(settings.eval), offline=offline)
        _, held_out = examples_of(other, settings.format, recipe.method)
        known = {example.split_key for example in held_out}
        train = tuple(example for example in examples if example.split_key not in known)
        if not train:
            raise InvalidInput(
                [
                    Problem(
                        settings.train, f"every prompt also stands in {settings.eval}, so nothing is left to train on"
                    )
                ]
            )
        dropped = len(examples) - len(train)
        how = f"file {settings.eval}" + (
            f"; {dropped} rows with the same prompt left out of training" if dropped else ""
        )
        return TrainingData(source, format_, train, held_out, how, other)
    fraction, seed = recipe.evaluate.fraction, recipe.train.seed
    train, held_out = split(examples, fraction, seed)
    check_enough(recipe, len(train))
    return TrainingData(source, format_, train, held_out, f"fraction {fraction:g}, seed {seed}")


def check_enough(recipe: Recipe, rows: int) -> None:
    """Raise InvalidInput when a method that takes whole batches alone has rows for none."""
    if recipe.method == "grpo" and rows < recipe.train.batch_size:
        text = f"{recipe.train.batch_size} prompts make a step, and {rows} are left to train on"
        raise InvalidInput([Problem("recipe.train.batch_size", text)], hint=f"set train.batch_size: {rows} or less")


def split(examples: Sequence[Example], fraction: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows to train on and rows held out, about `fraction` of them; rows that ask the same thing stay together.

    Which prompts are held out depends on the seed and on their text alone, so neither order nor further rows reshuffle it.
    """
    if fraction <= 0:
        return tuple(examples), ()
    groups: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[example.split_key].append(index)
    wanted = max(1, round(len(examples) * fraction))
    held: set[int] = set()
    for key in sorted(groups, key=lambda key: sha256_text(f"{seed}/{key}")):
        # A prompt with more rows than are still wanted stays in training, else it could take all of a small data set.
        if len(held) + len(groups[key]) <= wanted and len(groups) > 1:
            held.update(groups[key])
    train = tuple(example for index, example in enumerate(examples) if index not in held)
    return train, tuple(example for index, example in enumerate(examples) if index in held)
