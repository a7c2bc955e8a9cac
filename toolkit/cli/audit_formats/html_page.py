"""An audit as one HTML file that needs nothing else: no scripts, no requests; light and dark, and made for print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

import toolkit
from toolkit.audit.audited import Audit, Audited
from toolkit.cli.audit_formats.text import counted, fails_in_words, reasons
from toolkit.cli.verdict_text import LEVEL_WORDS, use_words
from toolkit.licensing.findings import FINDINGS
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import LEVELS
from toolkit.licensing.vocabulary import vocabulary

_MOST_MODELS = 1000  # in the table of what fails; more make a page that no browser scrolls well
_MOST_ROWS = 25
_NAVIGATION = (
    '<nav aria-label="Parts of this page"><a href="#licences">Licences</a> <a href="#findings">Findings</a> '
    '<a href="#lineages">Lineages</a> <a href="#what-fails">What fails</a></nav>'
)
_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2024; --soft: #5b616a; --line: #d9d9e0; --page: #ffffff; --pane: #f6f6f8;
  --allowed: #0b6e4f; --allowed-with-obligations: #3d7a12; --needs-review: #8a5a00;
  --needs-separate-license: #b3401d; --prohibited: #a3123a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #edeef0; --soft: #b0b4ba; --line: #43484e; --page: #16181b; --pane: #212529;
    --allowed: #5bc8a0; --allowed-with-obligations: #a3d45e; --needs-review: #f0b849;
    --needs-separate-license: #ff9573; --prohibited: #ff8aa5;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { margin: .4rem 0; }
.soft, footer { color: var(--soft); }
.bar { display: flex; height: 1.1rem; margin: 1.5rem 0 .75rem; gap: 2px; border-radius: .3rem; overflow: hidden; }
.bar span { min-width: 3px; }
.verdicts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0; padding: 0; list-style: none; }
.verdicts li { flex: 1 1 10rem; background: var(--pane); border-radius: .4rem; padding: .6rem .9rem; }
.verdicts li { border-left: 5px solid var(--line); }
.verdicts b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
nav { margin: 1.25rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
a { color: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
tbody th { color: var(--ink); font-weight: 500; overflow-wrap: anywhere; }
td { overflow-wrap: break-word; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { white-space: nowrap; font-weight: 600; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .85rem; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --pane: #fff; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } .wide { overflow: visible; }
}
"""


def html_page(audit: Audit, use: IntendedUse) -> str:
    """The page of an audit."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    title = f"Licence audit of {counted(audit.tally.models, 'model')}"
    body = "\n".join(_body(audit, use, title))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _body(audit: Audit, use: IntendedUse, title: str) -> Iterator[str]:
    tally = audit.tally
    yield f'<h1>{title}</h1>\n<p class="soft">For {escape(use_words(use))}.</p>'
    yield f"<p><strong>{escape(fails_in_words(audit))}</strong></p>"
    yield _verdicts(tally.verdicts())
    yield _NAVIGATION
    licenses = [(_code(name), _number(models)) for name, models in tally.licenses().items()]
    yield _table("Licences", "A model may be under several.", ("Licence", "Models"), licenses)
    findings = [
        (_code(name), escape(severity), _number(models), escape(FINDINGS.get(name, "a rule of a licence")))
        for (name, severity), models in tally.findings().items()
    ]
    yield _table("Findings", "", ("Finding", "Severity", "Models", "Meaning"), findings)
    roots = tally.roots()
    lineages = [
        (_code(root), _number(sum(verdicts.values())), *(_number(verdicts.get(level, 0)) for level in LEVELS))
        for root, verdicts in roots.items()
    ]
    heads = ("Root base", "Models", *(LEVEL_WORDS[level] for level in LEVELS))
    yield _table("Lineages", "Models by the work at the end of their lineage.", heads, lineages)
    yield _models(audit)
    yield from _gone(audit)
    yield (
        f"<footer>Made by tk {toolkit.__version__}, licence data {escape(vocabulary().version)}. "
        "Not legal advice: check the clauses.</footer>"
    )


def _verdicts(counts: dict[str, int]) -> str:
    """The counts as a bar, and as a list that says the same in words."""
    parts = [
        f'<span style="flex:{models};background:var(--{level})"></span>' for level, models in counts.items() if models
    ]
    cells = [
        f'<li style="border-color:var(--{level})"><b>{models:,}</b> {escape(LEVEL_WORDS[level])}</li>'
        for level, models in counts.items()
    ]
    return f'<div class="bar" aria-hidden="true">{"".join(parts)}</div>\n<ul class="verdicts">{"".join(cells)}</ul>'


def _models(audit: Audit) -> str:
    shown = audit.shown(_MOST_MODELS)
    rows = [_model(audited) for audited in shown]
    said = "Worst first." if audit.baseline is None else "What was not accepted before, worst first."
    if audit.new > len(shown):
        said = f"The first {len(shown):,} of {audit.new:,}, worst first; <code>--format jsonl</code> has every model."
    return _table("What fails", said, ("Model", "Verdict", "Licences", "Because", "Where"), rows, most=_MOST_MODELS)


def _model(audited: Audited) -> tuple[str, ...]:
    result, outcome = audited.result, audited.result.outcome
    verdict = f'<span class="verdict" style="color:var(--{outcome.verdict})">{LEVEL_WORDS[outcome.verdict]}</span>'
    licenses = " ".join(_code(name) for name in outcome.license_ids())
    return _code(result.id), verdict, licenses, escape(reasons(audited)), _code(result.where)


def _gone(audit: Audit) -> Iterator[str]:
    gone = audit.baseline.gone() if audit.baseline else ()
    if gone:
        rows = [(_code(entry.model), escape(str(entry.item))) for entry in gone]
        yield _table("Accepted before and not found any more", "", ("Model", "Accepted"), rows)


def _table(
    title: str, said: str, heads: Iterable[str], rows: Sequence[tuple[str, ...]], *, most: int = _MOST_ROWS
) -> str:
    """A titled table of cells that are HTML, no longer than `most` rows and saying so; nothing when it has none."""
    anchor = title.lower().replace(" ", "-")
    if not rows:
        return f'<h2 id="{anchor}">{escape(title)}</h2>\n<p>None.</p>'
    if len(rows) > most:
        said = f"{said} The first {most:,} of {len(rows):,}.".strip()
    aligned = [' class="number"' if cell.replace(",", "").isdigit() else "" for cell in rows[0]]
    head = "".join(
        f'<th scope="col"{how}>{escape(text[:1].upper() + text[1:])}</th>'
        for text, how in zip(heads, aligned, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td{how}>{cell}</td>" for cell, how in zip(rest, aligned[1:], strict=True))
        + "</tr>\n"
        for first, *rest in rows[:most]
    )
    caption = f"<caption>{said}</caption>" if said else ""
    return (
        f'<h2 id="{anchor}">{escape(title)}</h2>\n<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def _number(count: int) -> str:
    return f"{count:,}"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
