"""The licences at hand: found by hub tag, by name and by the models known to be under them."""

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.schema import did_you_mean, read_document
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file, load_text
from toolkit.licensing.names import KnownName, Resemblance, known_names, mentioned, organisations, resemblance
from toolkit.licensing.terms import ModelPattern, Terms, TermsHead, body_shape, head_shape, make_head, make_terms
from toolkit.licensing.vocabulary import Vocabulary, vocabulary

# `license:` values that say nothing: `license` is what TRL's generated cards carry.
SAYS_NOTHING = frozenset({"", "license", "licence", "unknown", "none", "null", "n/a", "tbd"})
SEE_NAME = frozenset({"other"})
_MOST_KEPT = 4096  # answers about declarations and organisations; a hub has a hundred times as many


class CatalogueMatch(NamedTuple):
    """A licence that the catalogue gives for a hub id, and the pattern that matched."""

    head: TermsHead
    pattern: ModelPattern


class Library:
    """The licences of one folder. A file is parsed when something asks for it: a check of one model reads the texts of
    all heads, and parses those in which the model's organisation or tag occurs at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words: Vocabulary = vocabulary(folder)
        paths = sorted(path for path in folder.glob("*.yaml") if path.name != "vocabulary.yaml")
        self._texts = {path.stem: path.read_text(encoding="utf-8").partition("\nrules:")[0] for path in paths}
        self._lower = {identifier: text.lower() for identifier, text in self._texts.items()}
        self._heads: dict[str, TermsHead] = {}
        self._terms: dict[str, Terms] = {}
        self._of_organisation: dict[str, tuple[CatalogueMatch, ...]] = {}
        self._meant: dict[tuple[str, str | None], list[TermsHead]] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The licences that have a file."""
        return tuple(self._texts)

    def head(self, identifier: str) -> TermsHead:
        """What identifies a licence. Raises TkError for an id that has no file, InvalidInput for a bad head."""
        if identifier not in self._texts:
            raise TkError(
                f"no licence {identifier!r} here{did_you_mean(identifier, self.ids)}", hint="tk licenses list"
            )
        if identifier not in self._heads:
            document = load_text(self._texts[identifier], str(self.folder / f"{identifier}.yaml"))
            raw = read_document(document, _HEAD, identifier)
            assert isinstance(raw, dict)
            self._heads[identifier] = make_head(raw)
        return self._heads[identifier]

    def terms(self, identifier: str) -> Terms:
        """A licence with its rules. Raises as `head` does, and InvalidInput for bad rules."""
        if identifier not in self._terms:
            self.head(identifier)
            self._terms[identifier] = read_terms(self.folder / f"{identifier}.yaml", self.words)
        return self._terms[identifier]

    @property
    def head_texts(self) -> Mapping[str, str]:
        """The unparsed head of every licence."""
        return self._texts

    @cached_property
    def known_names(self) -> tuple[KnownName, ...]:
        """The names in the catalogue by which other names show their base."""
        return known_names(self._texts)

    @cached_property
    def organisations(self) -> frozenset[str]:
        """The organisations that the catalogue knows models of, in lower case."""
        return organisations(self._texts)

    def resemblance(self, model: str) -> Resemblance | None:
        """The known model that a model's name shows, for works that name no base."""
        return resemblance(model, self.known_names)

    def mentioned(self, prose: str, *, of_data: bool = False) -> tuple[tuple[str, int], ...]:
        """(licence id, line) for each licence that a text names; `of_data` where the text is a data set's card."""
        return tuple(mentioned(prose, self._texts, of_data=of_data))

    def declared(self, key: str, name: str | None = None) -> TermsHead | None:
        """The licence that a card's `license` (and `license_name`) means, or None when it is not one of ours.

        SPDX ids and our own ids are understood in any case; `other` defers to the name.
        """
        return next(iter(self.candidates(key, name)), None)

    def candidates(self, key: str, name: str | None = None) -> list[TermsHead]:
        """Every licence that a declaration may mean: publishers give one name to several texts."""
        wanted = key.strip().lower()
        said = (name or "").strip().lower() if wanted in SEE_NAME else None
        kept = self._meant.get((wanted, said))
        if kept is None:
            if len(self._meant) == _MOST_KEPT:
                self._meant.clear()
            if said is None:
                kept = self._by_key(wanted) or self._by_name(wanted) or self._by_spelling(wanted)
            else:
                kept = self._by_name(said)
            self._meant[wanted, said] = kept
        return kept

    def catalogued(self, model: str) -> tuple[CatalogueMatch, ...]:
        """What the catalogue knows of a hub id: the licences whose most specific pattern matches it."""
        organisation, slash, _ = model.partition("/")
        known = self._known_of(organisation.lower()) if slash else ()
        found = [match for match in known if matches(match.pattern.match, model)]
        best = max((_literal_length(match.pattern.match) for match in found), default=0)
        return tuple(match for match in found if _literal_length(match.pattern.match) == best)

    def _known_of(self, organisation: str) -> tuple[CatalogueMatch, ...]:
        """The patterns that speak of an organisation's models, looked for once for each organisation."""
        if (kept := self._of_organisation.get(organisation)) is not None:
            return kept
        if len(self._of_organisation) == _MOST_KEPT:
            self._of_organisation.clear()
        known = self._of_organisation[organisation] = tuple(
            CatalogueMatch(head, pattern)
            for head in self._mentioning(f"match: {organisation}/")
            for pattern in head.models
            if pattern.match.lower().startswith(f"{organisation}/")
        )
        return known

    def _mentioning(self, words: str) -> list[TermsHead]:
        """The licences in whose heads the words occur, in any case."""
        wanted = words.lower()
        return [self.head(identifier) for identifier, text in self._lower.items() if wanted in text] if wanted else []

    def _by_key(self, key: str) -> list[TermsHead]:
        if key in self._texts:
            return [self.head(key)]
        return [
            head
            for head in self._mentioning(key)
            if key in (head.id, head.spdx.lower()) or key in (hub.lower() for hub in head.hub_keys if hub != "other")
        ]

    def _by_spelling(self, key: str) -> list[TermsHead]:
        """`Apache 2.0` and `apache2.0` are `apache-2.0` spelt otherwise."""
        wanted = "".join(letter for letter in key if letter.isalnum())
        return [
            self.head(identifier)
            for identifier in self._texts
            if wanted and wanted == "".join(letter for letter in identifier if letter.isalnum())
        ]

    def _by_name(self, name: str) -> list[TermsHead]:
        return [
            head
            for head in self._mentioning(name)
            if name in (known.lower() for known in head.hub_names) or name in (head.id, head.name.lower())
        ]


