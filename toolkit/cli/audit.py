"""`tk audit`: which of many models may be used as intended?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.audit_formats import FORMATS, NEED_A_FILE
from toolkit.cli.options import access, intended_use, manner, offline_option, policy_options, use_options

if TYPE_CHECKING:
    from toolkit.audit.audited import Audit, Audited
    from toolkit.audit.sources import Source
    from toolkit.cli.audit_formats import Report
    from toolkit.cli.audit_progress import AuditProgress
    from toolkit.licensing.judge import Manner
    from toolkit.licensing.use import IntendedUse

INTERRUPTED = 130


@click.command("audit")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@use_options
@policy_options
@offline_option
@click.option("--fail-on", multiple=True, metavar="WHAT[,WHAT...]",
              help="Verdicts, ids of findings, error, warning, or none.  "
              "[default: prohibited,needs-separate-license,needs-review]")  # fmt: skip
@click.option("--baseline", type=click.Path(path_type=Path), help="Accepted findings: only what is new fails.")
@click.option("--write-baseline", type=click.Path(path_type=Path), help="Accept what fails now, into this file.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that read models.  [default: one for each core]")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True, help="What to write."
)
@click.option("--to", type=click.Path(path_type=Path), help="Write into this file (parquet and html need one).")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[Path, ...],
    strict: bool,
    policy: Path | None,
    offline: bool,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    write_baseline: Path | None,
    jobs: int | None,
    format_: str,
    to: Path | None,
    **flags: Any,
) -> None:
    """Check many models against one intended use.

    A PATH is a folder of models, a hub cache, a list of hub ids (text, CSV or JSON lines), or a table of hub metadata
    (Parquet, CSV or JSON lines with tags, card data or columns such as license and base_model).
    Exit code: 0 when nothing fails, else 3 when a failing model is prohibited or needs a separate licence, else 4.

    \b
    Examples:
      tk audit ./registry --use examples/use-internal.yaml --offline
      tk audit hub.parquet --distribution weights --commercial --format html --to audit.html
    """
    from toolkit.audit.audited import Audit
    from toolkit.audit.baseline import read_baseline
    from toolkit.audit.failing import read_fail_on
    from toolkit.audit.sources import source_of
    from toolkit.cli.audit_baseline import accepting
    from toolkit.cli.audit_formats import report
    from toolkit.cli.audit_progress import AuditProgress
    from toolkit.errors import UsageError
    from toolkit.licensing.library import library
    from toolkit.models.lineage import dated

    if format_ in NEED_A_FILE and to is None:
        raise UsageError(f"--format {format_} needs a file", hint="name it with --to")
    use, _ = intended_use(flags)
    judging = dated(manner(strict=strict, policy=policy))
    audit = Audit(read_fail_on(fail_on, library()), read_baseline(baseline, use) if baseline else None)
    sources = [source_of(path) for path in paths]
    progress = AuditProgress(streaming=to is None and format_ not in ("text", *NEED_A_FILE))
    try:
        with ExitStack() as open_:
            written = open_.enter_context(report(format_, to, use))
            accept = open_.enter_context(accepting(write_baseline, use))
            open_.enter_context(progress)
            for source in sources:
                progress.say(source.says())
                for audited in _go_through(
                    source, audit, written, progress, use, judging, offline, jobs, many=len(sources) > 1
                ):
                    accept(audited)
            progress.close()
            written.end(audit)
    except KeyboardInterrupt:
        progress.close()
        click.echo(f"Interrupted after {audit.tally.models:,} models.", err=True)
        ctx.exit(INTERRUPTED)
    if format_ != "text" or to is not None:
        from toolkit.cli.audit_formats.text import fails_in_words

        click.echo(fails_in_words(audit), err=True)
    if audit.repeated:
        click.echo(f"{audit.repeated:,} rows repeat an id; bases are read from the first row that has it.", err=True)
    ctx.exit(0 if write_baseline else audit.exit_code)


def _go_through(
    source: Source,
    audit: Audit,
    written: Report,
    progress: AuditProgress,
    use: IntendedUse,
    judging: Manner,
    offline: bool,
    jobs: int | None,
    *,
    many: bool,
) -> Iterator[Audited]:
    """Judge the models of one source into the report. Gives those of which something fails, once they are written."""
    from toolkit.audit.sources import models_of

    if source.kind == "table":
        yield from _table(source, audit, written, progress, use, judging)
        return
    from toolkit.audit.workers import Task, results

    registries = (source.path,) if source.kind in ("models", "cache") else ()
    task = Task(use, judging, offline, registries)
    models = progress.counted(models_of(source, prefix=many), lambda: models_of(source, prefix=many))
    for audited in audit.each(results(models, task, jobs or os.cpu_count() or 1)):
        written.add(audited)
        if audited.failing:
            yield audited


def _table(
    source: Source, audit: Audit, written: Report, progress: AuditProgress, use: IntendedUse, judging: Manner
) -> Iterator[Audited]:
    from toolkit.audit.table.judged import judge_table
    from toolkit.models.lineage import companions, role_of_target

    reach = access(offline=True)
    beside = companions(use, reach)
    judged = judge_table(source.path, use, reach.library, judging, role_of_target(use), beside, progress.stage)
    progress.stage(f"writing {judged.rows.height:,} rows")
    if written.takes_tables:
        failing = list(audit.table(judged, every=False)) if audit.baseline else []
        if not audit.baseline:
            yield from audit.table(judged, every=False)
        written.add_table(judged, audit, failing)
        yield from failing
        return
    for audited in audit.table(judged, every=written.every):
        written.add(audited)
        if audited.failing:
            yield audited
