"""What a recipe requires of the evaluation: `loss: "< base"`, `exact_match: ">= 0.8"`, `perplexity: "<= 1.05 * base"`.

`base` is the same score of the base alone, measured in the same process on the same rows.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.files.schema import Report, shown
from toolkit.files.strict_yaml import Path_

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_GRAMMAR = re.compile(
    rf"(?P<sign><=|>=|<|>)\s*(?:(?P<factor>{_NUMBER})\s*\*\s*base|base(?:\s*(?P<offset>[-+]\s*{_NUMBER}))?|(?P<number>{_NUMBER}))"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
SAYS = 'a comparison with a number or the base, such as "< base", ">= 0.8", "<= 1.05 * base" or ">= base + 0.1"'


@dataclass(frozen=True, slots=True)
class Requirement:
    """One bound on one score: `sign` against `factor` × the base's score + `offset` (factor 0 where it is a number)."""

    score: str
    text: str
    sign: str
    factor: float
    offset: float

    def limit(self, base: float | None) -> float | None:
        """The number to compare with; None where the base has no such score and one is needed."""
        if not self.factor:
            return self.offset
        return None if base is None else self.factor * base + self.offset

    def judge(self, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, object]:
        """The figures and whether they satisfy the bound, as the run record keeps them. A missing score does not."""
        base, value = before.get(self.score), after.get(self.score)
        limit = self.limit(base)
        passed = value is not None and limit is not None and _COMPARE[self.sign](value, limit)
        figures = {"base": base, "limit": limit, "value": value}
        return {"score": self.score, "requires": self.text, **figures, "passed": passed}


def parse_requirement(score: str, text: str) -> Requirement | None:
    """A requirement read from its words; None when they follow no form of the grammar."""
    found = _GRAMMAR.fullmatch(text.strip())
    if found is None:
        return None
    number, factor, offset = found["number"], found["factor"], found["offset"]
    if number is not None:
        return Requirement(score, text.strip(), found["sign"], 0.0, float(number))
    moved = float(re.sub(r"\s", "", offset)) if offset else 0.0
    return Requirement(score, text.strip(), found["sign"], float(factor or 1.0), moved)


def requirements_of(require: Mapping[str, str]) -> tuple[Requirement, ...]:
    """The requirements of a recipe that has been read, in its order."""
    return tuple(found for score, text in require.items() if (found := parse_requirement(score, text)))


def gate(
    requirements: tuple[Requirement, ...], before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, object]:
    """`{"passed": …, "requirements": […]}`: the regression gate as the run record keeps it."""
    judged = [requirement.judge(before, after) for requirement in requirements]
    return {"passed": all(item["passed"] for item in judged), "requirements": judged}


class Comparison:
    """The kind of a value under `evaluate.require`."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        if not isinstance(value, str) or parse_requirement("", value) is None:
            report.add(path, f"must be {SAYS}, not {shown(value)}")
            return ""
        return value.strip()

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": r"^\s*(<=|>=|<|>)"}
