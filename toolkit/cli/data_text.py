"""Training data in words: what was read, what is wrong or odd about it, and rows with the tokens that count."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.plan_text import wrapped

if TYPE_CHECKING:
    from toolkit.training.sample import Sample


def data_text(facts: Mapping[str, Any], notes: Sequence[str], base: str) -> str:
    """The report of `tk plan --check-data` as a terminal shows it."""
    return "\n".join(_report(facts, notes, base))


def sample_text(samples: Sequence[Sample], template: Mapping[str, Any]) -> str:
    """Rows with the words that count in colour, or between [[ and ]] where there is no colour."""
    return "\n".join(_samples(samples, template))


def _report(facts: Mapping[str, Any], notes: Sequence[str], base: str) -> Iterator[str]:
    train = facts["train"]
    tokens = f", {train['tokens']:,} tokens" if "tokens" in train else ""
    counts = f" of which {facts['loss_tokens']:,} count" if "loss_tokens" in facts else ""
    yield f"{train['rows']:,} examples an epoch{tokens}{counts}; {facts['eval']['rows']:,} rows held out ({facts['eval']['how']})"
    yield ""
    yield "Sources"
    for source in facts["sources"]:
        said = [f"{source['rows']:,} rows", source["format"]]
        if source["examples"] != source["rows"]:
            said.append(f"{source['examples']:,} examples an epoch")
        if "weight" in source:
            said.append(
                f"weight {source['weight']:g}, {source['examples'] / max(1, train['rows']):.1%} of the examples"
            )
        said.append(f"licence {source.get('license', 'not stated')}")
        said.append(f"commit {source['revision'][:12]}" if "revision" in source else f"sha256 {source['sha256'][:12]}…")
        yield from wrapped(f"{source['path']}: {', '.join(said)}", "  ")
    yield ""
    yield "Checks"
    yield from _checks(facts, base)
    for note in notes:
        yield from wrapped(note, "  note  ")


def _checks(facts: Mapping[str, Any], base: str) -> Iterator[str]:
    yield "  rows        every row has the shape of its format; no answer is empty"
    if found := facts.get("duplicates"):
        where = " in the first rows" if facts["streaming"] else ""
        yield f"  duplicates  {found['exact']} exact{where}, {found['near']} more but for case and punctuation"
    yield "  leaks       no prompt stands on both sides of the split, in whatever spelling"
    if long := facts.get("overlength"):
        words = "none" if not long["rows"] else f"{long['rows']:,} rows ({long['rows_share']:.1%})"
        beyond = (
            ""
            if not long["rows"]
            else f", {long['tokens']:,} tokens beyond it ({long['tokens_share']:.1%}): {long['policy']}"
        )
        of = f" of the first {long['of_rows']:,}" if facts["streaming"] else ""
        yield f"  too long    {words}{of} above {long['max_length']} tokens{beyond}; the longest has {long['longest']}"
    elif "template" not in facts:
        yield from wrapped(f"tokens were not counted: the tokenizer of {base} is not at hand", "  too long    ")
    if template := facts.get("template"):
        if "stops" not in template:  # the method has no conversations
            yield "  template    none: documents as they are"
            return
        yield f"  template    {template['from']}, sha256 {template['sha256'][:12]}…"
        stops = template["stops"]
        yield f"  stops at    {stops['end']} (id {stops['id']}), which is learnt; padding is {stops['pad']}"


def _samples(samples: Sequence[Sample], template: Mapping[str, Any]) -> Iterator[str]:
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for sample in samples:
        counted = sum(token.counts for token in sample.tokens)
        yield click.style(f"{sample.where}: {len(sample.tokens)} tokens, {counted} count", bold=coloured)
        yield "".join(_run(text, counts, coloured) for text, counts in sample.runs)
        yield ""
    how = "in green" if coloured else "between [[ and ]]"
    if "stops" not in template:
        yield f"What counts for the loss stands {how}."
        return
    stops = template["stops"]
    yield f"What counts for the loss stands {how}. An answer ends with {stops['end']} (id {stops['id']})."
    yield from (line for note in stops["notes"] for line in wrapped(note, "note  "))


def _run(text: str, counts: bool, coloured: bool) -> str:
    if not coloured:
        return f"[[{text}]]" if counts else text
    return click.style(text, fg="green", bold=True) if counts else click.style(text, dim=True)
