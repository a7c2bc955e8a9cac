"""What of an outcome fails an audit, and the exit code that it comes to."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from toolkit.audit.outcome import Outcome
from toolkit.errors import UsageError
from toolkit.licensing.findings import FINDINGS
from toolkit.licensing.library import Library
from toolkit.licensing.verdict import LEVELS

BY_DEFAULT = ("prohibited", "needs-separate-license", "needs-review")
SEVERITIES = ("error", "warning")
NEEDS_A_PERSON = 4


class Item(NamedTuple):
    """One thing that fails of a model: its verdict, or a finding with the licence that it speaks of."""

    what: str
    license: str | None = None

    def __str__(self) -> str:
        return f"{self.what} ({self.license})" if self.license else self.what


class FailOn(NamedTuple):
    """The verdicts, ids of findings and severities that fail."""

    named: frozenset[str]

    def items(self, outcome: Outcome) -> tuple[Item, ...]:
        """What fails of an outcome: nothing, its verdict, its findings."""
        verdict = [Item(outcome.verdict)] if outcome.verdict in self.named else []
        findings = [Item(noted.id, noted.license) for noted in outcome.findings
                    if self.named & {noted.id, noted.severity}]  # fmt: skip
        return tuple(dict.fromkeys([*verdict, *findings]))


def read_fail_on(words: Iterable[str], library: Library) -> FailOn:
    """What `--fail-on` says, several words to a comma-separated list; nothing said is the contract's default. Raises
    UsageError for a word that is no verdict, finding or severity."""
    named = [word.strip() for text in words for word in text.split(",") if word.strip()]
    if not named:
        return FailOn(frozenset(BY_DEFAULT))
    if "none" in named:
        if len(set(named)) > 1:
            raise UsageError("--fail-on none goes with nothing else")
        return FailOn(frozenset())
    known = {*LEVELS, *SEVERITIES, *FINDINGS}
    if not known.issuperset(named):
        known |= {rule.id for identifier in library.ids for rule in library.terms(identifier).rules}
    for word in named:
        if word not in known:
            from toolkit.files.schema import did_you_mean

            raise UsageError(f"--fail-on {word}: no verdict, finding or severity{did_you_mean(word, sorted(known))}")
    return FailOn(frozenset(named))


def exit_code_of(outcome: Outcome) -> int:
    """The exit code of a model that fails: its verdict's; that of a review where only a finding fails."""
    return outcome.exit_code or NEEDS_A_PERSON


def digest(item: Item, outcome: Outcome) -> str:
    """What is accepted when an item is: the verdict or finding, the licences that bind, and for a verdict why it is so.
    A model whose licences or reasons change has to be accepted again."""
    parts = [item.what, item.license or "", *sorted(outcome.license_ids())]
    if item.what == outcome.verdict:
        parts += sorted(f"{noted.id} {noted.license} {noted.level}" for noted in outcome.findings if noted.level)
        parts += sorted(outcome.questions)
    return sha256("\n".join(parts).encode()).hexdigest()[:16]
