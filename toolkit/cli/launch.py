"""`tk launch`: the job that trains a recipe on a cluster, written for its scheduler and handed in if asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    from toolkit.training.jobs import Scheduler

SCHEDULERS = ("kubernetes", "ray", "skypilot", "slurm")


@click.command("launch")
@click.argument("recipe")
@click.option("--on", "scheduler", type=click.Choice(SCHEDULERS), required=True, help="What runs the job.")
@click.option("--gpu", metavar="NAME", required=True, help="The cluster's GPU: a name, a size such as 80GiB, or cpu.")
@click.option(
    "--gpus", type=click.IntRange(1), default=1, metavar="N", show_default=True, help="How many on each node."
)
@click.option("--nodes", type=click.IntRange(1), default=1, metavar="M", show_default=True, help="How many nodes.")
@set_option
@click.option("--name", help="Name of the job; the last part of the recipe's output when left out.")
@click.option("--setup", multiple=True, metavar="LINE", help="A shell line that makes tk runnable there. Repeatable.")
@click.option("--image", help="Container image with tk in it (kubernetes, skypilot).")
@click.option("--volume", metavar="CLAIM:/PATH", help="Storage that all pods share (kubernetes).")
@click.option("--time", "limit", metavar="HH:MM:SS", help="Time limit (slurm).")
@click.option("--acknowledge", metavar="WHO, TICKET", help="Answer for a needs-review, as for tk finetune.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Where to write; stdout when left out.")
@click.option("--submit", is_flag=True, help="Hand it in with the scheduler's own client.")
@policy_options
@offline_option
@format_option
def command(
    recipe: str,
    scheduler: str,
    gpu: str,
    gpus: int,
    nodes: int,
    overrides: tuple[str, ...],
    name: str | None,
    setup: tuple[str, ...],
    image: str | None,
    volume: str | None,
    limit: str | None,
    acknowledge: str | None,
    target: Path | None,
    submit: bool,
    strict: bool,
    policy: Path | None,
    offline: bool,
    format_: str,
) -> None:
    """Write the job that trains a recipe on a cluster. The licence gate is asked first, and again where it runs.

    Exit code: 0 written (and handed in), 1 error, 3 the base may not be used so, 4 the use needs review.

    \b
    Examples:
      tk launch recipes/llama-lora.yaml --on slurm --gpu "A100 80GB" --gpus 4 --nodes 2 -o llama.sbatch
      tk launch recipes/qwen-lora.yaml --on skypilot --gpu L4 --gpus 2
    """
    from toolkit.planning.detect import device_of, on_nodes
    from toolkit.planning.gate import grant
    from toolkit.planning.prepare import prepare, require_fit
    from toolkit.planning.recipe import load_recipe
    from toolkit.training.distributed.supported import require_supported
    from toolkit.training.jobs import scheduler_of
    from toolkit.training.jobs.job import Job, name_of

    loaded = load_recipe(recipe, overrides)
    device = on_nodes(device_of(gpu, gpus), nodes)
    prepared = prepare(loaded, device, access(offline), manner(strict=strict, policy=policy), gpus=gpus * nodes)
    permit = grant(prepared.examination.verdict, loaded, acknowledge)
    require_fit(prepared.plan, recipe)
    require_supported(prepared.plan, loaded)
    module = scheduler_of(scheduler)
    job = Job(
        name=name_of(name or loaded.output),
        recipe=loaded.path,
        recipe_text=Path(loaded.path).read_text(encoding="utf-8"),
        output=loaded.output,
        plan=prepared.plan,
        nodes=nodes,
        gpus=gpus,
        overrides=overrides,
        acknowledged=permit.acknowledged,
        setup=setup,
        image=image,
        time=limit,
        volume=volume,
    )
    text = module.write(job)
    written = target or (Path(f"{job.name}{module.SUFFIX}") if submit else None)
    if written is not None:
        _write(written, text)
    handed_in = _submit(module, written) if submit and written else None
    if format_ == "json":
        facts = {"scheduler": scheduler, "name": job.name, "nodes": nodes, "gpus": gpus, "submitted": handed_in}
        place = {"path": str(written)} if written else {"text": text}
        plan = {"verdict": permit.verdict, "plan": prepared.plan.to_json()}
        print_json({"schema": "tk/job/1", **facts, **place, **plan})
    elif written is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"Wrote {written}." if handed_in is None else f"Wrote {written} and handed it in: {handed_in}")


def _write(path: Path, text: str) -> None:
    from toolkit.files.atomic import unwritable, write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise unwritable(path, error) from error


def _submit(module: Scheduler, path: Path) -> str:
    """What the client says when it takes the job."""
    import shutil
    import subprocess

    from toolkit.errors import TkError

    words: Sequence[str] = module.submit(path)
    if shutil.which(module.CLIENT) is None:
        hint = f"run this where {module.CLIENT} is: {' '.join(words)}"
        raise TkError(f"--submit needs {module.CLIENT}, which is not on the PATH", where=str(path), hint=hint)
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TkError(f"{module.CLIENT} refused the job: {said[-1] if said else done.returncode}", where=str(path))
    return done.stdout.strip()
