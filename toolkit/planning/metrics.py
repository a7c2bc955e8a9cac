"""How answers are scored, as a recipe names it: a built-in metric, a pattern, or a Python function in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from toolkit.files.schema import Report, did_you_mean, shown
from toolkit.files.strict_yaml import Path_

BUILT_IN = ("exact-match", "contains", "f1", "json-valid")
PATTERN = "regex:"
_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
SCORES = ("loss", "perplexity")  # measured on every evaluation that has a loss


def score_name(metric: str) -> str:
    """The key of a metric's score in the run record: `exact_match`, `regex`, or the name of the function."""
    if found := _FUNCTION.fullmatch(metric):
        return found["name"]
    return "regex" if metric.startswith(PATTERN) else metric.replace("-", "_")


def function_place(text: str) -> tuple[str, str] | None:
    """File and function of `file.py:function`; None for anything else."""
    found = _FUNCTION.fullmatch(text)
    return (found["file"], found["name"]) if found else None


def repeated(metrics: Iterable[str]) -> str | None:
    """The first score name that two metrics share, which would overwrite each other."""
    seen: set[str] = set(SCORES)
    for metric in metrics:
        if (name := score_name(metric)) in seen:
            return name
        seen.add(name)
    return None


class Metric:
    """The kind of a value under `evaluate.metric`."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        if not isinstance(value, str) or not value.strip():
            report.add(path, f"must be the name of a metric, not {shown(value)}")
        elif value.startswith(PATTERN):
            try:
                if re.compile(value.removeprefix(PATTERN)).groups > 1:
                    report.add(path, "has several groups; one says what is compared, write the others as (?:…)")
            except re.error as error:
                report.add(path, f"is no regular expression: {error}")
        elif value not in BUILT_IN and function_place(value) is None:
            known = f"{', '.join(BUILT_IN)}, regex:PATTERN or FILE.py:FUNCTION"
            report.add(path, f"{value!r} is not one of {known}{did_you_mean(value, BUILT_IN)}")
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}
