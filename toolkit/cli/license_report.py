"""What was read of each licence: rules, clauses, topics that its text is silent on, and topics that nobody read."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.licensing.library import Library
from toolkit.licensing.terms import KINDS, Terms


def report(library: Library) -> list[dict[str, object]]:
    """One entry for each licence of the library."""
    return [_entry(library.terms(identifier)) for identifier in library.ids]


def report_text(entries: list[dict[str, object]]) -> str:
    """The entries as a table with totals, and what is not read in full below it."""
    return "\n".join(_lines(entries))


def _entry(terms: Terms) -> dict[str, object]:
    clauses = [rule.clause for rule in terms.rules] + [clause for _, clause, _ in terms.spoken]
    return {
        "id": terms.id,
        "subject": terms.head.subject,
        "read": terms.head.source.get("read"),
        "unread": terms.head.unread,
        "rules": {kind: sum(rule.kind == kind for rule in terms.rules) for kind in KINDS},
        "rules_without_clause": sum(not rule.clause for rule in terms.rules),
        "clauses": list(dict.fromkeys(clauses)),
        "silent": list(terms.silent),
        "not_read": list(terms.not_read),
    }


def _lines(entries: list[dict[str, object]]) -> Iterator[str]:
    width = max(len(str(entry["id"])) for entry in entries)
    yield f"{'licence':{width}}  subject  rules  clauses  silent  not read  read"
    rules = without = 0
    for entry in entries:
        counts: dict[str, int] = entry["rules"]  # type: ignore[assignment]
        rules += sum(counts.values())
        without += int(str(entry["rules_without_clause"]))
        sizes = [len(entry[key]) for key in ("clauses", "silent", "not_read")]  # type: ignore[arg-type]
        yield (
            f"{entry['id']:{width}}  {entry['subject']:7}  {sum(counts.values()):5}  {sizes[0]:7}  {sizes[1]:6}  "
            f"{sizes[2] if not entry['unread'] else 'all':>8}  {entry['read'] or 'no'}"
        )
    yield ""
    yield f"{len(entries)} licences, {rules} rules, {without} of them without a clause."
    for entry in entries:
        if entry["unread"]:
            yield f"{entry['id']}: not read. {entry['unread']}"
        elif entry["not_read"]:
            yield f"{entry['id']}: not read on {', '.join(entry['not_read'])}."  # type: ignore[arg-type]
