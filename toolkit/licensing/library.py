"""The licences at hand: found by hub tag, by name and by the models known to be under them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.schema import did_you_mean, read_document
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file, load_text
from toolkit.licensing.terms import ModelPattern, Terms, TermsHead, body_shape, head_shape, make_head, make_terms
from toolkit.licensing.vocabulary import Vocabulary, vocabulary

# `license:` values that say nothing: `license` is what TRL's generated cards carry.
SAYS_NOTHING = frozenset({"", "license", "licence", "unknown", "none", "null", "n/a", "tbd"})
SEE_NAME = frozenset({"other"})


@dataclass(frozen=True, slots=True)
class CatalogueMatch:
    """A licence that the catalogue gives for a hub id, and the pattern that matched."""

    head: TermsHead
    pattern: ModelPattern


@dataclass(frozen=True)
class Library:
    """The licences of one folder. Heads are read at once; a licence's rules when `terms` is asked for it."""

    folder: Path
    words: Vocabulary
    heads: Mapping[str, TermsHead]
    _read: dict[str, Terms] = field(default_factory=dict, repr=False)

    def terms(self, identifier: str) -> Terms:
        """A licence with its rules. Raises TkError for an id that has no file."""
        if identifier not in self.heads:
            raise TkError(f"no licence {identifier!r} here{did_you_mean(identifier, self.heads)}", hint="tk licenses list")
        if identifier not in self._read:
            self._read[identifier] = read_terms(self.folder / f"{identifier}.yaml", self.words)
        return self._read[identifier]

    def declared(self, key: str, name: str | None = None) -> TermsHead | None:
        """The licence that a card's `license` (and `license_name`) means, or None when it is not one of ours.

        SPDX ids and our own ids are understood in any case; `other` defers to the name.
        """
        wanted = key.strip().lower()
        if wanted in SEE_NAME:
            return self._by_name((name or "").strip().lower())
        return self._by_key(wanted) or self._by_name(wanted)

    def catalogued(self, model: str) -> tuple[CatalogueMatch, ...]:
        """What the catalogue knows of a hub id: the licences whose most specific pattern matches it."""
        found = [
            CatalogueMatch(head, pattern)
            for head in self.heads.values()
            for pattern in head.models
            if matches(pattern.match, model)
        ]
        best = max((_literal_length(match.pattern.match) for match in found), default=0)
        return tuple(match for match in found if _literal_length(match.pattern.match) == best)

    def _by_key(self, key: str) -> TermsHead | None:
        for head in self.heads.values():
            if key in (head.id, head.spdx.lower()) or key in (hub.lower() for hub in head.hub_keys):
                return head
        return None

    def _by_name(self, name: str) -> TermsHead | None:
        for head in self.heads.values():
            if name and (name in (known.lower() for known in head.hub_names) or name in (head.id, head.name.lower())):
                return head
        return None


@cache
def library(folder: Path | None = None) -> Library:
    """The licences of a folder (the shipped ones by default). Raises InvalidInput naming every bad head."""
    folder = folder or shipped("licenses")
    shape = head_shape()
    heads: dict[str, TermsHead] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.name == "vocabulary.yaml":
            continue
        text, _, _ = path.read_text(encoding="utf-8").partition("\nrules:")
        raw = read_document(load_text(text, str(path)), shape, path.stem)
        assert isinstance(raw, dict)
        heads[path.stem] = make_head(raw)
    return Library(folder, vocabulary(folder), heads)


def read_terms(path: Path, words: Vocabulary) -> Terms:
    """Read one whole licence file. Raises InvalidInput with every problem: words outside the vocabulary, rules without
    a clause, ids that stand twice, topics that nobody accounts for."""
    document = load_file(path)
    raw = read_document(document, body_shape(words), path.stem)
    assert isinstance(raw, dict)
    terms = make_terms(raw)
    problems = []
    seen: set[str] = set()
    for index, rule in enumerate(terms.rules):
        if rule.id in seen:
            problems.append(Problem(f"{path.stem}.rules[{index}].id", f"{rule.id!r} stands twice", document.where(("rules", index, "id"))))
        seen.add(rule.id)
    told = {rule.topic for rule in terms.rules} | {topic for topic, _, _ in terms.spoken} | {*terms.silent, *terms.not_read}
    if untold := sorted(set(words.topics) - told):
        problems.append(Problem(f"{path.stem}.topics", f"nothing is said of {', '.join(untold)}", document.where(("topics",))))
    if terms.id != path.stem:
        problems.append(Problem(f"{path.stem}.id", f"{terms.id!r} is not the file's name", document.where(("id",))))
    if problems:
        raise InvalidInput(problems)
    return terms


def matches(pattern: str, model: str) -> bool:
    """Whether a hub id matches a catalogue pattern (`*` stands for any characters; case does not count)."""
    return _compiled(pattern).fullmatch(model) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)


def _literal_length(pattern: str) -> int:
    return len(pattern.replace("*", "")) + ("*" not in pattern)  # an exact id beats a glob of the same length
