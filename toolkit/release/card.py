"""The model card as Markdown (`README.md`): front matter for the hub, then the card's blocks."""

from __future__ import annotations

import html
import re
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
    Listing,
    Paragraph,
    Strong,
    Table,
)
from toolkit.release.content import card_blocks
from toolkit.release.facts import Facts, facts_of
from toolkit.release.front_matter import front_matter, write_yaml
from toolkit.release.obligations import Fulfilment, fulfil_on_paper
from toolkit.release.record import Record

_MARKS = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))")  # an underscore inside a word marks nothing up
_STARTS = re.compile(r"^(\s*)(\d*)([-+=:#.)])")


def render_card(record: Record, *, name: str | None = None) -> str:
    """The model card of a run, from its record alone; obligations that a release will meet are shown as such."""
    facts = facts_of(record, name)
    return markdown_card(facts, fulfil_on_paper(facts))


def markdown_card(facts: Facts, fulfilments: Iterable[Fulfilment]) -> str:
    """The model card of a release, with how each obligation was met."""
    body = "\n\n".join(_block(block) for block in card_blocks(facts, fulfilments))
    return f"---\n{write_yaml(front_matter(facts))}---\n\n# {escape(facts.name)}\n\n{body}\n"


def escape(words: str) -> str:
    """Text of unknown origin as Markdown that shows it and does nothing else: no markup, no HTML, no new line."""
    flat = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", words)
    return html.escape(_MARKS.sub(r"\\\1", flat), quote=False)


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {escape(text)}"
        case Paragraph(parts):
            return _guarded(_line(parts))
        case Display(text):
            return f"> **{verbatim(text)}**"
        case Bullets(lines):
            return "\n".join(f"- {_guarded(_line(parts))}" for parts in lines)
        case Table(header, rows):
            head = [_row(escape(cell) for cell in header), _row("---" for _ in header)]
            return "\n".join([*head, *(_row(_line(cell) for cell in row) for row in rows)])
        case Listing(language, text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
            return f"{fence}{language}\n{text}\n{fence}"


def verbatim(words: str) -> str:
    """Words that a licence fixes, kept byte for byte unless they would act as markup."""
    return words if not re.search(r"[<>*`\[\]\\\n|]", words) else escape(words)


def _guarded(words: str) -> str:
    """A line whose first characters would start a list, a quotation or a heading, made to start a sentence."""
    return _STARTS.sub(r"\1\2\\\3", words)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _line(parts: Line) -> str:
    return "".join(_inline(part) for part in parts)


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            return (
                f"`{text}`" if text and not re.search(r"[`|\n\r\t\\]", text) and text == text.strip() else escape(text)
            )
        case Strong(text):
            inner = escape(text.strip())
            return f"**{inner}**" + (" " if text.endswith(" ") else "")
        case Link(text, target):
            return f"[{escape(text)}]({target})" if re.fullmatch(r"[A-Za-z0-9./:_@#-]+", target) else escape(text)
        case str():
            return escape(part).replace("\n", " ")
