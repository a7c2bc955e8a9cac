"""The words that licence files and intended uses share: acts, operands, fields of use, obligations, country groups."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from toolkit.files.schema import Key, ListOf, MapOf, Record, Text, read_document
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file

OPERATORS = ("eq", "neq", "gt", "gteq", "lt", "lteq", "isAnyOf", "isNoneOf")  # ODRL names
DISTRIBUTIONS = ("internal", "hosted-service", "weights", "embedded-product", "evaluation")
RECIPIENTS = ("legal-entity", "affiliates", "contractors")
MODALITIES = ("text", "image", "audio", "video")
WORLD = "WORLD"  # a use everywhere


class Vocabulary(NamedTuple):
    """Every word a rule or a use may say. Texts are one-line meanings; `questions` is how a missing fact is asked for."""

    version: str
    acts: Mapping[str, str]
    operands: Mapping[str, str]
    questions: Mapping[str, str]
    topics: Mapping[str, str]
    fields: Mapping[str, str]
    businesses: Mapping[str, str]
    obligations: Mapping[str, str]
    families: Mapping[str, tuple[str, ...]]
    country_groups: Mapping[str, frozenset[str]]

    def countries(self, names: tuple[str, ...]) -> frozenset[str]:
        """The countries that `names` (ISO codes or groups) stand for, groups kept beside their members."""
        members = {code for name in names for code in self.country_groups.get(name, frozenset())}
        return frozenset(names) | members

    def families_of(self, models: Iterable[str]) -> tuple[str, ...]:
        """The families that models belong to by name, organisation and case aside."""
        known = tuple(self.families.items())
        kin = {family for model in models for family in _families_of(model.rpartition("/")[2].lower(), known)}
        return tuple(family for family in self.families if family in kin)


@lru_cache(maxsize=65536)
def _families_of(name: str, families: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[str, ...]:
    """The families of one name; an audit asks for the same names many times over."""
    return tuple(
        family for family, patterns in families if any(fnmatchcase(name, pattern.lower()) for pattern in patterns)
    )


@cache
def vocabulary(folder: Path | None = None) -> Vocabulary:
    """The vocabulary of a licence folder (the shipped one by default)."""
    path = (folder or shipped("licenses")) / "vocabulary.yaml"
    raw = read_document(load_file(path), _SHAPE, "vocabulary")
    assert isinstance(raw, dict)
    operands = raw["operands"]
    return Vocabulary(
        version=raw["version"],
        acts=raw["acts"],
        operands={name: entry["says"] for name, entry in operands.items()},
        questions={name: entry["question"] for name, entry in operands.items() if "question" in entry},
        topics=raw["topics"],
        fields=raw["fields"],
        businesses=raw["businesses"],
        obligations=raw["obligations"],
        families=raw["families"],
        country_groups={name: frozenset(codes) for name, codes in raw["country_groups"].items()},
    )


_OPERAND = Record({"type": Key(Text()), "says": Key(Text(), required=True), "question": Key(Text())})
_WORDS = Key(MapOf(Text()), required=True)
_SHAPE = Record(
    {
        "version": Key(Text(accept_number=True), required=True),
        "acts": _WORDS,
        "operands": Key(MapOf(_OPERAND), required=True),
        "operators": Key(MapOf(Text())),
        "topics": _WORDS,
        "fields": _WORDS,
        "businesses": _WORDS,
        "obligations": _WORDS,
        "families": Key(MapOf(ListOf(Text())), required=True),
        "country_groups": Key(MapOf(ListOf(Text())), required=True),
    }
)
