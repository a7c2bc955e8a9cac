"""What GRPO rewards: an exact match with the row's answer, a format, or a function of the user's.

A function of the user's is called as TRL calls one: with `prompts` and `completions` (lists of messages),
`completion_ids`, and each further column of the data as a list; it gives a number for each completion, or None for one
that it cannot judge. Its file is run, so it must lie beside or below the recipe or the current folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.digests import sha256_file
from toolkit.planning.method_problems import reward_file
from toolkit.planning.method_settings import GrpoSettings
from toolkit.planning.recipe import Recipe
from toolkit.training.functions import NamedFunction, load_function
from toolkit.training.preferences import Task

_ALWAYS = {
    "prompts": "the conversations before each answer",
    "completions": "the answers, each a list of messages",
    "completion_ids": "the answers as token ids",
}


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward under the name that curve and record show. `source` is the user's function, where it is one."""

    name: str
    rate: Callable[..., Sequence[float | None]]
    source: NamedFunction | None = None

    def __call__(
        self, tasks: Sequence[Task], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[float | None]:
        """The reward of each completion of the task beside it. Raises TkError for what is no list of finite numbers."""
        if self.source is None:
            return list(self.rate(tasks, completions))
        columns = {name: [task.columns.get(name) for task in tasks] for name in tasks[0].columns}
        try:
            found = self.source(
                prompts=[list(task.messages) for task in tasks],
                completions=[[{"role": "assistant", "content": text}] for text in completions],
                completion_ids=[list(ids) for ids in completion_ids],
                **columns,
            )
        except Exception as error:
            text = f"{self.name} failed: {type(error).__name__}: {error}"
            raise TkError(text, where=str(self.source.path)) from error
        return _checked(found, len(tasks), self)


def load_rewards(settings: GrpoSettings, recipe: str, tasks: Sequence[Task]) -> tuple[Reward, ...]:
    """The rewards of a recipe for its rows; runs the files of the user's functions.

    Raises InvalidInput when a built-in reward needs a column that a row lacks, TkError for a function that cannot be
    loaded or asks for a column that the rows do not have.
    """
    return tuple(_reward(name, settings, recipe, tasks) for name in settings.reward)


def reward_digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of the file of each reward that is a function of the user's; nothing is run."""
    found: dict[str, str] = {}
    for name in recipe.grpo.reward if recipe.method == "grpo" else ():
        path = reward_file(name.rpartition(":")[0], recipe.path) if ":" in name else None
        if path is not None:
            found[name] = sha256_file(path)
    return found


def extracted(text: str, pattern: str | None) -> str | None:
    """What a pattern finds in a text: its first group where it has one, of the last place that matches."""
    if pattern is None:
        return text.strip()
    found = list(re.finditer(pattern, text, re.DOTALL))
    if not found:
        return None
    last = found[-1]
    return str(last.group(1) if last.re.groups else last.group()).strip()


def _reward(name: str, settings: GrpoSettings, recipe: str, tasks: Sequence[Task]) -> Reward:
    if name == "exact-match":
        if lacking := [task.where for task in tasks if task.answer is None]:
            text = f"has no 'answer', which the exact-match reward compares with ({len(lacking)} rows have none)"
            raise InvalidInput([Problem(lacking[0], text)])
        return Reward("exact_match", lambda rows, texts: _exact(rows, texts, settings.pattern))
    if name == "format":
        compiled = re.compile(settings.pattern or "", re.DOTALL)
        return Reward("format", lambda rows, texts: [float(bool(compiled.fullmatch(text.strip()))) for text in texts])
    file, _, function = name.rpartition(":")
    path = reward_file(file, recipe)
    if path is None:
        raise TkError("no such file beside or below the recipe or the current folder", where=file)
    offered = {**_ALWAYS, **dict.fromkeys(tasks[0].columns if tasks else (), "a column of the data")}
    source = load_function(Path(path), function, offered)
    return Reward(function, source, source)


def _exact(tasks: Sequence[Task], completions: Sequence[str], pattern: str | None) -> list[float]:
    return [
        float((given := extracted(text, pattern)) is not None and given == task.answer)
        for task, text in zip(tasks, completions, strict=True)
    ]


def _checked(found: object, wanted: int, reward: Reward) -> list[float | None]:
    where = str(reward.source.path) if reward.source else None
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != wanted:
        said = f"a list of {len(found)}" if isinstance(found, list | tuple) else type(found).__name__
        raise TkError(f"{reward.name} gave {said} for {wanted} completions; it must give a list with a number for each",
                      where=where)  # fmt: skip
    for value in found:
        if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
            raise TkError(f"{reward.name} gave {value!r}, which is no finite number", where=where)
    return [None if value is None else float(value) for value in found]


def mean_rewards(
    rewards: Sequence[Reward], tasks: Sequence[Task], texts: Sequence[str], ids: Sequence[Sequence[int]]
) -> Mapping[str, float]:
    """`reward`, the mean sum of all rewards, and the mean of each by name where there are several."""
    each: dict[str, list[Any]] = {reward.name: reward(tasks, texts, ids) for reward in rewards}
    totals = [sum(value or 0.0 for value in values) for values in zip(*each.values(), strict=True)]
    means = {"reward": math.fsum(totals) / len(totals)}
    if len(each) > 1:
        means |= {
            f"reward_{name}": math.fsum(value or 0.0 for value in values) / len(values) for name, values in each.items()
        }
    return means
