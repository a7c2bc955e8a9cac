"""`tk runs`: which runs there are and how each ended; `tk runs compare`: two of them side by side."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import format_option, print_json

_HELP = ("-h", "--help")


class Runs(click.Group):
    """`tk runs [FOLDER]` is short for `tk runs list [FOLDER]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in _HELP):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("runs", cls=Runs)
def command() -> None:
    """List runs, or compare two. `tk runs [FOLDER]` lists.

    \b
    Examples:
      tk runs
      tk runs compare runs/first runs/second
    """


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default="runs")
@format_option
def list_(folder: Path, format_: str) -> None:
    """List the runs below FOLDER (default: runs), the newest first: finished, stopped, killed or damaged.

    A run that is damaged is listed with what is wrong with it, and hides no other.

    \b
    Examples:
      tk runs
      tk runs /data/runs --format json
    """
    from toolkit.cli.runs_text import runs_text
    from toolkit.release.runs import list_runs

    found = list_runs(folder)
    if format_ == "json":
        print_json({"schema": "tk/runs/1", "folder": str(folder), "runs": [run.to_json() for run in found]})
    else:
        click.echo(runs_text(found, folder))


@command.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@format_option
def compare(first: Path, second: Path, format_: str) -> None:
    """Show what two finished runs were told differently, beside what came of each.

    \b
    Examples:
      tk runs compare runs/first runs/second
      tk runs compare runs/first runs/second --format json
    """
    from toolkit.cli.runs_text import comparison_text
    from toolkit.release.comparison import compare as compare_records
    from toolkit.release.record import read_record

    found = compare_records(read_record(first), read_record(second))
    if format_ == "json":
        print_json({**found.to_json(), "first": str(first), "second": str(second)})
    else:
        click.echo(comparison_text(found, first, second))
