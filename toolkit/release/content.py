"""What a model card says, section by section, from the facts of a run alone."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.release.blocks import (
    Block,
    Bullets,
    Code,
    Display,
    Heading,
    Inline,
    Line,
    Link,
    Paragraph,
    Strong,
    Table,
    line,
)
from toolkit.release.evaluated import evaluation_blocks
from toolkit.release.facts import Facts
from toolkit.release.loading import how_to_load
from toolkit.release.making import how_it_was_made
from toolkit.release.obligations import ON_CARD, Fulfilment, strings_for
from toolkit.release.record import at, entries_of, mapping, text, whole

_REACH = {
    "internal": "inside one organisation; the weights are not passed on",
    "hosted-service": "served to others over a network; the weights stay inside",
    "weights": "the weights are passed on to others",
    "embedded-product": "inside a product that is passed on to others",
    "evaluation": "evaluation only",
}


def card_blocks(facts: Facts, fulfilments: Iterable[Fulfilment]) -> tuple[Block, ...]:
    """The body of the card below its title. `fulfilments` say how each obligation is met, or that it is still open."""
    displays = [Display(words) for words in strings_for(facts.obligations, ON_CARD)]
    return (
        *displays,
        _opening(facts),
        *_use(facts),
        *_licence(facts, tuple(fulfilments)),
        *how_it_was_made(facts),
        *_merging(facts),
        *evaluation_blocks(facts.record),
        *how_to_load(facts),
        *_review(facts),
        *_proof(facts),
    )


def opening_words(facts: Facts) -> str:
    """One sentence on what the release is."""
    purpose = text(facts.record, "use.purpose")
    return facts.form.named(facts.adapter_type, facts.base.name) + (f": {purpose}" if purpose else "")


def _opening(facts: Facts) -> Block:
    base: Inline = Code(facts.base.name)
    if facts.base.is_hub:
        base = Link(facts.base.name, f"https://huggingface.co/{facts.base.name}")
    made = f", fine-tuned on {facts.finished:%Y-%m-%d} with {facts.tool} {facts.tool_version}."
    before, after = facts.form.named(facts.adapter_type, "\0").split("\0")
    return Paragraph(line(before, base, f"{after}{made}"))


def _use(facts: Facts) -> tuple[Block, ...]:
    use = mapping(facts.record, "use")
    said: list[Line] = []
    if purpose := text(use, "purpose"):
        said.append(line(Strong("Purpose: "), purpose))
    reach = text(use, "distribution")
    said.append(
        line(Strong("Distribution: "), f"{reach}, {_REACH.get(reach, '')}".rstrip(", ") if reach else "not stated")
    )
    commercial = use.get("commercial")
    said.append(line(Strong("Commercial: "), "not stated" if commercial is None else "yes" if commercial else "no"))
    for key, words in (("recipients", "Recipients: "), ("territories", "Territories: "), ("fields", "Fields of use: ")):
        if value := use.get(key):
            said.append(line(Strong(words), ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    rows = whole(facts.record, "evaluation.rows")
    tested = f"It was measured on {rows} held-out rows of its own kind of data" if rows else "It was not evaluated"
    limits: list[Line] = [
        line("The licence verdict holds for the use stated above; another use needs a check of its own."),
        line(f"{tested}; behaviour beyond it, safety and bias included, was not assessed."),
        line(
            f"What holds for the base model (its knowledge, languages and weaknesses) holds for this {facts.form.noun} as well."
        ),
    ]
    if any(owed.id in ("aup", "passthrough-restrictions", "research-only") for owed in facts.obligations):
        limits.append(
            line(
                f"Use restrictions of the base's licence apply to this {facts.form.noun} and to everyone who receives it."
            )
        )
    if at(facts.record, "recipe.resolved.trust_remote_code"):
        limits.append(
            line(
                Strong("The base runs code from its own repository "),
                "(",
                Code("trust_remote_code: true"),
                "); read it first.",
            )
        )
    return Heading("Intended use"), Bullets(tuple(said)), Heading("Limits"), Bullets(tuple(limits))


def _licence(facts: Facts, fulfilments: tuple[Fulfilment, ...]) -> tuple[Block, ...]:
    blocks: list[Block] = [Heading("Licence and lineage")]
    level = str(at(facts.record, "verdict.verdict"))
    released = line("Released under ", Strong(facts.terms.name), " (", Code(facts.declared), "). ")
    if facts.terms.spdx == "NOASSERTION":
        released = line(Strong("Under which licence this stands is not known. "))
    blocks.append(Paragraph((*released, "Verdict for the intended use: ", Strong(level), ".")))
    if facts.planned and facts.planned != facts.terms:
        words = f"{facts.planned.name} was planned for it; the base's terms travel on, so the card shows those."
        blocks.append(Paragraph(line(words)))
    rows = [
        (
            line(item.work),
            line(item.role),
            line(item.terms.name),
            line(Code(item.terms.spdx)),
            line(item.evidence),
        )
        for item in facts.effective
    ]
    if rows:
        blocks.append(Table(("Work", "Role", "Licence", "SPDX", "How we know"), tuple(dict.fromkeys(rows))))
    if fulfilments:
        owed = [
            (
                line(Code(item.obligation.id)),
                line(
                    f"{item.obligation.terms.name}, {item.obligation.clause}"
                    if item.obligation.clause
                    else item.obligation.terms.name
                ),
                line(item.obligation.text),
                line(item.account),
            )
            for item in fulfilments
        ]
        blocks.append(Table(("Obligation", "Licence and clause", "What is owed", "How it is met"), tuple(owed)))
    else:
        blocks.append(Paragraph(line("The stated use triggers no obligation.")))
    return tuple(blocks)


def _merging(facts: Facts) -> tuple[Block, ...]:
    """What was done to the weights after training, and how near they are to the model that was evaluated."""
    form = facts.form
    if not form.has_weights:
        return ()
    into = (
        "the quantised weights it was trained over, dequantised"
        if form.merge == "dequantised"
        else "the base's own weights"
    )
    said = [line(f"The adapter was merged into {into}, and stored as {form.dtype}.")]
    if form.quantization:
        said.append(line("They were then written as GGUF in the format ", Code(form.quantization), "."))
    if form.kl is not None:
        measured = f"{form.kl:.2g} nats a token, on rows of the run"
        said.append(line("Mean KL divergence of the trained model from these weights: ", Strong(measured), "."))
    said.append(line("The evaluation below is of the trained model: base and adapter, before they were merged."))
    return Heading("Merging"), Bullets(tuple(said))


def _review(facts: Facts) -> tuple[Block, ...]:
    """What a reviewer decided or took for granted, and what the check warned of."""
    record = facts.record
    lines: list[Line] = []
    if who := text(record, "permit.acknowledged"):
        lines.append(
            line(Strong("Acknowledged: "), f"the verdict {at(record, 'permit.verdict')} was answered for by {who}.")
        )
    assumed = at(record, "verdict.assumptions")
    lines += [line(Strong("Assumed: "), str(words)) for words in assumed] if isinstance(assumed, list) else []
    for finding in entries_of(record, "verdict.findings"):
        if text(finding, "severity") in ("warning", "error"):
            lines.append(
                line(Strong("Noted: "), str(finding.get("text") or ""), " (", Code(str(finding.get("id"))), ")")
            )
    notes = at(record, "notes")
    lines += [line(Strong("Noted: "), str(words)) for words in notes] if isinstance(notes, list) else []
    return (Heading("Assumptions and review"), Bullets(tuple(lines))) if lines else ()


def _proof(facts: Facts) -> tuple[Block, ...]:
    """Digests by which a reader can tie this card to the things it speaks of."""
    record = facts.record
    rows: list[tuple[str, str | None]] = [
        ("Run record (canonical JSON)", facts.record_sha256),
        ("Recipe", text(record, "recipe.sha256")),
        ("Base, all files", facts.base.digest),
        *((f"Data {dataset.name}", dataset.sha256) for dataset in facts.data),
        ("Verdict (canonical JSON)", text(record, "permit.verdict_sha256")),
    ]
    if facts.form.paper_sha256:
        rows.append(("Export (canonical JSON)", facts.form.paper_sha256))
    for name, entry in mapping(record, "adapter.files").items():
        if name.endswith(".safetensors"):
            rows.append((name.removeprefix("adapter/"), text(entry, "sha256")))
    table = Table(("What", "SHA-256"), tuple((line(name), line(Code(digest))) for name, digest in rows if digest))
    return Heading("Provenance"), Paragraph(line("Run ", Code(str(at(record, "id"))), ".")), table
