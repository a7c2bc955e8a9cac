"""How the model was made, as its card tells it: base, data, settings with reasons, versions, machine and cost."""

from __future__ import annotations

from toolkit.release.blocks import Block, Code, Heading, Line, Paragraph, Table, line
from toolkit.release.evaluated import scores
from toolkit.release.facts import Facts
from toolkit.release.record import Record, at, entries_of, mapping, number, text, whole

_GIB = 2**30
_RARER = ("dora", "rslora", "init", "saved_rank", "lora_plus_ratio", "new_tokens")  # settings of an adapter's kind

# A downstream modifier becomes the provider of a general-purpose model when its compute exceeds a third of the
# original's; where that is not published, a third of the indicative threshold of 1e23 FLOP counts (European
# Commission, guidelines on general-purpose AI models, 18 July 2025).
_EU_THIRD_FLOP = 1e23 / 3


def how_it_was_made(facts: Facts) -> tuple[Block, ...]:
    """The section on making: two tables, what went in and what it took, and the plan's choices with their reasons."""
    choices = tuple(
        (line(Code(name)), line(Code(_words(entry.get("value")))), line(str(entry.get("why") or "")))
        for name, entry in mapping(facts.record, "plan.choices").items()
        if isinstance(entry, dict)
    )
    blocks: list[Block] = [
        Heading("How it was made"),
        Table(("What", "Fact"), tuple(_ingredients(facts) + _cost(facts))),
    ]
    if choices:
        blocks.append(Paragraph(line("Settings that were derived, and why:")))
        blocks.append(Table(("Setting", "Value", "Why"), choices))
    return tuple(blocks)


def hyperparameters(facts: Facts) -> dict[str, str]:
    """Settings of the run by name, as text: what the bills of materials list."""
    record = facts.record
    values: dict[str, object] = {
        name: at(record, f"adapter.{name}") for name in ("type", "rank", "alpha", "target_modules")
    }
    values |= {name: value for name in _RARER if (value := at(record, f"adapter.{name}")) not in (None, False, [])}
    values |= mapping(record, "recipe.resolved.train")
    values |= {
        name: entry["value"]
        for name, entry in mapping(record, "plan.choices").items()
        if isinstance(entry, dict) and "value" in entry
    }
    values["seed"] = at(record, "seed")
    return {name: _words(value) for name, value in values.items() if value is not None}


def results(facts: Facts) -> dict[str, float]:
    """Held-out results by name, such as `loss (after training)`: before (the base alone) and after."""
    before, after = scores(facts.record, "before"), scores(facts.record, "after")
    names = tuple(dict.fromkeys((*before, *after)))
    both = (("before", before), ("after", after))
    return {f"{name} ({when} training)": found[name] for name in names for when, found in both if name in found}


def _ingredients(facts: Facts) -> list[tuple[Line, ...]]:
    record = facts.record
    base: Line = line(Code(facts.base.name))
    if facts.base.revision:
        base = line(Code(facts.base.name), " at ", Code(facts.base.revision))
    rows: list[tuple[Line, ...]] = [(line("Base"), base)]
    if facts.base.parameters:
        rows.append((line("Base parameters"), line(f"{facts.base.parameters:,}")))
    for dataset in facts.data:
        counted = f", {dataset.rows:,} rows" if dataset.rows is not None else ""
        rows.append(
            (
                line("Data"),
                line(
                    Code(dataset.name), f"{counted}, licence: {dataset.terms.name if dataset.terms else 'not stated'}"
                ),
            )
        )
    if checks := _data_checks(facts):
        rows.append((line("Data, as checked"), line("; ".join(checks))))
    method = text(record, "recipe.resolved.method") or "sft"
    rows.append(
        (
            line("Method"),
            line(
                f"{method}, {facts.adapter_type}, "
                f"rank {at(record, 'adapter.rank')}, alpha {at(record, 'adapter.alpha')}{_rarer(record)}"
            ),
        )
    )
    rows += _descent(record)
    targets = at(record, "adapter.target_modules")
    if isinstance(targets, list):
        rows.append((line("Adapted matrices"), line(Code(", ".join(map(str, targets))))))
    if trainable := whole(record, "adapter.trainable_parameters"):
        rows.append((line("Trained parameters"), line(f"{trainable:,}")))
    recipe = text(record, "recipe.path")
    rows.append(
        (
            line("Recipe"),
            line(
                Code(recipe.rpartition("/")[2]) if recipe else "", f" (sha256 {str(at(record, 'recipe.sha256'))[:12]}…)"
            ),
        )
    )
    rows.append((line("Seed"), line(str(at(record, "seed")))))
    versions = ", ".join(f"{name} {version}" for name, version in mapping(record, "versions").items() if version)
    rows.append((line("Versions"), line(versions)))
    return rows


