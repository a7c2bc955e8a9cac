"""What is known of a data set: the shipped table of well-known ones, and the data set's own card where it is at hand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit.files.schema import Flag, Key, ListOf, Record, Text, read_document
from toolkit.files.strict_yaml import load_file
from toolkit.licensing.library import Library, matches
from toolkit.licensing.lineage import OWN_DATA, Work
from toolkit.licensing.use import DatasetUse
from toolkit.licensing.verdict import Finding
from toolkit.models.card import Card, read_card
from toolkit.models.resolve import cached_folder

TABLE = Path("datasets") / "known.yaml"
OPENAI_OUTPUT = "openai-output"

_NON_COMMERCIAL = re.compile(
    r"non-?\s?commercial|cc[- ]by[- ]nc|research (?:purposes )?only|only for research", re.IGNORECASE
)
_SUBSETS = re.compile(
    r"different licen[cs]es|(?:portions?|parts?|subsets?|some) of (?:the|this) data|licen[cs]es? (?:apply|vary|differ)",
    re.IGNORECASE,
)


class MadeBy(NamedTuple):
    """A model that wrote a data set, and the terms on which it did (a licence of the library), where they are known."""

    model: str
    terms: str | None = None


class KnownData(NamedTuple):
    """A well-known data set. `licenses` are ids of the library, none where none is stated; `conflict` says where sources
    differ on them, and `nc_subset` that a part is not for commercial use."""

    match: str
    evidence: str
    licenses: tuple[str, ...] = ()
    made_by: tuple[MadeBy, ...] = ()
    nc_subset: bool = False
    conflict: str | None = None
    note: str | None = None


def known_data(identifier: str, library: Library) -> KnownData | None:
    """The table's entry for a data set: the longest pattern that matches its id, in any case."""
    path = library.folder / TABLE
    if not path.is_file():
        return None
    raw = read_document(load_file(path), _SHAPE, "datasets")
    assert isinstance(raw, dict)
    found = [entry for entry in raw["datasets"] if matches(entry.match, identifier)]
    return max(found, key=lambda entry: len(entry.match), default=None)


def read_data(stated: DatasetUse, commercial: bool | None, library: Library) -> tuple[Work, ...]:
    """A data set of a use as works: itself, and the models that speak through it.

    The licence that a use states, the one on the card and those of the table are all judged: the stricter governs.
    """
    known = known_data(stated.id, library)
    card, folder = _card(stated.id)
    declared = tuple(dict.fromkeys(filter(None, (stated.license, *card.licenses))))
    own = [tag.lower() for tag in declared] == [OWN_DATA]
    said = {head.id for tag in declared if (head := library.declared(tag, card.license_name))}
    tabled = () if known is None or own else tuple(name for name in known.licenses if name not in said)
    findings = tuple(_findings(stated.id, known, card, folder, said, commercial, library))
    where = "the intended use" if stated.license else card.where
    if not declared and tabled and known:
        where = f"the table of known data sets: {known.evidence}"
    work = Work(
        stated.id, "dataset", "use", declared=(*declared, *tabled), declared_name=card.license_name, where=where,
        findings=findings,
    )  # fmt: skip
    return (work, *_writers(stated.id, known, said | set(tabled), library))


def _writers(data: str, known: KnownData | None, judged: set[str], library: Library) -> Iterator[Work]:
    """Models under a licence that follows their outputs into data. The contract of a paid service binds whoever used
    it, so it is told as a finding and is no licence of the data."""
    for maker in known.made_by if known else ():
        if maker.terms in library.ids and maker.terms not in judged and library.head(maker.terms).subject == "model":
            where = f"{data} holds its outputs ({known.evidence if known else ''})"
            yield Work(maker.model, "outputs", "table", declared=(maker.terms,), where=where, through_data=True)


def _findings(
    data: str,
    known: KnownData | None,
    card: Card,
    folder: Path | None,
    said: set[str],
    commercial: bool | None,
    library: Library,
) -> Iterator[Finding]:
    if known and known.conflict:
        text = f"Sources differ on the licence of {data}: {known.conflict.rstrip('.')}."
        yield Finding("dataset-license-disputed", "warning", text, facts=("datasets",))
    for maker in known.made_by if known else ():
        text = f"{data} was written by {maker.model} ({known.evidence if known else ''})."
        yield Finding("dataset-is-model-output", "info", text, maker.terms, facts=("datasets",))
        yield from _service_terms(data, maker, library)
    admitted = _admits(card, folder)
    if (known and known.nc_subset) or admitted:
        reason = (
            (known.note if known and known.nc_subset else None) or admitted or "the table of known data sets says so"
        )
        text = f"A part of {data} is not for commercial use: {reason.rstrip('.')}."
        review = "needs-review" if commercial is not False else None
        severity = "warning" if review else "info"
        yield Finding("dataset-has-nc-subset", severity, text, level=review, facts=("datasets", "commercial"))


def _service_terms(data: str, maker: MadeBy, library: Library) -> Iterator[Finding]:
    if maker.terms not in library.ids or library.head(maker.terms).subject == "model":
        return
    for rule in library.terms(maker.terms).rules:
        if rule.id == OPENAI_OUTPUT:
            text = f"{data} holds output of {maker.model}. {rule.summary}"
            yield Finding(OPENAI_OUTPUT, "warning", text, maker.terms, rule.clause, "needs-review", rule.id, None,
                          ("datasets",))  # fmt: skip


def _admits(card: Card, folder: Path | None) -> str | None:
    """The sentence in which a card admits that a part of the data is not for commercial use."""
    if folder is None or not card.body:
        return None
    for sentence in re.split(r"(?<=[.!?])\s+|\n\n", card.body):
        if _NON_COMMERCIAL.search(sentence) and (_SUBSETS.search(sentence) or _SUBSETS.search(card.body)):
            return "its own card says so"
    return None


def _card(identifier: str) -> tuple[Card, Path | None]:
    """The card of a data set that is a folder here or lies in the hub cache; an empty one otherwise."""
    folder = Path(identifier).expanduser()
    if not folder.is_dir():
        cached = cached_folder(identifier, "datasets") if identifier.count("/") == 1 else None
        if cached is None:
            return Card(), None
        folder = cached
    return (read_card(folder), folder) if (folder / "README.md").is_file() else (Card(), None)


_MADE_BY = Record({"model": Key(Text(), required=True), "terms": Key(Text())}, MadeBy)
_SHAPE = Record(
    {
        "datasets": Key(
            ListOf(
                Record(
                    {
                        "match": Key(Text(), required=True),
                        "evidence": Key(Text(), required=True),
                        "licenses": Key(ListOf(Text())),
                        "made_by": Key(ListOf(_MADE_BY)),
                        "nc_subset": Key(Flag()),
                        "conflict": Key(Text()),
                        "note": Key(Text()),
                    },
                    KnownData,
                )
            ),
            required=True,
        )
    }
)
