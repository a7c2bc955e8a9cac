"""What a release says about itself, worked out once from the run record; every document only reads it.

Licence ids, digests, names and versions therefore cannot differ between the card, the bills of materials and the
provenance of one release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from toolkit.errors import InvalidInput, Problem
from toolkit.files.digests import sha256_json
from toolkit.licensing.planned import breaks_naming
from toolkit.release.form import ADAPTER, Form
from toolkit.release.record import Record, at, entries_of, mapping, text, whole
from toolkit.release.terms import NamedTerms, declared, named, unknown

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Effective:
    """A licence that survives in the lineage: of which work, in which role (model, adapter, outputs, dataset)."""

    terms: NamedTerms
    role: str
    work: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Obligation:
    """One duty that the verdict lists. `value` is the exact string owed, where the licence fixes one."""

    id: str
    terms: NamedTerms
    clause: str
    text: str
    value: str | None
    check: str

    def __str__(self) -> str:
        where = f"{self.terms.id} {self.clause}".strip()
        return f"{self.id} ({where})"


@dataclass(frozen=True, slots=True)
class Base:
    """The base model. `name` is what others can look up; `digest` is the SHA-256 of its file list in canonical JSON."""

    name: str
    is_hub: bool
    source: str
    revision: str | None
    files: Mapping[str, str]
    digest: str
    parameters: int | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data the model learnt from. Digest, size in bytes and rows are known for what the run read itself."""

    name: str
    is_hub: bool
    terms: NamedTerms | None
    sha256: str | None
    bytes: int | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that more than one document says. `terms` is what the release shows as its licence."""

    record: Record
    record_sha256: str
    name: str
    started: datetime
    finished: datetime
    tool: str
    tool_version: str
    base: Base
    data: tuple[Dataset, ...]
    effective: tuple[Effective, ...]
    obligations: tuple[Obligation, ...]
    governing: tuple[NamedTerms, ...]
    planned: NamedTerms | None
    terms: NamedTerms
    form: Form = ADAPTER

    @property
    def adapter_type(self) -> str:
        """`LoRA`, `QLoRA`, `DoRA`, `QDoRA`, or over an int8 base `LoRA (int8 base)` and `DoRA (int8 base)`."""
        kind = str(at(self.record, "adapter.type"))
        name = "DoRA" if at(self.record, "adapter.dora") else "LoRA"
        return {"lora": name, "qlora": f"Q{name}", "lora-8bit": f"{name} (int8 base)"}.get(kind, kind)

    @property
    def adapter_tags(self) -> tuple[str, ...]:
        """The adapter's kind as hubs search for it."""
        first = self.adapter_type.partition(" ")[0].lower()
        more = {"rslora": at(self.record, "adapter.rslora"), "8-bit": at(self.record, "adapter.type") == "lora-8bit"}
        return (first, *(tag for tag, holds in more.items() if holds))

    @property
    def declared(self) -> str:
        """SPDX expression of what the release declares."""
        return self.terms.spdx if self.terms.id != "several" else expression(self.governing)

    @property
    def concluded(self) -> str:
        """SPDX expression of every licence that holds: the release's own and those of the works it descends from."""
        own = () if self.terms.id in ("several", "unknown") else (self.terms,)
        return expression((*own, *self.governing))

    @property
    def all_terms(self) -> tuple[NamedTerms, ...]:
        """Every licence that any document names, each once."""
        own = () if self.terms.id in ("several", "unknown") else (self.terms,)
        data = (dataset.terms for dataset in self.data if dataset.terms)
        return tuple(dict.fromkeys((*own, *(item.terms for item in self.effective), *data)))


def facts_of(record: Record, name: str | None = None, form: Form = ADAPTER) -> Facts:
    """The facts of a run; `name` overrides the planned name, `form` is what is handed over. Raises InvalidInput for dates that are none."""
    effective = tuple(
        Effective(_terms(entry), str(entry["role"]), text(entry, "from") or "", text(entry, "evidence") or "")
        for entry in entries_of(record, "verdict.effective_licenses")
    )
    base = _base(record)
    said = str(at(record, "base.id"))
    effective = tuple(
        replace(
            item,
            work=base.name if item.work in (said, "") else item.work,
            evidence=item.evidence.replace(said, base.name),
        )
        for item in effective
    )
    spdx = {item.terms.id: item.terms for item in effective}
    obligations = tuple(
        Obligation(
            id=str(entry["id"]),
            terms=spdx.get(str(entry["license"])) or named(str(entry["license"])),
            clause=text(entry, "clause") or "",
            text=text(entry, "text") or "",
            value=_filled(text(entry, "value"), str(entry["license"]), effective),
            check=str(entry["check"]),
        )
        for entry in entries_of(record, "verdict.obligations")
    )
    governing = tuple(dict.fromkeys(item.terms for item in effective if item.role in ("model", "adapter")))
    planned = declared(words) if (words := text(record, "use.release.license")) else None
    return Facts(
        record=record,
        record_sha256=sha256_json(record),
        name=name or _default_name(record, obligations),
        started=_moment(record, "started"),
        finished=_moment(record, "finished"),
        tool=str(at(record, "tool.name")),
        tool_version=str(at(record, "tool.version")),
        base=base,
        data=_data(record),
        effective=effective,
        obligations=obligations,
        governing=governing,
        planned=planned,
        terms=_shown(record, governing, planned, obligations),
        form=form,
    )


def expression(terms: Iterable[NamedTerms]) -> str:
    """The SPDX expression under which all of `terms` hold; NOASSERTION for none, or when one of them is not known."""
    codes = tuple(dict.fromkeys(item.spdx for item in terms))
    return " AND ".join(codes) if codes and "NOASSERTION" not in codes else "NOASSERTION"