def _data_checks(facts: Facts) -> list[str]:
    """What was found when the data was looked at before training, and how its rows became tokens."""
    record, said = facts.record, []
    for source in entries_of(record, "data.sources"):
        examples, counted = whole(source, "examples"), whole(source, "rows")
        if number(source, "weight") is not None and examples and counted:
            name = text(source, "id") or (text(source, "path") or "").rpartition("/")[2]
            said.append(
                f"{name} gives {examples:,} examples an epoch by its weight, each row {examples / counted:.2g} times"
            )
    duplicates = mapping(record, "data.duplicates")
    if duplicates:
        said.append(
            f"{duplicates.get('exact')} exact duplicates, {duplicates.get('near')} more but for case and punctuation"
        )
    if (most := whole(record, "data.overlength.max_length")) is not None:
        long = whole(record, "data.overlength.rows") or 0
        done = {"split": "divided", "truncate": "cut off"}.get(text(record, "data.overlength.policy") or "", "refused")
        share = number(record, "data.overlength.tokens_share") or 0.0
        said.append(
            f"{long:,} rows longer than {most} tokens, {done} ({share:.1%} of all tokens beyond)"
            if long
            else f"no row longer than {most} tokens"
        )
    if digest := text(record, "data.template.sha256"):
        where = text(record, "data.template.from")
        which = {"base": "the base's", "plain": "the plain one"}.get(where or "", "one of its own")
        compared = whole(record, "data.template.rows_compared") or 0
        alike = "rendered alike" if at(record, "data.template.served_as_trained") else "NOT rendered alike"
        checked = f", {compared} rows {alike} by the tokenizer saved here" if compared else ""
        said.append(f"chat template: {which} (sha256 {digest[:12]}…){checked}")
    return said


def _rarer(record: object) -> str:
    """What an adapter is beyond its type, rank and alpha, in words."""
    words = []
    if at(record, "adapter.rslora"):
        words.append("scaled by alpha/sqrt(rank) (rsLoRA)")
    if (init := at(record, "adapter.init")) not in (None, "default"):
        words.append(f"begun with {init}")
    ranks = mapping(record, "adapter.ranks")
    if ranks and ranks["least"] != ranks["most"]:
        words.append(f"ranks moved to {ranks['least']} to {ranks['most']}")
    elif (saved := whole(record, "adapter.saved_rank")) and saved != at(record, "adapter.rank"):
        words.append(f"saved at rank {saved}, which fits the original base")
    if ratio := number(record, "adapter.lora_plus_ratio"):
        words.append(f"B at {ratio:g} times the learning rate (LoRA+)")
    if tokens := at(record, "adapter.new_tokens"):
        words.append(f"with new tokens {_words(tokens)}")
    return "".join(f", {part}" for part in words)


def _descent(record: Record) -> list[tuple[Line, ...]]:
    """The adapter that training began with, and the user's own code that it ran."""
    rows: list[tuple[Line, ...]] = []
    if start := mapping(record, "adapter.start"):
        digest = str(start.get("sha256"))[:12]
        said = f"the adapter of run {start.get('run')} ({start.get('method')}, sha256 {digest}…)"
        rows.append((line("Began with"), line(said)))
    for reward in entries_of(record, "rewards"):
        digest = str(reward.get("sha256"))[:12]
        rows.append(
            (line("Reward"), line(Code(str(reward.get("function"))), f", code that was run (sha256 {digest}…)"))
        )
    return rows


def _cost(facts: Facts) -> list[tuple[Line, ...]]:
    record = facts.record
    rows: list[tuple[Line, ...]] = []
    hardware = mapping(record, "hardware")
    machine = str(hardware.get("name") or hardware.get("device") or "not recorded")
    if memory := whole(record, "hardware.memory_bytes"):
        machine += f", {_gib(memory)}"
    rows.append((line("Hardware"), line(machine)))
    if seconds := number(record, "metrics.wall_seconds"):
        rows.append((line("Wall time"), line(f"{seconds:,.1f} s")))
    if steps := whole(record, "metrics.steps"):
        tokens = whole(record, "metrics.tokens_seen")
        rows.append((line("Optimiser steps"), line(f"{steps:,}" + (f", {tokens:,} tokens" if tokens else ""))))
    if peak := whole(record, "metrics.peak_memory_bytes"):
        said = f"{_gib(peak)} measured"
        if before := whole(record, "metrics.baseline_memory_bytes"):
            said += f" ({_gib(before)} of it before training began)"
        if planned := whole(record, "metrics.planned_peak_bytes"):
            said += f", {_gib(planned)} planned"
        if (error := number(record, "memory.error_percent")) is not None:
            longest = whole(record, "memory.longest_row_tokens")
            said += f"; against the plan for rows of {longest} tokens, the longest there were: {error:+.1f} %"
        rows.append((line("Peak memory"), line(said)))
    if flops := number(record, "metrics.flops"):
        share = f"{flops / _EU_THIRD_FLOP:.1e} of a third of 1e23 FLOP, the EU's indicative threshold for modifiers"
        formula = text(record, "metrics.flops_formula") or "estimate"
        rows.append((line("Training compute"), line(f"{flops:.2e} FLOP ({formula}): {share}")))
    return rows


def _gib(count: int) -> str:
    return f"{count / _GIB:.2f} GiB"


def _words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
