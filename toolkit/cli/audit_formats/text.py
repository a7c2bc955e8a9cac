"""An audit in words: counts by verdict, licence, finding and lineage, and the models that fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

import toolkit
from toolkit.audit.audited import Audit, Audited
from toolkit.cli.verdict_text import LEVEL_WORDS, use_words
from toolkit.licensing.findings import FINDINGS
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.vocabulary import vocabulary

_MOST_LINES = 12  # of a count
_MOST_MODELS = 20


def audit_text(audit: Audit, use: IntendedUse) -> str:
    """The summary as a terminal shows it."""
    return "\n".join(_lines(audit, use))


def counted(count: int, what: str) -> str:
    """`1 model`, `4,000 models`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def fails_in_words(audit: Audit) -> str:
    """How many models fail, and what a baseline makes of them."""
    if not audit.fails.named:
        return "Nothing fails, as asked (--fail-on none)."
    if not audit.failing:
        return f"Nothing fails of {counted(audit.tally.models, 'model')}."
    said = f"{counted(audit.failing, 'model')} of {audit.tally.models:,} fail{'s' if audit.failing == 1 else ''}"
    if audit.baseline is None:
        return f"{said}."
    return f"{said}: {audit.new:,} with something new, {audit.failing - audit.new:,} as accepted."


def reasons(audited: Audited) -> str:
    """What fails of a model, and why its verdict is what it is. Where a baseline accepted a part, the rest."""
    outcome = audited.result.outcome
    decisive = [noted.id for noted in outcome.findings if noted.level]
    asks = [f"asks for {fact}" for fact in outcome.questions]
    named = [str(item) for item in audited.new if item.what != outcome.verdict]
    return ", ".join(dict.fromkeys([*named, *decisive, *asks]))


def _lines(audit: Audit, use: IntendedUse) -> Iterator[str]:
    tally = audit.tally
    yield click.style(f"{counted(tally.models, 'model')} for {use_words(use)}", bold=True)
    yield from _counts("By verdict", {LEVEL_WORDS[level]: models for level, models in tally.verdicts().items()})
    yield from _counts("By licence (a model may be under several)", tally.licenses())
    meanings = {identifier: FINDINGS.get(identifier, "a rule of a licence") for identifier, _ in tally.findings()}
    yield from _counts(
        "By finding",
        {f"{identifier} ({severity})": models for (identifier, severity), models in tally.findings().items()},
        {f"{identifier} ({severity})": meanings[identifier] for identifier, severity in tally.findings()},
    )
    roots = tally.roots()
    yield from _counts(
        "By lineage (root base)",
        {root: sum(verdicts.values()) for root, verdicts in roots.items()},
        {root: ", ".join(f"{models:,} {LEVEL_WORDS[level]}" for level, models in verdicts.items())
         for root, verdicts in list(roots.items())[:_MOST_LINES]},
    )  # fmt: skip
    yield ""
    yield click.style(fails_in_words(audit), bold=True)
    shown = audit.shown(_MOST_MODELS)
    for audited in shown:
        result = audited.result
        place = "" if result.where.endswith(result.id) else f"  ({result.where})"
        yield f"  {LEVEL_WORDS[result.outcome.verdict]}: {result.id}{place}"
        if why := reasons(audited):
            yield f"      {why}"
    if audit.new > len(shown):
        yield f"  and {audit.new - len(shown):,} more; --format jsonl has every model"
    gone = audit.baseline.gone() if audit.baseline else ()
    if gone:
        yield ""
        yield f"Accepted before and not found any more: {len(gone):,}"
        yield from (f"  {entry.model}: {entry.item}" for entry in gone[:_MOST_MODELS])
    yield ""
    yield f"tk {toolkit.__version__}, licence data {vocabulary().version}. Not legal advice: check the clauses."


def _counts(title: str, counts: Mapping[str, int], said: Mapping[str, str] | None = None) -> Iterator[str]:
    shown = [(name, models) for name, models in counts.items() if models][:_MOST_LINES]
    if not shown:
        return
    yield ""
    yield title
    width = max(len(name) for name, _ in shown)
    places = max(len(f"{models:,}") for _, models in shown)
    for name, models in shown:
        yield f"  {name:{width}}  {models:>{places},}  {(said or {}).get(name, '')}".rstrip()
    if (rest := len([models for models in counts.values() if models]) - len(shown)) > 0:
        yield f"  and {rest:,} more"
