"""SkyPilot: a task whose `run` is `tk finetune` on each node of whichever cloud has the GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem
from toolkit.training.jobs.job import Job, as_yaml

SUFFIX, CLIENT = ".sky.yaml", "sky"

# SkyPilot's names for the cards whose memory or board it spells differently; others are ours without spaces.
_NAMES = {
    "A100 40GB": "A100",
    "A100 80GB SXM": "A100-80GB",
    "A100 80GB PCIe": "A100-80GB",
    "H100 SXM 80GB": "H100",
    "H100 PCIe 80GB": "H100",
    "V100 16GB": "V100",
    "V100 32GB": "V100-32GB",
}
_PORT = 29500


def write(job: Job) -> str:
    """The task as YAML. The current folder goes along as `workdir`, with the recipe and its data in it. Raises
    InvalidInput for a device that has no name in a cloud."""
    if job.kind in ("mps", "npu"):
        raise InvalidInput([Problem("--gpu", f"{job.plan.device.name} is in no cloud that SkyPilot knows")])
    resources: dict[str, Any] = (
        {"cpus": "4+"} if job.kind == "cpu" else {"accelerators": f"{accelerator(job)}:{job.gpus}"}
    )
    if job.image:
        resources["image_id"] = f"docker:{job.image}"
    resources["job_recovery"] = {"max_restarts_on_errors": 0, "strategy": "FAILOVER"}
    task = {
        "name": job.name,
        "num_nodes": job.nodes,
        "resources": resources,
        "workdir": ".",
        "setup": "\n".join(job.setup or ["pip install 'tk-toolkit[train]'"]) + "\n",
        "run": _run(job),
    }
    head = "".join(f"# {line}\n" for line in job.summary)
    return head + as_yaml(task)


def submit(path: Path) -> Sequence[str]:
    """The command that hands the task in, as a managed job: it goes on elsewhere when its machines are taken away."""
    return [CLIENT, "jobs", "launch", "--yes", "--detach-run", str(path)]


def accelerator(job: Job) -> str:
    """The GPU as SkyPilot names it."""
    name = job.plan.device.name
    return _NAMES.get(name, name.split(" (")[0].replace(" ", ""))


def _run(job: Job) -> str:
    if job.nodes == 1:
        return job.finetune() + "\n"
    first = 'first="$(head -n1 <<< "$SKYPILOT_NODE_IPS")"'
    command = job.finetune(
        node_rank="$SKYPILOT_NODE_RANK",
        rdzv_endpoint=f"${{first:?SkyPilot names no node}}:{_PORT}",
        rdzv_id="$SKYPILOT_TASK_ID",
    )
    return f"{first}\n{command}\n"
