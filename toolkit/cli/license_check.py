"""`tk license-check`: does the licence of a model permit the intended use?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options import (
    access,
    intended_use,
    manner,
    offline_option,
    policy_options,
    print_json,
    use_options,
)

if TYPE_CHECKING:
    from toolkit.files.strict_yaml import Document
    from toolkit.licensing.use import IntendedUse
    from toolkit.licensing.verdict import Verdict

FORMATS = ("text", "json", "markdown", "sarif", "junit")


@click.command("license-check")
@click.argument("target")
@use_options
@policy_options
@click.option("--explain", is_flag=True, help="Show every rule considered, those that do not bind included, and why.")
@click.option("--ask/--no-ask", default=None, help="Ask for facts that decide. Default: on a terminal.")
@offline_option
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True, help="What to print."
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: str,
    strict: bool,
    policy: Path | None,
    explain: bool,
    ask: bool | None,
    offline: bool,
    format_: str,
    **flags: Any,
) -> None:
    """Check a model's licences, its bases' included, against an intended use.

    TARGET is a folder, a hub id (org/name[@revision]) or embedded:FAMILY.
    Exit code: 0 allowed, 3 prohibited or a separate licence is needed, 4 needs review.

    \b
    Examples:
      tk license-check Qwen/Qwen2.5-7B-Instruct --distribution internal --commercial
      tk license-check ./my-adapter --use examples/use-internal.yaml --format sarif
    """
    from toolkit.models.lineage import examine

    use, stated = intended_use(flags)
    judging = manner(strict=strict, policy=policy, explain=explain)
    reach = access(offline)
    verdict = examine(target, use, reach, judging).verdict
    if verdict.questions and ask is not False and format_ == "text":
        from toolkit.cli.interview import interview, is_terminal, offer_to_save

        if ask or is_terminal():
            before = use
            words = reach.library.words
            verdict, use = interview(verdict, use, words, lambda told: examine(target, told, reach, judging).verdict)
            if use != before:
                offer_to_save(use)
    _print(format_, verdict, use, stated)
    ctx.exit(verdict.exit_code)


def _print(format_: str, verdict: Verdict, use: IntendedUse, stated: Document) -> None:
    if format_ == "json":
        considered = [entry.to_json() for entry in verdict.considered]
        print_json({**verdict.to_json(), **({"considered": considered} if considered else {})})
    elif format_ == "sarif":
        from toolkit.cli.formats.sarif import sarif

        print_json(sarif(verdict, stated))
    elif format_ == "markdown":
        from toolkit.cli.formats.markdown import markdown

        click.echo(markdown(verdict, use))
    else:
        from toolkit.cli.verdict_text import verdict_text

        if format_ == "junit":
            from toolkit.cli.formats.junit import junit

            click.echo(junit(verdict, verdict_text(verdict, use)))
        else:
            click.echo(verdict_text(verdict, use))
