"""The model card as one HTML file that needs nothing else: no scripts, fonts or requests; made for print as well."""

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
from toolkit.release.obligations import Fulfilment, fulfil_on_paper
from toolkit.release.record import Record, at

_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --page: #ffffff; --pane: #f6f6f8; --mark: #0b6e4f;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #edeef0; --soft: #b0b4ba; --line: #43484e; --page: #16181b; --pane: #212529; --mark: #5bc8a0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
.badges { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1.25rem; padding: 0; list-style: none; }
.badges li { border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .75rem; }
.badges li { font-size: .85rem; color: var(--soft); }
.badges b { color: var(--ink); font-weight: 600; }
.display { margin: 1rem 0; padding: .75rem 1rem; border-left: 4px solid var(--mark); background: var(--pane); }
.display { font-size: 1.15rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; }
th, td { border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 600; }
td { white-space: pre-line; }
td:first-child { min-width: 8rem; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .88em; }
code { overflow-wrap: anywhere; }
pre { background: var(--pane); border: 1px solid var(--line); border-radius: .4rem; padding: .9rem; overflow-x: auto; }
a { color: var(--mark); }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --pane: #fff; --mark: #000; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  tr, pre, .display { break-inside: avoid; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; }
}
"""


def render_card_html(record: Record, *, name: str | None = None) -> str:
    """The HTML card of a run, from its record alone."""
    facts = facts_of(record, name)
    return html_card(facts, fulfil_on_paper(facts))


def html_card(facts: Facts, fulfilments: Iterable[Fulfilment]) -> str:
    """The HTML card of a release, with how each obligation was met."""
    title = html.escape(facts.name)
    body = "\n".join(_block(block) for block in card_blocks(facts, fulfilments))
    badges = (
        ("Licence", facts.terms.name),
        ("Verdict", str(at(facts.record, "verdict.verdict"))),
        ("Adapter", facts.adapter_type),
        ("Made", f"{facts.finished:%Y-%m-%d}"),
    )
    chips = "".join(f"<li>{key} <b>{html.escape(value)}</b></li>" for key, value in badges)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{_STYLE}</style>\n</head>\n'
        f'<body>\n<main>\n<h1>{title}</h1>\n<ul class="badges">{chips}</ul>\n{body}\n'
        f"<footer>Made from the run record by {html.escape(facts.tool)} {html.escape(facts.tool_version)}. "
        "Not legal advice.</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(parts):
            return f"<p>{_line(parts)}</p>"
        case Display(text):
            return f'<p class="display">{html.escape(text)}</p>'
        case Bullets(lines):
            return "<ul>" + "".join(f"<li>{_line(parts)}</li>" for parts in lines) + "</ul>"
        case Table(header, rows):
            head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
            body = "".join("<tr>" + "".join(f"<td>{_line(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
            return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'
        case Listing(_, text):
            return f"<pre><code>{html.escape(text)}</code></pre>"


def _line(parts: Line) -> str:
    return "".join(_inline(part) for part in parts)


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            return f"<code>{html.escape(text)}</code>"
        case Strong(text):
            return f"<strong>{html.escape(text)}</strong>"
        case Link(text, target):
            safe = re.fullmatch(r"(https?://)?[A-Za-z0-9./:_@#-]+", target) and not target.lower().startswith(
                "javascript"
            )
            return (
                f'<a href="{html.escape(target)}" rel="noreferrer">{html.escape(text)}</a>'
                if safe
                else html.escape(text)
            )
        case str():
            return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", part))
