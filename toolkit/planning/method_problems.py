"""What does not go together in a recipe because of its method, found before anything is read but the recipe."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from toolkit.errors import Problem
from toolkit.files.schema import did_you_mean
from toolkit.files.strict_yaml import Document
from toolkit.planning.method_settings import BUILT_IN_REWARDS, FORMATS_OF, LOSSES_OF, SECTION_OF

if TYPE_CHECKING:
    from toolkit.planning.recipe import Recipe


def method_problems(recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Every contradiction between the method of a recipe and its other settings, with the line of each."""
    method = recipe.method
    given = cast("Mapping[str, object]", document.value)
    for section in sorted(set(SECTION_OF.values())):
        if section in given and SECTION_OF.get(method) != section:
            users = ", ".join(name for name, own in SECTION_OF.items() if own == section)
            text = f"is for {users}; the method is {method}"
            yield Problem(f"recipe.{section}", text, document.where((section,)))
    known = FORMATS_OF[method]
    if recipe.data.format not in ("auto", *known):
        text = f"{method} cannot learn from {recipe.data.format}; it takes {', '.join(known)}"
        yield Problem("recipe.data.format", text, document.where(("data", "format")))
    if recipe.train.packing and method not in ("sft", "pretrain"):
        text = f"{method} compares answers side by side and has no packing"
        yield Problem("recipe.train.packing", text, document.where(("train", "packing")))
    if recipe.train.packing is False and method == "pretrain":
        text = "documents always fill rows of max_length; leave packing out"
        yield Problem("recipe.train.packing", text, document.where(("train", "packing")))
    yield from _data_problems(recipe, document)
    if SECTION_OF.get(method) == "preference":
        yield from _preference_problems(recipe, document)
    if method == "grpo":
        yield from _grpo_problems(recipe, document)


def _data_problems(recipe: Recipe, document: Document) -> Iterator[Problem]:
    method, data = recipe.method, recipe.data
    if method == "sft":
        return
    if data.streaming:
        yield Problem(
            "recipe.data.streaming",
            f"is for sft; {method} needs its rows at hand",
            document.where(("data", "streaming")),
        )
    if data.train_on != "assistant":
        counted = "every token" if method == "pretrain" else "the answers that are compared"
        text = f"is for sft; with {method} {counted} count"
        yield Problem("recipe.data.train_on", text, document.where(("data", "train_on")))
    if data.on_overlength == "truncate" or (data.on_overlength == "split" and method != "pretrain"):
        text = f"{method} compares whole answers; shorten them, or raise train.max_length"
        if method == "pretrain":
            text = "pretrain divides long documents and leaves nothing out; leave this key out"
        yield Problem("recipe.data.on_overlength", text, document.where(("data", "on_overlength")))


def _preference_problems(recipe: Recipe, document: Document) -> Iterator[Problem]:
    settings, losses = recipe.preference, LOSSES_OF[recipe.method]
    if settings.loss is not None and settings.loss not in losses:
        has = f"has {', '.join(losses)}" if losses else "has no other loss than its own"
        text = f"{settings.loss!r} is no loss of {recipe.method}, which {has}"
        yield Problem("recipe.preference.loss", text, document.where(("preference", "loss")))
    if recipe.method == "kto":
        for name, value in (
            ("batch_size", recipe.train.batch_size),
            ("micro_batch_size", recipe.train.micro_batch_size),
        ):
            if value == 1:
                text = "must be 2 or more: kto compares the answers of a micro-batch with each other's prompts"
                yield Problem(f"recipe.train.{name}", text, document.where(("train", name)))
        return
    for name in ("desirable_weight", "undesirable_weight"):
        if getattr(settings, name) != 1.0:
            yield Problem(f"recipe.preference.{name}", "is for kto alone", document.where(("preference", name)))


def _grpo_problems(recipe: Recipe, document: Document) -> Iterator[Problem]:
    settings, place = recipe.grpo, document.where(("grpo", "reward"))
    if not settings.reward:
        yield Problem("recipe.grpo.reward", "is empty: nothing would be rewarded", place)
    for name in settings.reward:
        if wrong := _reward_problem(name, recipe):
            yield Problem("recipe.grpo.reward", wrong, place)
    if "format" in settings.reward and settings.pattern is None:
        text = "is missing: the format reward needs a regular expression that an answer must match"
        yield Problem("recipe.grpo.pattern", text, document.where(("grpo",)))
    if settings.pattern is not None:
        try:
            re.compile(settings.pattern)
        except re.error as error:
            text = f"is no regular expression: {error}"
            yield Problem("recipe.grpo.pattern", text, document.where(("grpo", "pattern")))
    if settings.max_completion_length >= recipe.train.max_length:
        text = (
            f"{settings.max_completion_length} leaves no room for a prompt in train.max_length, "
            f"{recipe.train.max_length} tokens"
        )
        yield Problem("recipe.grpo.max_completion_length", text, document.where(("grpo", "max_completion_length")))


def _reward_problem(name: str, recipe: Recipe) -> str | None:
    """What is wrong with the name of a reward; the file is read, not run."""
    if name in BUILT_IN_REWARDS:
        return None
    file, colon, function = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        return f"{name!r} is none of {', '.join(BUILT_IN_REWARDS)} nor file.py:function{did_you_mean(name, BUILT_IN_REWARDS)}"
    path = reward_file(file, recipe.path)
    if path is None:
        return f"{file} is no file beside or below the recipe or the current folder, and code from elsewhere is not run"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return f"{file} cannot be read as Python: {error}"
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if function not in defined:
        return f"{file} defines no function {function!r}{did_you_mean(function, defined)}"
    return None


def reward_file(name: str, recipe: str) -> Path | None:
    """The file that a reward names: in or below the current folder or the recipe's own, and nowhere else."""
    for root in (Path.cwd(), Path(recipe).resolve().parent):
        path = (root / name).resolve()
        if path.is_file() and path.is_relative_to(root.resolve()):
            return path
    return None
