"""The lineage of a model, read from what each of its works says: card, adapter configuration, catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toolkit.errors import TkError
from toolkit.licensing.judge import judge
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Finding, Target, Verdict
from toolkit.models.card import modalities
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve
from toolkit.models.snapshot import Snapshot

_DEEPEST = 16  # longer chains of bases than any registry shows


class Examination(NamedTuple):
    """A model looked at for one use: its snapshot, the works involved, and the verdict."""

    snapshot: Snapshot
    works: tuple[Work, ...]
    verdict: Verdict


def examine(target: str, use: IntendedUse, access: Access, *, strict: bool = False) -> Examination:
    """The verdict on a model reference. Raises TkError when the reference resolves to nothing."""
    snapshot = resolve(parse_reference(target), access._replace(weights=False))
    role = "outputs" if use.outputs_train else None
    works = [read_work(snapshot, access, role=role)]
    if use.outputs_train:
        works += _student(use.outputs_train.model, access)
    works += [_dataset(dataset.id, dataset.license) for dataset in use.datasets]
    if use.modalities is None:
        use = use._replace(modalities=modalities(snapshot.config))
    told = Target(snapshot.id, snapshot.revision, snapshot.source)
    verdict = judge(told, tuple(works), use, access.library, strict=strict)
    if snapshot.note:
        text = f"This is the catalogue's answer: {snapshot.note}."
        verdict = verdict._replace(findings=(Finding("answer-from-catalogue", "info", text), *verdict.findings))
    return Examination(snapshot, tuple(works), verdict)


def read_work(snapshot: Snapshot, access: Access, *, role: str | None = None, above: Sequence[str] = ()) -> Work:
    """A snapshot as a work of a lineage, with its bases up to the roots. `above` are the works that led here."""
    card = snapshot.card
    adapter = snapshot.adapter_config
    names = list(card.bases)
    if adapter and isinstance(adapter.get("base_model_name_or_path"), str):
        names.append(str(adapter["base_model_name_or_path"]))
    for match in access.library.catalogued(snapshot.id):
        names.extend(match.pattern.base)
    chain = (*above, snapshot.id)
    bases = tuple(_base(name, access, role, chain) for name in dict.fromkeys(names) if name)
    return Work(
        id=snapshot.id,
        role=role or ("adapter" if adapter else "model"),
        source=snapshot.source,
        revision=snapshot.revision,
        declared=card.licenses,
        declared_name=card.license_name,
        where=_where(card.where, snapshot),
        bases=bases,
    )


def _where(where: str | None, snapshot: Snapshot) -> str | None:
    """Where a declaration stands, within the model unless the model is the reader's own folder: evidence goes onto
    cards, and where this machine keeps its caches is nobody's business."""
    if where is None or snapshot.folder is None or snapshot.source == "folder":
        return where
    return where.removeprefix(f"{snapshot.folder}/")


def _base(name: str, access: Access, role: str | None, chain: tuple[str, ...]) -> Work:
    if name in chain:
        return Work(
            name, role or "model", "missing", problem=f"{chain[-1]} names {name} as its base, which descends from it"
        )
    if len(chain) > _DEEPEST:
        return Work(
            name,
            role or "model",
            "missing",
            problem=f"the lineage of {chain[0]} goes on beyond {name}; it was not followed",
        )
    try:
        snapshot = resolve(parse_reference(name), access._replace(weights=False))
    except TkError as error:
        return Work(
            name, role or "model", "missing", problem=f"the base {name} of {chain[-1]} was not found: {error.message}"
        )
    return read_work(snapshot, access, role=role, above=chain)


def _student(model: str, access: Access) -> list[Work]:
    """The base of the student that a teacher's outputs train: its licence is judged too."""
    try:
        return [read_work(resolve(parse_reference(model), access._replace(weights=False)), access)]
    except TkError as error:
        return [Work(model, "model", "missing", problem=f"the student's base {model} was not found: {error.message}")]


def _dataset(identifier: str, terms: str | None) -> Work:
    declared = (terms,) if terms else ()
    return Work(identifier, "dataset", "use", declared=declared, where="the intended use" if terms else None)
