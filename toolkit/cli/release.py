"""`tk release`: put together what others receive, with everything that is owed along with it."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import format_option, print_json, run_argument


@click.command("release")
@run_argument
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="New folder.")
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Release these exported weights, not the adapter.",
)
@click.option("--name", help="Name of the released model; default: the planned name, else the run's folder.")
@click.option("--attest", multiple=True, metavar="OBLIGATION=WHO", help="Answer for an obligation nobody can check.")
@click.option("--license-file", multiple=True, metavar="LICENSE=FILE", help="Text of a licence the base came without.")
@format_option
def command(
    run: Path,
    target: Path,
    export: Path | None,
    name: str | None,
    attest: tuple[str, ...],
    license_file: tuple[str, ...],
    format_: str,
) -> None:
    """Make a release: the adapter, its card, licence copies, NOTICE, bills of materials, provenance, obligations.

    With --export it is the weights that `tk export RUN --merge` or `--gguf` wrote, which hands the base on as well.

    Exit code: 0 made, 1 error, 5 an obligation is open (nothing is made then).

    \b
    Examples:
      tk release runs/embedded-qwen-lora --to releases/support-triage
      tk release runs/embedded-qwen-lora --export runs/embedded-qwen-lora/merged --to releases/support-merged
      tk release runs/llama-lora --to releases/x --name Llama-Support --attest "aup=J. Doe, ticket 12"
    """
    from toolkit.errors import UsageError
    from toolkit.release.bundle import release

    if name is not None and (not name.strip() or not name.isprintable() or ".." in name or name.startswith("/")):
        raise UsageError(f"--name {name!r}: write a plain name such as Llama-Support, or organisation/Llama-Support")
    files = {key: Path(value) for key, value in _pairs("--license-file", license_file).items()}
    report = release(
        run, target, name=name, attestations=_pairs("--attest", attest), license_files=files, export=export
    )
    if format_ == "json":
        print_json(report.to_json())
        return
    click.echo(f"Released {report.name} to {target}: {len(report.files)} files, licences {', '.join(report.licenses)}.")
    for line in report.fulfilled:
        click.echo(f"  {line}")
    click.echo(f"Next: tk verify {target}", err=True)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    from toolkit.errors import UsageError

    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"{option} {text}: write it as KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs
