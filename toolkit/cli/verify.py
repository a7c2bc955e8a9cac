"""`tk verify`: is a release what its papers say, and does it carry what it owes?"""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import format_option, print_json


@click.command("verify")
@click.argument("release", type=click.Path(path_type=Path))
@format_option
@click.pass_context
def command(ctx: click.Context, release: Path, format_: str) -> None:
    """Verify a release folder: every byte against its provenance, every document against the others.

    Exit code: 0 as it should be, 1 not a release, 5 something was changed, is missing or is owed.

    \b
    Examples:
      tk verify releases/support-triage
      tk verify releases/support-triage --format json
    """
    from toolkit.release.verify import verify

    report = verify(release)
    if format_ == "json":
        print_json(report.to_json())
    elif report.problems:
        click.echo(f"{release}: {len(report.problems)} problem(s)")
        for problem in report.problems:
            click.echo(f"  {problem.file}: {problem.what}")
    else:
        click.echo(f"{release}: verified, {report.files} files as its provenance says, every obligation fulfilled.")
    ctx.exit(5 if report.problems else 0)
