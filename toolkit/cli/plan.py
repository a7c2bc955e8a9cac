"""`tk plan`: what exactly would run, on which GPU, and why."""

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


@click.command("plan")
@click.argument("recipe")
@set_option
@click.option("--gpu", metavar="NAME", help="Plan for this GPU: a name, a size such as 24GiB, or cpu. Default: detect.")
@click.option("--exact", is_flag=True, help="Trace the chosen step on tensors without memory; any architecture.")
@policy_options
@offline_option
@format_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    gpu: str | None,
    exact: bool,
    strict: bool,
    policy: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Show what a recipe would run on a GPU, each choice with its reason, and the memory it needs.

    \b
    Examples:
      tk plan recipes/qwen-lora.yaml --gpu 24GiB
      tk plan recipes/embedded-qwen-lora.yaml --set train.batch_size=8 --format json
      tk plan recipes/qwen-lora.yaml --gpu 24GiB --exact
    """
    from toolkit.cli.plan_text import plan_text
    from toolkit.planning.detect import detect
    from toolkit.planning.gpu import named
    from toolkit.planning.prepare import prepare
    from toolkit.planning.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    judging = manner(strict=strict, policy=policy)
    device = named(gpu) if gpu else detect()
    if exact:
        from toolkit.training.tracing.exact import exactly, shape_or_trace

        prepared = prepare(loaded, device, access(offline), judging, read=shape_or_trace)
        plan = exactly(prepared.plan, loaded, prepared.examination.snapshot)
    else:
        prepared = prepare(loaded, device, access(offline), judging)
        plan = prepared.plan
    if format_ == "json":
        print_json({**plan.to_json(), "verdict": prepared.examination.verdict.level})
    else:
        click.echo(plan_text(plan, prepared.examination.verdict))
