"""`tk finetune`: train a recipe, if the gate permits it, and leave a run with its record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from toolkit.cli.progress import Progress
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.plan import Plan
    from toolkit.planning.recipe import Recipe
    from toolkit.training.data import TrainingData


@click.command("finetune")
@click.argument("recipe")
@set_option
@click.option("--gpu", metavar="NAME", help="Plan for this device instead of the one detected, such as cpu.")
@click.option(
    "--gpus", type=click.IntRange(1), metavar="N", help="Train on N of them, on each node. On a CPU: processes."
)
@click.option("--nodes", type=click.IntRange(1), default=1, metavar="M", help="Train on M machines; run this on each.")
@click.option("--node-rank", type=click.IntRange(0), default=0, metavar="I", help="Which of them this is, from 0.")
@click.option("--rdzv-endpoint", metavar="HOST:PORT", help="Where nodes meet: an address of node 0 and a free port.")
@click.option("--rdzv-id", default="tk", metavar="NAME", help="Tells apart runs that meet at one address.")
@click.option("--local-addr", metavar="ADDRESS", help="This node's address for the others, where tk finds a wrong one.")
@click.option("--max-restarts", type=click.IntRange(0), default=0, metavar="R", help="Go on after losing a process.")
@click.option("--acknowledge", metavar="WHO, TICKET", help="Answer for a needs-review; recorded and shown on the card.")
@click.option("--overwrite", is_flag=True, help="Replace the run that the output folder already holds.")
@click.option("--verify-resume", is_flag=True, help="Only prove, in four steps, that a killed run goes on exactly.")
@policy_options
@offline_option
@format_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    gpu: str | None,
    gpus: int | None,
    nodes: int,
    node_rank: int,
    rdzv_endpoint: str | None,
    rdzv_id: str,
    local_addr: str | None,
    max_restarts: int,
    acknowledge: str | None,
    overwrite: bool,
    verify_resume: bool,
    strict: bool,
    policy: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Fine-tune a base by a recipe. Nothing is loaded before the licence gate says yes.

    Exit code: 0 trained, 1 error or the evaluation is not what the recipe requires, 3 the base may not be used so, 4 the use needs review (see --acknowledge).

    \b
    Examples:
      tk finetune recipes/embedded-qwen-lora.yaml
      tk finetune recipes/qwen-lora.yaml --set output=runs/second --set train.epochs=1
      tk finetune recipes/embedded-qwen-lora.yaml --verify-resume
      tk finetune recipes/llama-lora.yaml --gpus 4
      tk finetune recipes/llama-lora.yaml --gpus 8 --nodes 2 --node-rank 0 --rdzv-endpoint node-a:29500
    """
    from toolkit.cli.progress import Progress
    from toolkit.cli.run_text import refuse_unmet, run_text
    from toolkit.errors import UsageError
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import resolve
    from toolkit.planning.detect import device_of, on_nodes
    from toolkit.planning.gate import grant
    from toolkit.planning.prepare import prepare, require_fit
    from toolkit.planning.recipe import load_recipe
    from toolkit.release.record import read_record
    from toolkit.training.data import load_data
    from toolkit.training.distributed.launch import Nodes, launch
    from toolkit.training.distributed.order import Order
    from toolkit.training.distributed.supported import require_supported
    from toolkit.training.environment import prepare as prepare_environment
    from toolkit.training.run import finetune

    if verify_resume and (nodes > 1 or (gpus or 1) > 1):
        raise UsageError("--verify-resume runs in one process; leave --gpus and --nodes out")
    progress = Progress()
    meeting = Nodes(nodes, node_rank, rdzv_endpoint, rdzv_id, local_addr)
    loaded = load_recipe(recipe, overrides)
    judging = manner(strict=strict, policy=policy)
    device = on_nodes(device_of(gpu, gpus), nodes)
    prepared = prepare(loaded, device, access(offline), judging, gpus=device.count if gpus or nodes > 1 else None)
    data = load_data(loaded, offline=offline)
    permit = grant(prepared.examination.verdict, loaded, acknowledge)
    progress.say(f"Permit: for this use {loaded.base} is {permit.verdict}.")
    require_fit(prepared.plan, recipe)
    require_supported(prepared.plan, loaded)
    snapshot = resolve(parse_reference(loaded.base), access(offline, weights=True))
    plan, verdict = prepared.plan, prepared.examination.verdict
    try:
        if verify_resume:
            _prove(loaded, plan, snapshot, data, progress, format_)
            return
        if plan.gpus > 1:
            progress.say(f"Starting {plan.gpus} processes ({plan.choices['sharding'].value}) with torchrun …")
            order = Order(permit.to_json(), loaded, plan, snapshot, verdict, data, overwrite, offline)
            run = launch(order, meeting, max_restarts=max_restarts, progress=progress)
            if meeting.rank > 0:
                progress.say(f"Node {meeting.rank} is done; the record is where node 0 wrote it.")
                return
        else:
            progress.say("Loading the training libraries …")
            prepare_environment(plan.device.visible)
            run = finetune(
                permit,
                loaded,
                plan,
                snapshot,
                verdict,
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
    refuse_unmet(record, run)


def _prove(
    recipe: Recipe, plan: Plan, snapshot: Snapshot, data: TrainingData, progress: Progress, format_: str
) -> None:
    """Print the proof of `--verify-resume`; exit 1 where it fails."""
    from toolkit.cli.run_text import resume_text
    from toolkit.errors import TkError
    from toolkit.training.environment import prepare as prepare_environment
    from toolkit.training.resume_proof import verify_resume

    prepare_environment(plan.device.visible)
    proof = verify_resume(recipe, plan, snapshot, data, progress)
    progress.close()
    if format_ == "json":
        print_json(proof.to_json())
    else:
        click.echo(resume_text(proof))
    if not proof.holds:
        hint = "a run of this recipe that is stopped will end in another adapter; please report it with the figures"
        raise TkError("going on from a checkpoint does not give the same adapter", where=recipe.path, hint=hint)
