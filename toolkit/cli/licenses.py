"""`tk licenses`: the licences that `tk` knows, and what each asks, clause by clause."""

from __future__ import annotations

import click

from toolkit.cli.options import format_option, print_json


@click.group("licenses")
def command() -> None:
    """List the licences that tk knows, or show one clause by clause.

    \b
    Examples:
      tk licenses list
      tk licenses show llama-3.1
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