def is_hub_id(name: str) -> bool:
    """Whether a name has the form `owner/name` that a hub looks up."""
    return bool(_HUB_ID.fullmatch(name))


def base_summary(files: Mapping[str, str]) -> str:
    """One digest for a set of files: SHA-256 of `{name: sha256}` in canonical JSON."""
    return sha256_json(dict(files))


def _shown(
    record: Record, governing: tuple[NamedTerms, ...], planned: NamedTerms | None, obligations: tuple[Obligation, ...]
) -> NamedTerms:
    """The licence on the card: the planned one where every model licence is permissive, else the strictest of them.

    A card that shows the planned licence of a Llama or Gemma derivative would hide the base's terms, which travel on.
    """
    objected = any(
        str(entry.get("id", "")).startswith("planned-license") for entry in entries_of(record, "verdict.findings")
    )
    permissive = all(item.permissive for item in governing)
    if planned and governing and permissive and not objected:
        return planned
    strict = tuple(item for item in governing if not item.permissive) or governing
    if not strict:
        return unknown()
    if len(strict) == 1 or permissive:  # among permissive ones, the one that asks most is kept in view
        return max(
            strict, key=lambda item: (sum(owed.terms.id == item.id for owed in obligations), item.spdx == "Apache-2.0")
        )
    ids = "-and-".join(item.id for item in strict)
    return NamedTerms("several", " and ".join(item.name for item in strict), expression(strict), None, "other", ids)


def _terms(entry: Mapping[str, object]) -> NamedTerms:
    """A verdict names a licence by id, or by nothing where it does not know the work's licence."""
    identifier, spdx = text(entry, "id"), text(entry, "spdx")
    if identifier:
        return named(identifier, spdx)
    return named(spdx, spdx) if spdx and spdx.startswith("LicenseRef-") else unknown()


def _base(record: Record) -> Base:
    """A local path says nothing to others and may tell too much: a folder goes by its own name. It does not go by a
    model that it descends from: its weights are other weights."""
    name, source = str(at(record, "base.id")), str(at(record, "base.source"))
    if source == "folder":
        name = PurePosixPath(name.rstrip("/")).name or "base"
    files = {file: str(at(entry, "sha256")) for file, entry in mapping(record, "base.files").items()}
    is_hub = source != "folder" and is_hub_id(name) and not name.startswith("embedded:")
    return Base(
        name,
        is_hub,
        source,
        text(record, "base.revision"),
        files,
        base_summary(files),
        whole(record, "base.parameters"),
    )


def _data(record: Record) -> tuple[Dataset, ...]:
    """The training data, source by source, then whatever else the intended use names as data trained on, and what the
    adapter had learnt from that training began with."""
    stated = (*entries_of(record, "use.datasets"), *entries_of(record, "adapter.start.datasets"))
    words = {str(entry.get("id")): text(entry, "license") for entry in stated}
    sources = entries_of(record, "data.sources") or ({**mapping(record, "data.train"), **_named(record)},)
    read = [_source(source, words) for source in sources]
    own = {name for source in sources for name in (text(source, "id"), text(source, "path")) if name}
    own |= {dataset.name for dataset in read}
    others = (
        Dataset(_called(other), is_hub_id(other), declared(said) if said else None, None, None, None)
        for other, said in words.items()
        if other not in own
    )
    return (*read, *others)


def _called(name: str) -> str:
    """A data set's id; of one that goes by a path, its last part."""
    return (
        name
        if is_hub_id(name) and not name.endswith((".jsonl", ".json", ".csv", ".parquet"))
        else PurePosixPath(name).name
    )


def _named(record: Record) -> dict[str, object]:
    """Id and licence of the one source of a run that has no list of them (made before 0.2)."""
    return {key: value for key in ("id", "license") if (value := text(record, f"data.{key}"))}


def _source(source: Record, words: Mapping[str, str | None]) -> Dataset:
    """A source by its id, or by what it is called where it lies: a path on this machine is nobody else's business."""
    path = text(source, "path") or "training data"
    hub = text(source, "revision") is not None
    identifier = text(source, "id") or (path.partition("@")[0] if hub else None)
    name = identifier or PurePosixPath(path).name
    said = text(source, "license") or words.get(name) or words.get(path)
    return Dataset(
        name=name,
        is_hub=is_hub_id(identifier or ""),
        terms=declared(said) if said else None,
        sha256=text(source, "sha256"),
        bytes=whole(source, "bytes"),
        rows=whole(source, "rows"),
    )


def _default_name(record: Record, obligations: tuple[Obligation, ...]) -> str:
    """The planned name, else one made of the output folder's name, with the prefix that a licence asks for."""
    if planned := text(record, "use.release.name"):
        return planned
    output = text(record, "recipe.resolved.output") or text(record, "recipe.path") or str(at(record, "id"))
    name = re.sub(r"\.ya?ml\Z", "", PurePosixPath(output.rstrip("/")).name) or "adapter"
    for owed in obligations:
        if owed.id == "name-prefix" and owed.value and breaks_naming(name, owed.id, owed.value):
            name = f"{owed.value.replace(' ', '-')}-{name}"  # a hub name has no spaces
    return name


def _filled(value: str | None, license_: str, effective: tuple[Effective, ...]) -> str | None:
    """A notice with the names in it for which its licence leaves a blank (the Open Data Commons write DATABASE NAME)."""
    names = [item.work for item in effective if item.role == "dataset" and item.terms.id == license_]
    return value.replace("DATABASE NAME", " and ".join(names)) if value and names else value


def _moment(record: Record, path: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(at(record, path)))
    except ValueError as error:
        raise InvalidInput(
            [Problem(path, "must be a date and time such as 2026-11-23T10:00:00Z", "run.json")]
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
