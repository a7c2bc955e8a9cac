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
from toolkit.models.card import Card, license_files, read_card
from toolkit.models.license_files import texts_of
from toolkit.models.resolve import cached_folder

TABLE = Path("datasets") / "known.yaml"
OPENAI_OUTPUT = "openai-output"
SERVICE = "openai-tou-2024-12-11"  # the newest terms at hand, for data of which only the service is known

_SERVICE = r"(?i)\b(?:openai|chatgpt|gpt-?(?:3\.5|4)|text-davinci)"
_MAKING = r"(?i)\b(?:generat|synthe|distill|creat|written|wrote|produc|annotat|translat|output|respons|complet)"

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
    """The table's entry for a data set: the longest pattern that matches its id, in any case. An address of the hub, a
    revision, or the bare name of a well-known set is understood too."""
    path = library.folder / TABLE
    if not path.is_file():
        return None
    raw = read_document(load_file(path), _SHAPE, "datasets")
    assert isinstance(raw, dict)
    name = _plain(identifier)
    found = [
        entry
        for entry in raw["datasets"]
        if matches(entry.match, name) or entry.match.partition("/")[2].lower() == name.lower()
    ]
    return max(found, key=lambda entry: len(entry.match), default=None)


def read_data(stated: DatasetUse, commercial: bool | None, library: Library) -> tuple[Work, ...]:
    """A data set of a use as works: itself, and the models that speak through it.

    The licence that a use states, the one on the card, that of a licence file beside it and those of the table are all
    judged: the stricter governs.
    """
    known = known_data(stated.id, library)
    card, folder = _card(stated.id)
    declared = tuple(dict.fromkeys(filter(None, (stated.license, *card.licenses))))
    own = [tag.lower() for tag in declared] == [OWN_DATA]
    said = {head.id for tag in declared if (head := library.declared(tag, card.license_name))}
    tabled = () if known is None or own else tuple(name for name in known.licenses if name not in said)
    findings = [*_findings(stated.id, known, card, commercial, library), *_wrote(stated.id, said, library)]
    if known and own:
        text = f"{stated.id} is stated to be one's own, and is known as {known.match} ({known.evidence})."
        findings.append(Finding("own-data-is-known", "warning", text, level="needs-review", facts=("datasets",)))
    where = "the intended use" if stated.license else card.where
    if not declared and tabled and known:
        where = f"the table of known data sets: {known.evidence}"
    work = Work(
        stated.id,
        "dataset",
        "use",
        declared=(*declared, *tabled),
        declared_name=card.license_name,
        where=where,
        texts=texts_of(license_files(folder), library) if folder else (),
        mentioned=tuple(
            (identifier, f"{folder}/README.md:{card.body_line + line - 1}")
            for identifier, line in (library.mentioned(card.body, of_data=True) if card.body else ())
        ),
        findings=tuple(finding._replace(works=(stated.id,)) for finding in findings),
    )
    return (work, *_writers(stated.id, known, said | set(tabled), library))


def _plain(identifier: str) -> str:
    """A data set's id without the address, the kind and the revision that people copy along."""
    name = identifier
    for prefix in ("https://huggingface.co/", "http://huggingface.co/", "hf.co/", "hf://"):
        name = name.removeprefix(prefix)
    return name.removeprefix("datasets/").partition("@")[0].strip("/")


def _wrote(data: str, said: set[str], library: Library) -> Iterator[Finding]:
    """Data declared under a model's licence, where that licence speaks of training on what the model wrote."""
    for identifier in sorted(said):
        rules = library.terms(identifier).rules
        if any("train" in rule.trigger and rule.kind != "permission" for rule in rules) and (
            library.head(identifier).subject == "model"
        ):
            text = f"{data} is under {identifier}, a model's licence: it was written by such a model."
            yield Finding("dataset-is-model-output", "info", text, identifier, facts=("datasets",))


def _writers(data: str, known: KnownData | None, judged: set[str], library: Library) -> Iterator[Work]:
    """Models under a licence that follows their outputs into data. The contract of a paid service binds whoever used
    it, so it is told as a finding and is no licence of the data."""
    for maker in known.made_by if known else ():
        if maker.terms in library.ids and maker.terms not in judged and library.head(maker.terms).subject == "model":
            where = f"{data} holds its outputs ({known.evidence if known else ''})"
            yield Work(maker.model, "outputs", "table", declared=(maker.terms,), where=where, through_data=True)


def _findings(
    data: str, known: KnownData | None, card: Card, commercial: bool | None, library: Library
) -> Iterator[Finding]:
    if known and known.conflict:
        text = f"Sources differ on the licence of {data}: {known.conflict.rstrip('.')}."
        yield Finding("dataset-license-disputed", "warning", text, facts=("datasets",))
    if known and known.note:
        yield Finding("dataset-note", "info", f"{data}: {known.note.rstrip('.')}.", facts=("datasets",))
    makers = list(known.made_by) if known else []
    evidence = known.evidence if known else ""
    if not any(maker.terms == SERVICE for maker in makers) and (line := _says_service(card)):
        makers.append(MadeBy("a model of OpenAI's services", SERVICE))
        evidence = f"its own card, line {line}"
    for maker in makers:
        text = f"{data} was written by {maker.model} ({evidence})."
        yield Finding("dataset-is-model-output", "info", text, maker.terms, facts=("datasets",))
        yield from _service_terms(data, maker, library)
    admitted = _admits(card)
    if (known and known.nc_subset) or admitted:
        reason = (known.note if known and known.nc_subset else None) or "the table of known data sets says so"
        text = f"A part of {data} is not for commercial use: {admitted or reason.rstrip('.')}."
        review = "needs-review" if commercial is not False else None
        severity = "warning" if review else "info"
        yield Finding("dataset-has-nc-subset", severity, text, level=review, facts=("datasets", "commercial"))


def _says_service(card: Card) -> int | None:
    """The line on which a card says that OpenAI's services wrote the data."""
    for number, line in enumerate(card.body.splitlines(), start=card.body_line):
        if re.search(_SERVICE, line) and re.search(_MAKING, line):
            return number
    return None


def _service_terms(data: str, maker: MadeBy, library: Library) -> Iterator[Finding]:
    if maker.terms not in library.ids or library.head(maker.terms).subject == "model":
        return
    for rule in library.terms(maker.terms).rules:
        if rule.id == OPENAI_OUTPUT:
            text = f"{data} holds output of {maker.model}. {rule.summary}"
            yield Finding(OPENAI_OUTPUT, "warning", text, maker.terms, rule.clause, "needs-review", rule.id, None,
                          ("datasets",))  # fmt: skip


def _admits(card: Card) -> str | None:
    """Where a card admits that a part of the data is not for commercial use."""
    for sentence in re.split(r"(?<=[.!?])\s+|\n\n", card.body):
        if _NON_COMMERCIAL.search(sentence) and (_SUBSETS.search(sentence) or _SUBSETS.search(card.body)):
            return "its own card says so"
    return None


def _card(identifier: str) -> tuple[Card, Path | None]:
    """The card of a data set that is a folder here or lies in the hub cache; an empty one otherwise."""
    folder = Path(identifier).expanduser()
    if not folder.is_dir():
        name = _plain(identifier)
        cached = cached_folder(name, "datasets") if name.count("/") == 1 else None
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
