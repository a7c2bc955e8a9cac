"""`tk license-check`: does the licence of a model permit the intended use?"""

from __future__ import annotations

from typing import Any

import click

from toolkit.cli.options import access, format_option, intended_use, offline_option, print_json, use_options


@click.command("license-check")
@click.argument("target")
@use_options
@click.option("--strict", is_flag=True, help="Turn every assumption into a question.")
@offline_option
@format_option
@click.pass_context
def command(ctx: click.Context, /, target: str, strict: bool, offline: bool, format_: str, **flags: Any) -> None:
    """Check a model's licences, its bases' included, against an intended use.

    TARGET is a folder, a hub id (org/name[@revision]) or embedded:FAMILY.
    Exit code: 0 allowed, 3 prohibited or a separate licence is needed, 4 needs review.

    \b
    Examples:
      tk license-check Qwen/Qwen2.5-7B-Instruct --distribution internal --commercial
      tk license-check ./my-adapter --use examples/use-internal.yaml --format json
    """
    from toolkit.models.lineage import examine

    use = intended_use(flags)
    verdict = examine(target, use, access(offline), strict=strict).verdict
    if format_ == "json":
        print_json(verdict.to_json())
    else:
        from toolkit.cli.verdict_text import verdict_text

        click.echo(verdict_text(verdict, use))
    ctx.exit(verdict.exit_code)
