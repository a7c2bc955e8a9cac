"""`tk finetune`: train a recipe, if the gate permits it, and leave a run with its record."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options import (
    access,
    format_option,
    manner,
    offline_option,
    policy_options,
    print_json,
    set_option,
)


@click.command("finetune")
@click.argument("recipe")
@set_option
@click.option("--gpu", metavar="NAME", help="Plan for this device instead of the one detected, such as cpu.")
@click.option("--acknowledge", metavar="WHO, TICKET", help="Answer for a needs-review; recorded and shown on the card.")
@click.option("--overwrite", is_flag=True, help="Replace the run that the output folder already holds.")
@policy_options
@offline_option
@format_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    gpu: str | None,
    acknowledge: str | None,
    overwrite: bool,
    strict: bool,
    policy: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Fine-tune a base by a recipe. Nothing is loaded before the licence gate says yes.

    Exit code: 0 trained, 1 error, 3 the base may not be used so, 4 the use needs review (see --acknowledge).

    \b
    Examples:
      tk finetune recipes/embedded-qwen-lora.yaml
      tk finetune recipes/qwen-lora.yaml --set output=runs/second --set train.epochs=1
    """
    from toolkit.cli.progress import Progress
    from toolkit.cli.run_text import run_text
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.planning.detect import device_of
    from toolkit.planning.gate import grant
    from toolkit.planning.prepare import prepare, require_fit
    from toolkit.planning.recipe import load_recipe
    from toolkit.release.record import read_record
    from toolkit.training.data import load_data
    from toolkit.training.environment import prepare as prepare_environment
    from toolkit.training.run import finetune

    progress = Progress()
    loaded = load_recipe(recipe, overrides)
    judging = manner(strict=strict, policy=policy)
    prepared = prepare(loaded, device_of(gpu), access(offline), judging)
    data = load_data(loaded, offline=offline)
    permit = grant(prepared.examination.verdict, loaded, acknowledge)
    progress.say(f"Permit: for this use {loaded.base} is {permit.verdict}.")
    require_fit(prepared.plan, recipe)
    progress.say("Loading the training libraries …")
    prepare_environment(prepared.plan.device.visible)
    snapshot = resolve(parse_reference(loaded.base), access(offline, weights=True))
    try:
        run = finetune(
            permit,
            loaded,
            prepared.plan,
            snapshot,
            prepared.examination.verdict,
            data=data,
            overwrite=overwrite,
            offline=offline,
            progress=progress,
        )
    finally:
        progress.close()
    record = read_record(run)
    if format_ == "json":
        print_json(record)
    else:
        click.echo(run_text(record, run))
