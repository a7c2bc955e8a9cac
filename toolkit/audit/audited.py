"""Models as an audit goes through them: what fails of each, what of that is new, and what it all comes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from toolkit.audit.baseline import Baseline
from toolkit.audit.failing import FailOn, Item, exit_code_of
from toolkit.audit.outcome import Result
from toolkit.audit.tally import Tally
from toolkit.licensing.verdict import LEVELS

if TYPE_CHECKING:
    from toolkit.audit.table.judged import JudgedTable

_SHOWN = 500  # models of each verdict that a reader is shown


class Audited(NamedTuple):
    """A model, what fails of it, and what of that nobody has accepted."""

    result: Result
    failing: tuple[Item, ...] = ()
    new: tuple[Item, ...] = ()


class Audit:
    """Counts and failures of the models gone through so far. `shown` keeps the first that fail of each verdict."""

    def __init__(self, fails: FailOn, baseline: Baseline | None) -> None:
        self.fails = fails
        self.baseline = baseline
        self.tally = Tally()
        self.failing = 0
        self.new = 0
        self.exit_code = 0
        self.repeated = 0
        self._shown: dict[str, list[Audited]] = {}

    def look(self, result: Result) -> Audited:
        """One model that the tally does not count: what fails of it."""
        failing = self.fails.items(result.outcome)
        if not failing:
            return Audited(result)
        new = failing
        if self.baseline is not None:
            new = tuple(item for item in failing if not self.baseline.accepts(result, item))
        audited = Audited(result, failing, new)
        self.failing += 1
        if new:
            self.new += 1
            # The contract's order: 3 says more than 4, so the lower of two failures decides.
            self.exit_code = min(self.exit_code or 9, exit_code_of(result.outcome))
            shown = self._shown.setdefault(result.outcome.verdict, [])
            if len(shown) < _SHOWN:
                shown.append(audited)
        return audited

    def each(self, results: Iterator[Result]) -> Iterator[Audited]:
        """Models as they come, each counted."""
        for result in results:
            self.tally.add(result)
            yield self.look(result)

    def table(self, judged: JudgedTable, *, every: bool) -> Iterator[Audited]:
        """The rows of a table: every one, or those of which something fails. All are counted."""
        judged.count(self.tally)
        self.repeated += judged.repeated
        codes = [code for code, outcome in enumerate(judged.outcomes) if self.fails.items(outcome)]
        yield from map(self.look, judged.results(None if every else codes))

    def shown(self, most: int) -> list[Audited]:
        """The first models with something new that fails, the worst verdicts first."""
        worst_first = [audited for level in reversed(LEVELS) for audited in self._shown.get(level, ())]
        return worst_first[:most]
