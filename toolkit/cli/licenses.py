"""`tk licenses`: the licences that `tk` knows, what each asks, clause by clause, and which one a file is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options import format_option, print_json

if TYPE_CHECKING:
    from toolkit.licensing.recognition.field_report import FieldDifference, FieldReport
    from toolkit.licensing.recognition.recognise import Recognition

_SHOWN_FIELDS = 4  # in which a sibling differs
_SHOWN_SIBLINGS = 3


@click.group("licenses")
def command() -> None:
    """List the licences that tk knows, show one clause by clause, or say which one a file is.

    \b
    Examples:
      tk licenses show llama-3.1
      tk licenses identify LICENSE
    """


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """List the licences.

    \b
    Examples:
      tk licenses list
      tk licenses list --format json
    """
    from toolkit.licensing.library import library

    known = library()
    heads = [known.head(identifier) for identifier in known.ids]
    if format_ == "json":
        print_json([{"id": head.id, "name": head.name, "spdx": head.spdx, "subject": head.subject} for head in heads])
        return
    width = max(len(head.id) for head in heads)
    for head in heads:
        click.echo(f"{head.id:{width}}  {head.subject:6}  {head.name}")


@command.command("show")
@click.argument("identifier", metavar="ID")
@format_option
def show(identifier: str, format_: str) -> None:
    """Show one licence: its rules by clause, the models known to be under it, and where it was read.

    \b
    Examples:
      tk licenses show apache-2.0
      tk licenses show qwen-research-2024 --format json
    """
    from toolkit.licensing.library import library

    terms = library().terms(identifier)
    head = terms.head
    if format_ == "json":
        rules = [
            {"id": rule.id, "kind": rule.kind, "topic": rule.topic, "trigger": sorted(rule.trigger), "clause": rule.clause,
             "summary": rule.summary, "obligation": rule.obligation, "value": rule.value}
            for rule in terms.rules
        ]  # fmt: skip
        print_json({
            "id": head.id, "name": head.name, "spdx": head.spdx, "subject": head.subject, "source": dict(head.source),
            "models": [pattern.match for pattern in head.models], "rules": rules,
            "silent": list(terms.silent), "not_read": list(terms.not_read),
        })  # fmt: skip
        return
    click.echo(f"{head.id}: {head.name}")
    click.echo(
        f"  SPDX {head.spdx}; read {head.source.get('read', 'at an unknown date')} from {head.source.get('origin')}"
    )
    for rule in terms.rules:
        click.echo(f"  {rule.clause:10} {rule.kind:11} {rule.summary}" + (f" “{rule.value}”" if rule.value else ""))
    for topic, clause, summary in terms.spoken:
        click.echo(f"  {clause:10} {topic:11} {summary}")
    click.echo(f"  silent on: {', '.join(terms.silent) or 'nothing asked here'}")
    click.echo(f"  not read for: {', '.join(terms.not_read) or 'nothing'}")
    for pattern in head.models:
        click.echo(f"  covers {pattern.match} ({pattern.evidence})")


@command.command("report")
@format_option
def report(format_: str) -> None:
    """Show what was read of each licence: rules, clauses, topics its text is silent on, and what nobody read.

    \b
    Examples:
      tk licenses report
      tk licenses report --format json
    """
    from toolkit.cli import license_report
    from toolkit.licensing.library import library

    entries = license_report.report(library())
    if format_ == "json":
        print_json(entries)
    else:
        click.echo(license_report.report_text(entries))


@command.command("identify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--embedded", is_flag=True, help="The licence stands inside other text, as in a README.")
@format_option
def identify(file: Path, embedded: bool, format_: str) -> None:
    """Say which licence a text file is, and every sentence in it that is not the original's. `-` reads stdin.

    Exits with 0 when the text is a licence as its authors wrote it, and with 4 (needs review) when it was changed or is
    no licence that tk knows.

    \b
    Examples:
      tk licenses identify LICENSE
      tk licenses identify README.md --embedded --format json
    """
    from toolkit.files.shipped import shipped
    from toolkit.licensing.recognition.prints import fingerprints
    from toolkit.licensing.recognition.recognise import recognise
    from toolkit.licensing.recognition.sources import LARGEST_BYTES, read_source

    name = "stdin" if str(file) == "-" else str(file)
    source = sys.stdin.buffer.read(LARGEST_BYTES + 1) if name == "stdin" else file
    text = read_source(source, name)
    found = recognise(text, fingerprints(shipped("licenses") / "fingerprints"), embedded=embedded)
    if format_ == "json":
        print_json({
            "schema": "tk/identify/1", "id": found.id, "similarity": found.similarity, "modified": found.modified,
            "others": [{"id": other.id, "similarity": other.similarity} for other in found.others],
            "changes": [{"kind": change.kind, "clause": change.clause, "text": change.text} for change in found.changes],
            "fields": _fields(found.fields),
        })  # fmt: skip
    else:
        _print_recognition(found, name)
    if found.id is None or found.modified:
        raise click.exceptions.Exit(4)


def _fields(report: FieldReport) -> dict[str, object]:
    return {
        "values": [
            {"field": one.field, "value": one.value, "clause": one.clause, "original": one.original} for one in report.values
        ],
        "differences": _differences(report.differences),
        "siblings": [{"id": one.id, "differences": _differences(one.differences)} for one in report.siblings],
    }  # fmt: skip


def _differences(differences: tuple[FieldDifference, ...]) -> list[dict[str, object]]:
    return [
        {"field": one.field, "clause": one.clause, "original": one.original, "value": one.value, "text": one.words}
        for one in differences
    ]


def _print_fields(found: Recognition) -> None:
    report = found.fields
    if report.differences:
        click.echo(f"  in its fields it is not {found.id}'s:")
        for one in report.differences:
            click.echo(f"    line {one.line}, {_place(one.clause)}: {one.words}")
    for sibling in report.siblings[:_SHOWN_SIBLINGS]:
        words = "; ".join(one.words for one in sibling.differences[:_SHOWN_FIELDS])
        more = len(sibling.differences) - _SHOWN_FIELDS
        said = f"{words}{f'; and {more} more' if more > 0 else ''}" if words else "no field differs"
        click.echo(f"  beside {sibling.id}: {said}")
    shown: dict[str, dict[str, None]] = {}
    for value in report.values:
        shown.setdefault(value.field, {}).setdefault(value.value)
    if shown.keys() <= {"version", "date"} and not report.differences:
        return  # no template: its id says as much
    for field, values in shown.items():
        click.echo(f"  {field}: {'; '.join(values)}")


def _print_recognition(found: Recognition, name: str) -> None:
    nearest = ", ".join(f"{other.id} ({other.similarity:.0%})" for other in found.others)
    if found.id is None:
        click.echo(f"{name} is no licence that tk knows" + (f"; nearest: {nearest}" if nearest else "."))
        _print_fields(found)
        return
    if not found.modified:
        click.echo(f"{name} is {found.id}, as its authors wrote it.")
    else:
        count = len(found.changes)
        share = f"{found.similarity:.2%} alike" if found.similarity < 0.9999 else "all but the same"
        click.echo(f"{name} is {found.id} with {count} change{'s' * (count != 1)} ({share}).")
    for change in found.changes:
        click.echo(f"  line {change.line}, {_place(change.clause)} {change.kind}: {_shown(change.text, change.kind)}")
        if change.original_numbers:
            click.echo(f"    the original says {', '.join(change.original_numbers)} where this does not")
    for match in found.matches[1:]:
        modified = "modified" if match.modified else "as its authors wrote it"
        click.echo(f"  lines {match.first_line}–{match.last_line} are {match.id}, {modified}")
    for first, last in found.surrounding:
        click.echo(f"  lines {first}–{last} stand around it and were not compared")
    if nearest and found.modified:
        click.echo(f"  others that are near: {nearest}")
    _print_fields(found)


def _place(clause: str) -> str:
    return f"clause {clause}" if clause[:1].isdigit() else clause


def _shown(text: str, kind: str) -> str:
    if kind == "missing":
        return text
    return f"“{text}”" if len(text) <= 400 else f"“{text[:300].rstrip()} … {text[-80:].lstrip()}”"
