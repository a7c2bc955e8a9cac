"""Ray: a driver that takes a bundle of devices on each node and runs `tk finetune` in all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.training.jobs.job import Job

SUFFIX, CLIENT = ".ray.py", "ray"

_DRIVER = '''"""{summary}

ray job submit --working-dir . -- python {name}.ray.py
"""

import os
import socket
import subprocess

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

NODES = {nodes}
BUNDLE = {bundle}
COMMAND = {command}


@ray.remote(num_cpus=1{gpus}, max_retries=0)
class Node:
    def endpoint(self):
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{{ray.util.get_node_ip_address()}}:{{free.getsockname()[1]}}"

    def run(self, rank, endpoint, identifier):
        meeting = dict(NODE_RANK=str(rank), ENDPOINT=endpoint, RUN_ID=identifier)
        return subprocess.run(["bash", "-c", COMMAND], env={{**os.environ, **meeting}}).returncode


ray.init()
group = placement_group([BUNDLE] * NODES, strategy="STRICT_SPREAD")
ray.get(group.ready())
nodes = [
    Node.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)).remote()
    for rank in range(NODES)
]
endpoint = ray.get(nodes[0].endpoint.remote())
identifier = ray.get_runtime_context().get_job_id()
codes = ray.get([node.run.remote(rank, endpoint, identifier) for rank, node in enumerate(nodes)])
raise SystemExit(max(codes))
'''


def write(job: Job) -> str:
    """The driver as Python."""
    command = job.finetune(node_rank="$NODE_RANK", rdzv_endpoint="$ENDPOINT", rdzv_id="ray-$RUN_ID")
    on_gpus = job.kind != "cpu"
    return _DRIVER.format(
        summary="\n".join(job.summary),
        name=job.name,
        nodes=job.nodes,
        bundle=f'{{"CPU": 1, "GPU": {job.gpus}}}' if on_gpus else '{"CPU": 1}',
        gpus=f", num_gpus={job.gpus}" if on_gpus else "",
        command=repr("\n".join([*job.setup, f"exec {command}"])),
    )


def submit(path: Path) -> Sequence[str]:
    """The command that hands the driver in, with the current folder as its working directory."""
    return [CLIENT, "job", "submit", "--working-dir", ".", "--no-wait", "--", "python", str(path)]