@cache
def library(folder: Path | None = None) -> Library:
    """The licences of a folder (the shipped ones by default)."""
    return Library(folder or shipped("licenses"))


_HEAD = head_shape()


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
            problems.append(
                Problem(
                    f"{path.stem}.rules[{index}].id",
                    f"{rule.id!r} stands twice",
                    document.where(("rules", index, "id")),
                )
            )
        seen.add(rule.id)
    told = (
        {rule.topic for rule in terms.rules}
        | {topic for topic, _, _ in terms.spoken}
        | {*terms.silent, *terms.not_read}
    )
    if not terms.head.unread and (untold := sorted(set(words.topics) - told)):
        problems.append(
            Problem(f"{path.stem}.topics", f"nothing is said of {', '.join(untold)}", document.where(("topics",)))
        )
    if terms.id != path.stem:
        problems.append(Problem(f"{path.stem}.id", f"{terms.id!r} is not the file's name", document.where(("id",))))
    if problems:
        raise InvalidInput(problems)
    return terms


def matches(pattern: str, model: str) -> bool:
    """Whether a hub id matches a catalogue pattern (`*` stands for any characters; case does not count)."""
    first, *rest = pattern.lower().split("*")
    text = model.lower()
    if not rest:
        return text == first
    *inner, last = rest
    if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in inner:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _literal_length(pattern: str) -> int:
    return len(pattern.replace("*", "")) + ("*" not in pattern)  # an exact id beats a glob of the same length
