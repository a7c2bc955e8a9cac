"""How right an answer is: the built-in metrics, patterns, and functions of the user's. Each gives 0 to 1 for one answer,
or whatever number the user's function gives; a score is the mean over all answers.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.errors import TkError
from toolkit.planning.metrics import PATTERN, function_place, score_name
from toolkit.planning.recipe import Recipe
from toolkit.training.functions import NamedFunction, load_function

_OFFERED = {"answer": "the model's answer", "expected": "the right one", "prompt": "the last question"}
Rate = Callable[[str, str, str], float]  # answer, expected, prompt


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric under the name of its score. `source` is the user's function, where it is one."""

    score: str
    rate: Rate
    source: NamedFunction | None = None

    def mean(self, answers: Sequence[str], expected: Sequence[str], prompts: Sequence[str]) -> float:
        """The mean over all answers; there is at least one."""
        rates = [self.rate(*triple) for triple in zip(answers, expected, prompts, strict=True)]
        return math.fsum(rates) / len(rates)


def metrics_of(recipe: Recipe) -> tuple[Metric, ...]:
    """The metrics of a recipe. Raises TkError for a function that cannot be loaded, before anything heavy is."""
    return tuple(_metric(name, recipe) for name in recipe.evaluate.metric)


def exact_match(answer: str, expected: str, prompt: str = "") -> float:
    """1 where the answer is the expected one, letter for letter."""
    return float(answer == expected)


def contains(answer: str, expected: str, prompt: str = "") -> float:
    """1 where the expected words stand in the answer, whatever their case and the white space between them."""
    return float(" ".join(expected.casefold().split()) in " ".join(answer.casefold().split()))


def f1(answer: str, expected: str, prompt: str = "") -> float:
    """Harmonic mean of precision and recall over the words of both, case and punctuation left aside."""
    given, wanted = _words(answer), _words(expected)
    shared = (given & wanted).total()
    if not shared:
        return float(not given and not wanted)
    return 2 * shared / (given.total() + wanted.total())


def json_valid(answer: str, expected: str = "", prompt: str = "") -> float:
    """1 where the answer is one JSON document and nothing else."""
    try:
        json.loads(answer)
    except ValueError:
        return 0.0
    return 1.0


def matching(pattern: str) -> Rate:
    """1 where `pattern` is found in the answer; with a group, where its last find is that in the expected answer too."""
    compiled = re.compile(pattern)

    def rate(answer: str, expected: str, prompt: str = "") -> float:
        found = compiled.findall(answer)
        if not compiled.groups:
            return float(bool(found))
        wanted = compiled.findall(expected)
        return float(bool(found and wanted) and found[-1] == wanted[-1])

    return rate


_BUILT_IN: dict[str, Rate] = {
    "exact-match": exact_match, "contains": contains, "f1": f1, "json-valid": json_valid
}  # fmt: skip


def _metric(name: str, recipe: Recipe) -> Metric:
    if name in _BUILT_IN:
        return Metric(score_name(name), _BUILT_IN[name])
    if name.startswith(PATTERN):
        return Metric("regex", matching(name.removeprefix(PATTERN)))
    place = function_place(name)
    path = recipe.data_path(place[0]) if place else None
    if place is None or path is None:
        raise TkError(f"no such metric: {name}", where=recipe.path)
    function = load_function(path, place[1], _OFFERED)
    return Metric(score_name(name), _by_function(function), function)


def _by_function(function: NamedFunction) -> Rate:
    def rate(answer: str, expected: str, prompt: str) -> float:
        try:
            given = function(answer=answer, expected=expected, prompt=prompt)
        except Exception as error:  # the user's code may raise anything
            text = f"{function.name} failed: {type(error).__name__}: {error}"
            raise TkError(text, where=str(function.path)) from error
        if not isinstance(given, bool | int | float) or not math.isfinite(given):
            raise TkError(f"{function.name} gave {given!r} for an answer, not a number", where=str(function.path))
        return float(given)

    return rate


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.casefold()))
