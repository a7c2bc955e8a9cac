"""Works that are alike, kept once. Two works are alike when a check cannot tell them apart but for their names: the same
effective licences, findings, families and modalities. A work is concluded by the reasoning itself, never here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from toolkit.audit.outcome import noted
from toolkit.audit.table.columns import SEPARATOR
from toolkit.audit.table.nodes import CATALOGUED, MISSING, NAMED, PATTERN, ROW
from toolkit.audit.table.prose import license_texts
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Conclusion, Work, conclude
from toolkit.models.lineage import named_after

TABLE = "table"
_MOST_WORKS = 200  # works that stand for one lineage; what branches further is a mistake or an attack
# What goes in, by the hub's name for a task, where it is more than text.
_TASKS = {
    "any-to-any": ("text", "image", "audio"), "audio-text-to-text": ("text", "audio"),
    "automatic-speech-recognition": ("audio",), "image-text-to-text": ("text", "image"),
    "image-to-text": ("text", "image"), "text-generation": ("text",), "text2text-generation": ("text",),
    "video-text-to-text": ("text", "video"), "visual-question-answering": ("text", "image"),
}  # fmt: skip


class States:
    """The different works met so far: a code for each, and one work that stands for all that are alike."""

    def __init__(self, library: Library, role: str | None, waived: frozenset[str]) -> None:
        self.library = library
        self.waived = waived  # works that waivers of the policy name
        self.role = role  # of the target of the use and of what it descends from; None: as each work says
        self.works: list[Work] = []
        self.conclusions: list[Conclusion] = []
        self._of_work: dict[int, Conclusion] = {}  # by identity: works are large, and those kept here stay
        self._others: dict[int, Work] = {}
        self._sizes: list[int] = []
        self._families: list[frozenset[str]] = []
        self._codes: dict[object, int] = {}
        self._added: dict[tuple[int, ...], int] = {}

    def add(self, signature: int, read: Callable[[], Mapping[str, object]], bases: Iterable[int]) -> int:
        """The code of a node with this signature whose bases have these codes. The node itself is read when none like it
        was met before. Of bases that are alike two say what all of them do."""
        ordered = sorted(bases)
        codes = tuple(code for at, code in enumerate(ordered) if at < 2 or ordered[at - 2] != code)
        known = self._added.get((signature, *codes))
        if known is None:
            known = self._added[signature, *codes] = self._conclude(read(), codes)
        return known

    def _conclude(self, node: Mapping[str, object], bases: tuple[int, ...]) -> int:
        kept, size = [], 1
        families = {*str(node["families"]).split()}
        for at, code in enumerate(bases):
            families |= self._families[code]
            if size + self._sizes[code] > _MOST_WORKS:
                problem = f"the lineage of {node['id']} was not followed to its end"
                kept.append(self.missing(self.works[code].id, problem))
                size += 1
            else:
                kept.append(self.works[code] if code not in bases[:at] else self._another(code))
                size += self._sizes[code]
        return self.intern(self.work(node, tuple(kept)), size, frozenset(families))

    def intern(self, work: Work, size: int, families: frozenset[str]) -> int:
        """The code of a work. `size` is the number of works in its lineage, `families` are those of their names."""
        concluded = conclude(work, self.library, self._concluded)
        lineage = list(work.lineage())
        key = (
            frozenset((entry.id, entry.role, self._waived(entry.work)) for entry in concluded.effective),
            frozenset((noted(found), found.rule, *map(self._waived, found.works)) for found in concluded.findings),
            families,
            frozenset(mode for member in lineage for mode in member.modalities or ()),
            any(member.problem for member in lineage),
        )
        code = self._codes.setdefault(key, len(self.works))
        if code == len(self.works):
            self.works.append(work)
            self.conclusions.append(concluded)
            self._of_work[id(work)] = concluded
            self._sizes.append(size)
            self._families.append(families)
        return code

    def _waived(self, work: str) -> str | None:
        """A work's name where a waiver speaks of it; no other name can matter."""
        return work if work in self.waived else None

    def _another(self, code: int) -> Work:
        """A second work that is like one kept here: a merge of two such is a merge of two works."""
        if code not in self._others:
            work = self.works[code]
            self._others[code] = other = work._replace(id=f"another/{work.id}")
            self._of_work[id(other)] = self.conclusions[code]
        return self._others[code]

    def _concluded(self, base: Work) -> Conclusion:
        """The conclusion of a base: most are works that are kept here."""
        return self._of_work.get(id(base)) or conclude(base, self.library, self._concluded)

    def work(self, node: Mapping[str, object], bases: tuple[Work, ...]) -> Work:
        """A node as a work of a lineage, as `toolkit.models.lineage` would read it from the files themselves."""
        identity, kind = str(node["id"]), node["kind"]
        if kind == MISSING:
            return self.missing(identity, f"the base {identity} is neither in the table nor in the catalogue")
        modes = _TASKS.get(str(node["pipeline"]), ()) if kind == ROW else ()
        for match in self.library.catalogued(identity) if kind != PATTERN else ():
            modes = (*modes, *(match.pattern.modalities or ()))
        shown = named_after(identity, self.library, None, unread=kind == NAMED) if node["by_name"] else None
        return Work(
            id=identity,
            role=self.role or ("adapter" if node["adapter"] else "model"),
            source=TABLE if kind == ROW else "catalogue" if kind in (CATALOGUED, PATTERN) else "name",
            declared=tuple(key for key in str(node["declared"] or "").split(SEPARATOR) if key),
            declared_name=str(node["name"]) if node["name"] else None,
            where=TABLE,
            bases=bases,
            findings=(shown[1],) if shown else (),
            texts=license_texts(str(node["texts"])),
            modalities=tuple(dict.fromkeys(modes)) or None,
        )

    def missing(self, name: str, problem: str) -> Work:
        """A base that is not known here."""
        return Work(name, self.role or "model", "missing", problem=problem)
