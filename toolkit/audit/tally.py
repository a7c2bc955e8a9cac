"""The counts of an audit: by verdict, licence, finding and lineage. Its size is that of what is counted, not of the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from toolkit.audit.outcome import Outcome, Result
from toolkit.licensing.verdict import LEVELS

Key = TypeVar("Key")


@dataclass(slots=True)
class Tally:
    """Counts of models. `lineages` are by root base and verdict; a model that descends from nothing is under none."""

    models: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    lineages: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one model."""
        self.models += 1
        self.outcomes[result.outcome] += 1
        for root in result.roots:
            self.lineages[root, result.outcome.verdict] += 1

    def verdicts(self) -> dict[str, int]:
        """Models by verdict, best first; every verdict has its count."""
        counts: Counter[str] = Counter()
        for outcome, models in self.outcomes.items():
            counts[outcome.verdict] += models
        return {level: counts[level] for level in LEVELS}

    def licenses(self) -> dict[str, int]:
        """Models by effective licence, the most frequent first."""
        return self._counted(lambda outcome: set(outcome.license_ids()))

    def findings(self) -> dict[tuple[str, str], int]:
        """Models by (finding, severity), the most frequent first."""
        return self._counted(lambda outcome: {(noted.id, noted.severity) for noted in outcome.findings})

    def roots(self) -> dict[str, dict[str, int]]:
        """Models by root base and verdict, the most frequent root first."""
        totals: Counter[str] = Counter()
        for (root, _), models in self.lineages.items():
            totals[root] += models
        order = sorted(totals, key=lambda root: (-totals[root], root))
        return {root: {level: self.lineages[root, level] for level in LEVELS if self.lineages[root, level]}
                for root in order}  # fmt: skip

    def _counted(self, keys: Callable[[Outcome], set[Key]]) -> dict[Key, int]:
        counts: Counter[Key] = Counter()
        for outcome, models in self.outcomes.items():
            for key in keys(outcome):
                counts[key] += models
        return {key: counts[key] for key in sorted(counts, key=lambda key: (-counts[key], str(key)))}
