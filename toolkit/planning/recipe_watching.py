"""The keys of a recipe that say how a run is watched: its evaluation, its checkpoints, and where its curve goes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from toolkit.files.schema import Key, ListOf, MapOf, Number, Record, Report, Text, did_you_mean, shown
from toolkit.files.strict_yaml import Path_
from toolkit.planning.foreign_names import renamed
from toolkit.planning.metrics import Metric
from toolkit.planning.recipe_values import EvaluateSettings, SaveSettings
from toolkit.planning.requirements import Comparison

_PERIOD = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def evaluate_shape() -> Record:
    """`evaluate:`"""
    share = Number(above=0, maximum=1)
    keys = {
        "fraction": Key(Number(minimum=0, maximum=0.9), "Share of the rows held out", default=0.1),
        "generate": Key(Number(minimum=0, whole=True), "Held-out prompts answered before and after", default=64),
        "max_new_tokens": Key(Number(minimum=1, whole=True), "Longest answer, in tokens", default=64),
        "metric": Key(
            ListOf(Metric(), or_one=True),
            "How answers are scored: exact-match, contains, f1, json-valid, regex:PATTERN, FILE.py:FUNCTION; or several",
        ),
        "samples": Key(Number(minimum=0, whole=True), "Answers shown side by side in record and card", default=4),
        "every": Key(share, "Held-out loss during training as well, each time this share of the steps is done"),
        "tasks": Key(ListOf(Text(), or_one=True), "Tasks of lm-evaluation-harness, by name or as a YAML file"),
        "task_limit": Key(Number(minimum=1, whole=True), "Rows of each task, where not all of them"),
        "require": Key(
            MapOf(Comparison()),
            'What the scores after training must satisfy, such as {loss: "< base"}; else the run fails',
        ),
    }
    return Record(keys, EvaluateSettings, renamed=renamed("evaluate"))


def save_shape() -> Record:
    """`train.save:`"""
    keys = {
        "every": Key(Period(), "Share of the steps, or time such as 10min, between two checkpoints", default=0.25),
        "keep": Key(Number(minimum=1, whole=True), "Checkpoints that are kept", default=2),
    }
    return Record(keys, SaveSettings, renamed={"steps": "every", "limit": "keep", "total_limit": "keep"})


def period_seconds(text: str) -> float:
    """Seconds of `30s`, `10min` or `2h`."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"no period: {text!r}")
    return float(found["count"]) * _SECONDS[found["unit"]]


class Period:
    """A share of the steps (0.25), or a time with its unit (10min)."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        if isinstance(value, str) and (found := _PERIOD.fullmatch(value.strip())) and float(found["count"]) > 0:
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        report.add(path, f"must be a share of the steps such as 0.25, or a time such as 10min, not {shown(value)}")
        return 0.25

    def json_schema(self) -> dict[str, object]:
        time = {"type": "string", "pattern": r"^\s*[0-9.]+\s*(s|min|h)\s*$"}
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, time]}


TRACKERS: Mapping[str, Record] = {
    "trackio": Record({"project": Key(Text(), "Name of the project")}),
    "tensorboard": Record({}),
    "mlflow": Record(
        {
            "uri": Key(Text(), "Where MLflow keeps runs; a database in the run folder when left out"),
            "experiment": Key(Text(), "Name of the experiment"),
        }
    ),
    "wandb": Record(
        {
            "mode": Key(Text(("offline", "online")), "offline keeps everything in the run folder", default="offline"),
            "project": Key(Text(), "Name of the project"),
            "entity": Key(Text(), "Team or user that the project is of"),
        }
    ),
}


class Track:
    """`track:` as names (`[tensorboard, mlflow]`), or as a mapping from name to settings."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list):
            for index, name in enumerate(names):
                self._known(name, (*path, index), report)
            return {str(name): {} for name in names}
        if isinstance(names, dict):
            known = [name for name in names if self._known(name, (*path, name), report)]
            return {name: TRACKERS[name].read(names[name], (*path, name), report) for name in known}
        report.add(
            path, f"must be a list of {', '.join(TRACKERS)}, or a mapping with their settings, not {shown(value)}"
        )
        return {}

    def _known(self, name: object, path: Path_, report: Report) -> bool:
        if isinstance(name, str) and name in TRACKERS:
            return True
        renamed = {"wandb_project": "wandb", "weights-and-biases": "wandb", "none": "left out"}
        hint = f"; that is {renamed[str(name)]!r}" if str(name) in renamed else did_you_mean(name, TRACKERS)
        report.add(path, f"{shown(name)} is not one of {', '.join(TRACKERS)}{hint}")
        return False

    def json_schema(self) -> dict[str, object]:
        names = {"type": "string", "enum": list(TRACKERS)}
        settings = {name: shape.json_schema() for name, shape in TRACKERS.items()}
        mapping = {"type": "object", "properties": settings, "additionalProperties": False}
        return {"anyOf": [names, {"type": "array", "items": names}, mapping]}
