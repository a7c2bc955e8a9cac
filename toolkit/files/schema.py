"""Checked mappings: what a recipe, an intended use, a policy or a licence file may say, declared once.

A shape is a tree of kinds (`Text`, `Number`, `ListOf`, `Record` …). Reading a document against it collects every problem
with its path and line before anything is raised, suggests the key that was meant, and the same tree yields the JSON
Schema that editors use. Kinds are plain classes: making a dataclass costs time at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from toolkit.errors import InvalidInput, Problem
from toolkit.files.strict_yaml import Document, Path_


class Report:
    """Collects problems while a document is read."""

    def __init__(self, root: str, where: Callable[[Path_], str]) -> None:
        self.problems: list[Problem] = []
        self._root = root
        self._where = where

    def add(self, path: Path_, message: str) -> None:
        self.problems.append(Problem(dotted(self._root, path), message, self._where(path)))


class Kind(Protocol):
    """What a value may be: reads it (reporting what is wrong) and describes itself as JSON Schema."""

    def read(self, value: object, path: Path_, report: Report) -> object: ...

    def json_schema(self) -> dict[str, object]: ...


class Text:
    """A string; one of `choices` when they are given. `accept_number` lets `version: 3.1` stand for text."""

    def __init__(self, choices: tuple[str, ...] = (), *, accept_number: bool = False) -> None:
        self.choices = choices
        self.accept_number = accept_number

    def read(self, value: object, path: Path_, report: Report) -> object:
        if self.accept_number and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            report.add(path, f"must be text, not {shown(value)}")
            return None
        if self.choices and value not in self.choices:
            report.add(path, f"{value!r} is not one of {', '.join(self.choices)}{did_you_mean(value, self.choices)}")
            return None
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "enum": list(self.choices)} if self.choices else {"type": "string"}


class Flag:
    """true or false."""

    def read(self, value: object, path: Path_, report: Report) -> object:
        if not isinstance(value, bool):
            report.add(path, f"must be true or false, not {shown(value)}")
            return None
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "boolean"}


class Number:
    """A number within bounds (`above` excludes its bound); `whole` allows integers only."""

    def __init__(
        self,
        minimum: float | None = None,
        maximum: float | None = None,
        above: float | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.above = above
        self.whole = whole

    def read(self, value: object, path: Path_, report: Report) -> object:
        wanted = "a whole number" if self.whole else "a number"
        if isinstance(value, float) and self.whole and value.is_integer():
            value = int(value)  # 1e6 is how people write a million
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float) or value != value:
            report.add(path, f"must be {wanted}, not {shown(value)}")
        elif self.minimum is not None and value < self.minimum:
            report.add(path, f"must be at least {self.minimum:g}, not {shown(value)}")
        elif self.above is not None and value <= self.above:
            report.add(path, f"must be above {self.above:g}, not {shown(value)}")
        elif self.maximum is not None and value > self.maximum:
            report.add(path, f"must be at most {self.maximum:g}, not {shown(value)}")
        else:
            return value
        return None

    def json_schema(self) -> dict[str, object]:
        schema: dict[str, object] = {"type": "integer" if self.whole else "number"}
        for key, bound in (("minimum", self.minimum), ("maximum", self.maximum), ("exclusiveMinimum", self.above)):
            if bound is not None:
                schema[key] = bound
        return schema


class ListOf:
    """A list of one kind; a single value stands for a list of one when `or_one`."""

    def __init__(self, item: Kind, *, or_one: bool = False) -> None:
        self.item = item
        self.or_one = or_one

    def read(self, value: object, path: Path_, report: Report) -> object:
        if not isinstance(value, list):
            if self.or_one and not isinstance(value, dict) and value is not None:
                return (self.item.read(value, path, report),)
            report.add(path, f"must be a list, not {shown(value)}")
            return ()
        return tuple(self.item.read(item, (*path, index), report) for index, item in enumerate(value))

    def json_schema(self) -> dict[str, object]:
        many: dict[str, object] = {"type": "array", "items": self.item.json_schema()}
        return {"anyOf": [self.item.json_schema(), many]} if self.or_one else many


class AnyOf:
    """A value that one of the kinds accepts; the message of `says` when none does."""

    def __init__(self, kinds: tuple[Kind, ...], says: str) -> None:
        self.kinds = kinds
        self.says = says

    def read(self, value: object, path: Path_, report: Report) -> object:
        for kind in self.kinds:
            attempt = Report("", lambda _: "")
            result = kind.read(value, path, attempt)
            if not attempt.problems:
                return result
        report.add(path, f"must be {self.says}, not {shown(value)}")
        return None

    def json_schema(self) -> dict[str, object]:
        return {"anyOf": [kind.json_schema() for kind in self.kinds]}


class MapOf:
    """A mapping from free keys to one kind; `key` says what is wrong with a key, or None."""

    def __init__(self, item: Kind, key: Callable[[str], str | None] = lambda _: None) -> None:
        self.item = item
        self.key = key

    def read(self, value: object, path: Path_, report: Report) -> object:
        if not isinstance(value, dict):
            report.add(path, f"must be a mapping, not {shown(value)}")
            return {}
        for name in value:
            if wrong := self.key(str(name)):
                report.add((*path, name), wrong)
        return {str(name): self.item.read(item, (*path, name), report) for name, item in value.items()}

    def json_schema(self) -> dict[str, object]:
        return {"type": "object", "additionalProperties": self.item.json_schema()}


class Key:
    """One key of a record: its kind, what it is for, whether it must be there."""

    def __init__(self, kind: Kind, says: str = "", *, required: bool = False, default: object = None) -> None:
        self.kind = kind
        self.says = says
        self.required = required
        self.default = default


class Record:
    """A mapping with known keys. `renamed` maps names from other tools to ours, or to words on what to do instead, so that
    the error can say so."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        make: Callable[..., object] | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self.keys = keys
        self.make = make
        self.renamed = renamed or {}

    def read(self, value: object, path: Path_, report: Report) -> object:
        if value is None:
            value = {}  # `train:` with nothing below it
        if not isinstance(value, dict):
            report.add(path, f"must be a mapping of {', '.join(list(self.keys)[:4])} …, not {shown(value)}")
            return None
        known = len(report.problems)
        for name in value:
            if name not in self.keys:
                ours = self.renamed.get(name)
                if ours is None:
                    hint = did_you_mean(name, self.keys) or did_you_mean(name, self.renamed, self.renamed)
                else:
                    hint = f"; {ours}" if is_sentence(ours) else f"; here it is called {ours!r}"
                report.add((*path, name), f"unknown key{hint}")
        values = {}
        for name, key in self.keys.items():
            if value.get(name) is not None:
                values[name] = key.kind.read(value[name], (*path, name), report)
            elif name in value and not isinstance(key.kind, Record):
                report.add((*path, name), "has no value; write one or leave the key out")
            elif key.required:
                report.add((*path, name), "is missing" + (f": {key.says}" if key.says else ""))
        if self.make is None or len(report.problems) > known:
            return values
        return self.make(**values)

    def json_schema(self) -> dict[str, object]:
        properties = {}
        for name, key in self.keys.items():
            properties[name] = {**key.kind.json_schema(), **({"description": key.says} if key.says else {})}
            if key.default is not None:
                properties[name]["default"] = key.default
        required = [name for name, key in self.keys.items() if key.required]
        schema: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": required} if required else schema


