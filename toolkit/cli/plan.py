"""`tk plan`: what exactly would run, on which GPU, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli import plan_data
from toolkit.cli.options import (
    access,
    format_option,
    manner,
    offline_option,
    policy_options,
    print_json,
    set_option,
)

if TYPE_CHECKING:
    from toolkit.planning.gpu import Device
    from toolkit.planning.prepare import Prepared
    from toolkit.planning.recipe import Recipe
    from toolkit.training.probe import Measured


@click.command("plan")
@click.argument("recipe")
@set_option
@click.option("--gpu", metavar="NAME", help="Plan for this GPU: a name, a size such as 24GiB, or cpu. Default: detect.")
@click.option("--gpus", type=click.IntRange(1), metavar="N", help="Plan for N of them. Default: one where it suffices.")
@click.option("--all-gpus", is_flag=True, help="A table instead: the recipe on every GPU that tk knows.")
@click.option("--all-bases", is_flag=True, help="A table instead: every base that tk knows on this GPU.")
@click.option("--probe", is_flag=True, help="Run two real steps of the longest rows here, and compare.")
@click.option("--exact", is_flag=True, help="Trace the chosen step on tensors without memory; any architecture.")
@click.option("--check-data", is_flag=True, help="Report on the data instead: bad and long rows, duplicates, leaks.")
@click.option(
    "--show-sample",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=1,
    metavar="[N]",
    help="Show N rows instead, with the tokens that the loss counts marked.",
)
@policy_options
@offline_option
@format_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    gpu: str | None,
    gpus: int | None,
    all_gpus: bool,
    all_bases: bool,
    probe: bool,
    exact: bool,
    check_data: bool,
    show_sample: int | None,
    strict: bool,
    policy: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Show what a recipe would run on a GPU, each choice with its reason, and the memory and time it needs.

    \b
    Examples:
      tk plan recipes/qwen-lora.yaml --gpu 24GiB
      tk plan recipes/embedded-qwen-lora.yaml --set train.batch_size=8 --format json
      tk plan recipes/llama-lora.yaml --gpu "A100 40GB" --gpus 4
      tk plan recipes/qwen-lora.yaml --all-gpus
      tk plan recipes/qwen-lora.yaml --gpu 24GiB --exact
      tk plan recipes/embedded-qwen-lora.yaml --check-data
      tk plan recipes/embedded-qwen-lora.yaml --show-sample 2
    """
    from toolkit.cli.plan_text import plan_text
    from toolkit.errors import UsageError
    from toolkit.planning.detect import detect, device_of
    from toolkit.planning.prepare import prepare
    from toolkit.planning.recipe import load_recipe

    if all_gpus + all_bases + probe + exact + check_data + (show_sample is not None) > 1:
        raise UsageError("--all-gpus, --all-bases, --probe, --exact, --check-data and --show-sample: name one of them")
    if exact and gpus and gpus > 1:
        raise UsageError("--exact traces a step on one GPU; leave --gpus out")
    if all_gpus and gpu:
        raise UsageError("--all-gpus plans for every GPU; leave --gpu out")
    if probe and gpu not in (None, "cpu"):
        raise UsageError(f"--probe runs on the device at hand, not on {gpu}; leave --gpu out, or say cpu")
    if probe and gpus and gpus > 1:
        raise UsageError("--probe runs on one device; leave --gpus out")
    loaded = load_recipe(recipe, overrides)
    device = detect(ask_torch=True) if probe and not gpu else device_of(gpu, None if all_gpus else gpus)
    if all_bases:
        _print_bases(loaded, device, gpus, format_)
        return
    judging = manner(strict=strict, policy=policy)
    if exact:
        from toolkit.training.tracing.exact import exactly, shape_or_trace

        prepared = prepare(loaded, device, access(offline), judging, gpus=gpus, read=shape_or_trace)
        prepared = replace(prepared, plan=exactly(prepared.plan, loaded, prepared.examination.snapshot))
    else:
        prepared = prepare(loaded, device, access(offline), judging, gpus=gpus)
    if check_data:
        plan_data.check_data(prepared, offline, format_)
        return
    if show_sample is not None:
        plan_data.show_samples(prepared, show_sample, offline, format_)
        return
    if all_gpus:
        _print_gpus(prepared, gpus, format_)
        return
    measured = _probe(prepared, recipe, offline) if probe else None
    if format_ == "json":
        tried = {"probe": measured.to_json()} if measured else {}
        print_json({**prepared.plan.to_json(), "verdict": prepared.examination.verdict.level, **tried})
    else:
        click.echo(plan_text(prepared.plan, prepared.examination.verdict, measured))


def _print_gpus(prepared: Prepared, gpus: int | None, format_: str) -> None:
    from toolkit.cli.matrix_text import matrix_text
    from toolkit.planning.matrix import over_gpus
    from toolkit.planning.rows import rows_of

    recipe = prepared.recipe
    entries = over_gpus(recipe, prepared.plan.shape, gpus=gpus, rows=rows_of(recipe))
    if format_ == "json":
        print_json({"schema": "tk/plans/1", "base": recipe.base, "gpus": [entry.to_json() for entry in entries]})
    else:
        of_each = f", {gpus} of each" if gpus and gpus > 1 else ""
        click.echo(matrix_text(f"{recipe.base} by {recipe.path} on every known GPU{of_each}", entries, bases=False))


def _print_bases(recipe: Recipe, device: Device, gpus: int | None, format_: str) -> None:
    from toolkit.cli.matrix_text import matrix_text
    from toolkit.planning.matrix import over_bases
    from toolkit.planning.rows import rows_of

    entries = over_bases(recipe, device, gpus=gpus, rows=rows_of(recipe))
    if format_ == "json":
        rows = [entry.to_json() for entry in entries]
        print_json({"schema": "tk/plans/1", "device": device.to_json(), "bases": rows})
    else:
        count = f"{gpus} x " if gpus and gpus > 1 else ""
        click.echo(matrix_text(f"Every known base by {recipe.path} on {count}{device.name}", entries, bases=True))


def _probe(prepared: Prepared, recipe: str, offline: bool) -> Measured:
    """Two steps of the plan with the base's real weights. What is forbidden is not tried either; an open question does
    not stop a probe, of which nothing is kept."""
    from toolkit.errors import TkError
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.planning.gate import grant
    from toolkit.planning.prepare import require_fit
    from toolkit.training.environment import prepare
    from toolkit.training.probe import probe

    grant(prepared.examination.verdict, prepared.recipe, "a probe, of which nothing is kept")
    require_fit(prepared.plan, recipe)
    if prepared.plan.gpus > 1:
        text = f"the plan takes {prepared.plan.gpus} GPUs; a probe runs two steps on one"
        raise TkError(text, where=recipe, hint="leave --gpus out, and sharding in the recipe")
    prepare(prepared.plan.device.visible)
    snapshot = resolve(parse_reference(prepared.recipe.base), access(offline, weights=True))
    return probe(prepared.recipe, prepared.plan, snapshot)
