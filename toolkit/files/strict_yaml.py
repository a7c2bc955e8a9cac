"""YAML read without surprises, with the line of every value.

PyYAML's own loaders follow YAML 1.1: `1e-5` becomes a string, `NO` False, `3:10` a number, and a repeated key silently
wins. This one keeps libyaml's parser and builds values by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/
#103-core-schema); a repeated key is an error. It lives here because `tk license-check` reads YAML at every start, and
composing with libyaml costs a small part of what a round-trip loader written in Python does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from toolkit.errors import InvalidInput, Problem, TkError

Path_ = tuple[str | int, ...]

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?[0-9]{1,400})|0x[0-9a-fA-F]+|0o[0-7]+"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_DEEPEST = 100  # no file of ours nests deeper; a bomb of brackets does
_MOST_VALUES = 200_000  # aliases can multiply a short file into billions of values

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document: plain Python values and, for each path into them, the line on which they stand.

    `origins` names, by path, values that did not come from the file (a flag, `--set`).
    """

    value: object
    name: str
    lines: dict[Path_, int]
    origins: Mapping[Path_, str] = field(default_factory=dict)

    def line(self, path: Path_) -> int:
        """Line (from 1) of the value at `path`, or of its nearest ancestor that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def where(self, path: Path_) -> str:
        """`file:line` of the value at `path`, or where it came from instead."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return f"{self.name}:{self.line(path)}" if self.lines else self.name


def load_file(path: Path, name: str | None = None) -> Document:
    """Read a YAML file. Raises TkError when it cannot be read and InvalidInput (with lines) when it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise TkError("no such file", where=str(path)) from error
    except IsADirectoryError as error:
        raise TkError("is a folder, not a file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise TkError("is not text in UTF-8", where=str(path)) from error
    except OSError as error:
        raise TkError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return load_text(text, name or str(path))


def load_text(text: str, name: str, first_line: int = 1) -> Document:
    """Read YAML from `text`; `name` is what messages call it and `first_line` the line its first line has in that file."""
    shift = first_line - 1
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 + shift if mark else first_line
        raise InvalidInput([Problem("", f"not valid YAML: {error.problem}", f"{name}:{line}")]) from error
    except yaml.YAMLError as error:
        raise InvalidInput([Problem("", f"not valid YAML: {error}".splitlines()[0], name)]) from error
    if node is None:
        return Document(None, name, {})
    builder = _Builder(name, shift)
    value = builder.build(node, ())
    if builder.problems:
        raise InvalidInput(builder.problems)
    return Document(value, name, builder.lines)


class _Builder:
    def __init__(self, name: str, shift: int) -> None:
        self.name = name
        self.shift = shift
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, path: Path_) -> object:
        self.lines[path] = node.start_mark.line + 1 + self.shift
        if len(path) > _DEEPEST or len(self.lines) > _MOST_VALUES:
            raise InvalidInput([self._wrong(path[:5], "nests too deeply or repeats too much to be read", node)])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else core_scalar(str(node.value))  # quotes make it text

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[object, object]:
        mapping: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(self._wrong(path, "a key must be a plain word", key_node))
                continue
            key = str(key_node.value)
            if key in mapping:
                self.problems.append(self._wrong((*path, key), "this key stands twice; keep one", key_node))
                continue
            mapping[key] = self.build(value_node, (*path, key))
            self.lines[(*path, key)] = key_node.start_mark.line + 1 + self.shift
        return mapping

    def _wrong(self, path: Path_, message: str, node: yaml.Node) -> Problem:
        where = f"{self.name}:{node.start_mark.line + 1 + self.shift}"
        return Problem(".".join(str(part) for part in path), message, where)


def core_scalar(text: str) -> object:
    """The value of a plain (unquoted) scalar by the YAML 1.2 core schema; also how `--set key=value` reads its value."""
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    if number["int"]:
        return int(text)
    return float(text) if number["float"] else int(text, 0)