def read_document(document: Document, kind: Kind, root: str, *, at: Path_ = ()) -> object:
    """Read the value at `at` of a document as `kind`; `root` names it in messages. Raises InvalidInput with every problem."""
    value = document.value
    for part in at:
        value = value[part]  # type: ignore[index]
    report = Report(root, lambda path: document.where((*at, *path)))
    result = kind.read(value, (), report)
    if report.problems:
        raise InvalidInput(report.problems)
    return result


def read_value(value: object, kind: Kind, root: str, where: str = "") -> object:
    """Read a plain value as `kind`; `where` is where it came from. Raises InvalidInput with every problem."""
    report = Report(root, lambda _: where)
    result = kind.read(value, (), report)
    if report.problems:
        raise InvalidInput(report.problems)
    return result


def did_you_mean(word: object, known: object, ours: Mapping[str, str] | None = None) -> str:
    """`; did you mean 'learning_rate'?`, or nothing when no known word is near. `ours` are known words as we call them."""
    import difflib  # only needed once something is wrong

    names = {str(name).lower(): str(name) for name in known}  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    if not near:
        return ""
    meant = names[near[0]] if ours is None else ours[names[near[0]]]
    return f"; {meant}" if ours is not None and is_sentence(meant) else f"; did you mean {meant!r}?"


def is_sentence(ours: str) -> bool:
    """Whether what stands beside a foreign name is words, not a key such as `train.dtype` or `eval: {path: …}`."""
    return " " in ours and not ours.endswith("}")


def dotted(root: str, path: Path_) -> str:
    """`recipe.data[0].id`: a path as people write it."""
    text = root
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """A value as a message shows it: short, and with its type where that is what is wrong."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"
