"""`tk card`: the model card of a run."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import print_json, run_argument


@click.command("card")
@run_argument
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file instead of stdout.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "html", "json"]), default="text", show_default=True,
    help="Markdown with front matter, one self-contained HTML file, or JSON holding both.",
)  # fmt: skip
def command(run: Path, to: Path | None, format_: str) -> None:
    """Write the model card of a run, from its record alone: terms, data, settings, evaluation, provenance.

    \b
    Examples:
      tk card runs/embedded-qwen-lora
      tk card runs/embedded-qwen-lora --format html --to card.html
    """
    from toolkit.files.atomic import write_json, write_text
    from toolkit.release.card import render_card
    from toolkit.release.card_html import render_card_html
    from toolkit.release.record import read_record

    record = read_record(run)
    if format_ == "json":
        both = {"schema": "tk/card/1", "markdown": render_card(record), "html": render_card_html(record)}
        if to is None:
            print_json(both)
        else:
            write_json(to, both)
    else:
        text = render_card_html(record) if format_ == "html" else render_card(record)
        if to is None:
            click.echo(text, nl=not text.endswith("\n"))
        else:
            write_text(to, text)
    if to is not None:
        click.echo(f"Wrote {to}.", err=True)
