"""The lineage of a model, read from what each of its works says: card, adapter configuration, catalogue, name."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from toolkit.errors import TkError
from toolkit.licensing.judge import PLAINLY, Manner, judge
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Finding, Target, Verdict
from toolkit.models.card import modalities
from toolkit.models.license_files import license_texts
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve
from toolkit.models.snapshot import Snapshot

_DEEPEST = 16  # longer chains of bases than any registry shows
_MOST_WORKS = 200  # a lineage that branches beyond this is a mistake or an attack


class Examination(NamedTuple):
    """A model looked at for one use: its snapshot, the works involved, and the verdict."""

    snapshot: Snapshot
    works: tuple[Work, ...]
    verdict: Verdict


def examine(target: str, use: IntendedUse, access: Access, manner: Manner = PLAINLY) -> Examination:
    """The verdict on a model reference. Raises TkError when the reference resolves to nothing."""
    snapshot = resolve(parse_reference(target), access._replace(weights=False))
    return examine_snapshot(snapshot, use, access, manner)


def examine_snapshot(snapshot: Snapshot, use: IntendedUse, access: Access, manner: Manner = PLAINLY) -> Examination:
    """The verdict on a model that is resolved already."""
    reader = _Reader(access)
    work = reader.work(snapshot, role=role_of_target(use))
    works = (work, *_companions(use, reader))
    told = Target(snapshot.id, snapshot.revision, snapshot.source, _where(snapshot.card.where, snapshot))
    return Examination(snapshot, works, judge(told, works, use, access.library, dated(manner)))


def role_of_target(use: IntendedUse) -> str | None:
    """The role that a use gives its target and what that descends from; None where each work has its own."""
    return "outputs" if use.outputs_train else None


def companions(use: IntendedUse, access: Access) -> tuple[Work, ...]:
    """What a use touches beside its target: the base of a student, and data."""
    return _companions(use, _Reader(access))


def dated(manner: Manner) -> Manner:
    """The manner with the day on which waivers are read."""
    if not manner.policy or manner.today:
        return manner
    from datetime import date

    return manner._replace(today=date.today().isoformat())


def named_after(name: str, library: Library, where: str | None, *, unread: bool) -> tuple[str, Finding] | None:
    """The base that a name shows where nothing names one, and the finding that says so. `unread` when the work's own
    card was not read."""
    found = library.resemblance(name)
    if found is None or found.base.lower() == name.lower():
        return None
    text = f"{name} names no base; its name matches {found.pattern}, so {found.base} is taken for its base."
    if unread:
        text += " What else its publisher asks was not read."
    level = "needs-review" if unread else None
    return found.base, Finding("lineage-by-name", "warning", text, level=level, where=where)


def _companions(use: IntendedUse, reader: "_Reader") -> tuple[Work, ...]:
    works = [reader.student(use.outputs_train.model)] if use.outputs_train else []
    if use.datasets:
        from toolkit.models.data_card import read_data
    for dataset in use.datasets:
        works += read_data(dataset, use.commercial, reader.library)
    return tuple(works)


class _Reader:
    """Reads works and their bases; each reference is resolved once, however many works name it."""

    def __init__(self, access: Access) -> None:
        self.access = access._replace(weights=False)
        self.library = access.library
        self.snapshots: dict[str, Snapshot | TkError] = {}
        self.read = 0

    def work(self, snapshot: Snapshot, *, role: str | None = None, above: Sequence[str] = ()) -> Work:
        """A snapshot as a work of a lineage, with its bases up to the roots. `above` are the works that led here."""
        self.read += 1
        card = snapshot.card
        adapter = snapshot.adapter_config
        where = _where(card.where, snapshot)
        names = [plain_name(name) for name in card.bases]
        if adapter and isinstance(adapter.get("base_model_name_or_path"), str):
            names.append(plain_name(str(adapter["base_model_name_or_path"])))
        catalogued = self.library.catalogued(snapshot.id)
        for match in catalogued:
            names.extend(match.pattern.base)
        findings: list[Finding] = []
        if snapshot.note and not above:
            text = f"This is the catalogue's answer: {snapshot.note}."
            findings.append(Finding("answer-from-catalogue", "info", text))
        nameless = not any(names) and not catalogued and snapshot.source != "embedded"
        unread = snapshot.folder is None
        if nameless and (shown := named_after(snapshot.id, self.library, where, unread=unread)):
            names.append(shown[0])
            findings.append(shown[1])
        chain = (*above, snapshot.id)
        return Work(
            id=snapshot.id,
            role=role or ("adapter" if adapter else "model"),
            source=snapshot.source if snapshot.folder or catalogued else "name",
            revision=snapshot.revision,
            declared=card.licenses,
            declared_name=card.license_name,
            where=where,
            bases=tuple(self._base(name, role, chain) for name in dict.fromkeys(names) if name),
            texts=license_texts(snapshot, self.library),
            mentioned=self._mentioned(snapshot),
            findings=tuple(findings),
            modalities=self._modalities(snapshot),
        )

    def student(self, model: str) -> Work:
        """The base of the student that a teacher's outputs train: its licence is judged too."""
        work = self._base(model, None, ())
        return work._replace(problem=f"the student's base {model} was not found") if work.problem else work

    def _modalities(self, snapshot: Snapshot) -> tuple[str, ...] | None:
        """What goes in and out of a model, as its configuration or the catalogue says."""
        known = modalities(snapshot.config) or ()
        for match in self.library.catalogued(snapshot.id):
            known = (*known, *(match.pattern.modalities or ()))
        return tuple(dict.fromkeys(known)) or None

    def _mentioned(self, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
        card = snapshot.card
        if "licen" not in card.body.lower():
            return ()
        place = _where(f"{snapshot.folder}/README.md", snapshot)
        return tuple(
            (identifier, f"{place}:{card.body_line + line - 1}")
            for identifier, line in self.library.mentioned(card.body)
        )

    def _base(self, name: str, role: str | None, chain: tuple[str, ...]) -> Work:
        if "*" in name:  # a pattern of the catalogue, taken for the base by name
            return Work(name, role or "model", "catalogue")
        led_here = chain[-1] if chain else name
        if name in chain:
            return self._missing(name, role, f"{led_here} names {name} as its base, which descends from it")
        if len(chain) > _DEEPEST or self.read >= _MOST_WORKS:
            return self._missing(name, role, f"the lineage of {chain[0]} goes on beyond {name}; it was not followed")
        if name not in self.snapshots:
            try:
                self.snapshots[name] = resolve(parse_reference(name), self.access)
            except TkError as error:
                self.snapshots[name] = error
        found = self.snapshots[name]
        if not isinstance(found, TkError):
            return self.work(found, role=role, above=chain)
        if shown := named_after(name, self.library, None, unread=True):
            base = self._base(shown[0], role, (*chain, name))
            return Work(name, role or "model", "name", findings=(shown[1],), bases=(base,))
        return self._missing(name, role, f"the base {name} of {led_here} was not found: {found.message}")

    def _missing(self, name: str, role: str | None, problem: str) -> Work:
        return Work(name, role or "model", "missing", problem=problem)


def plain_name(name: str) -> str:
    """A base as cards write it, an address of the hub included."""
    for prefix in ("https://huggingface.co/", "http://huggingface.co/", "hf.co/"):
        if name.startswith(prefix):
            return "/".join(PurePosixPath(name.removeprefix(prefix)).parts[:2])
    return name.strip()


def _where(where: str | None, snapshot: Snapshot) -> str | None:
    """Where a declaration stands, within the model unless the model is the reader's own folder: evidence goes onto
    cards, and where this machine keeps its caches is nobody's business."""
    if where is None or snapshot.folder is None or snapshot.source == "folder":
        return where
    return where.removeprefix(f"{snapshot.folder}/")
