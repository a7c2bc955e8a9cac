"""Kubernetes: a JobSet of one indexed Job, with the recipe in a ConfigMap and the run on storage that all pods share.

A TrainJob of Kubeflow's trainer becomes a JobSet of the cluster's own runtime, whose patches for volumes and restarts
change from version to version (v2.3 `runtimePatches`, earlier `podTemplateOverrides`); this is written out whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem
from toolkit.training.jobs.job import RESTARTS, Job, as_yaml

SUFFIX, CLIENT = ".yaml", "kubectl"

_RESOURCES = {"cuda": "nvidia.com/gpu", "rocm": "amd.com/gpu", "npu": "huawei.com/Ascend910"}
_PORT = 29500


def write(job: Job) -> str:
    """Both objects as YAML. Raises InvalidInput without an image and a volume: pods share nothing else."""
    problems = []
    if not job.image:
        problems.append(Problem("--image", "pods need a container image in which tk is installed"))
    claim, _, mount = (job.volume or "").partition(":")
    if not claim or not mount.startswith("/"):
        problems.append(Problem("--volume", "pods need storage for the run, written as CLAIM:/PATH"))
    elif not Path(job.output).is_absolute() or not Path(job.output).is_relative_to(mount):
        problems.append(Problem("recipe.output", f"{job.output} does not lie on the volume, {mount}", job.recipe))
    if problems:
        raise InvalidInput(problems)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{job.name}-recipe"},
        "data": {"recipe.yaml": job.recipe_text},
    }
    head = "".join(f"# {line}\n" for line in job.summary)
    return head + as_yaml(config) + "---\n" + as_yaml(_job_set(job, claim, mount))


def submit(path: Path) -> Sequence[str]:
    """The command that hands the objects in."""
    return [CLIENT, "apply", "-f", str(path)]


def _job_set(job: Job, claim: str, mount: str) -> Mapping[str, Any]:
    container = {
        "name": "tk",
        "image": job.image,
        "command": ["bash", "-c", "\n".join([*job.setup, f"exec {_command(job)}"])],
        "workingDir": mount,
        "resources": {"limits": {_RESOURCES[job.kind]: str(job.gpus)}} if job.kind in _RESOURCES else {},
        "volumeMounts": [
            {"name": "shared", "mountPath": mount},
            {"name": "recipe", "mountPath": "/recipe", "readOnly": True},
            {"name": "memory", "mountPath": "/dev/shm"},  # NCCL passes data between processes there
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 180,  # a step and a checkpoint
        "containers": [container],
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "recipe", "configMap": {"name": f"{job.name}-recipe"}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    nodes = {
        "parallelism": job.nodes,
        "completions": job.nodes,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # the set starts all anew: one lost pod is of no use to the others
        "template": {"spec": pod},
    }
    spec = {
        "network": {"enableDNSHostnames": True},
        "failurePolicy": {"maxRestarts": RESTARTS},
        "replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": nodes}}],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name},
        "spec": spec,
    }


def _command(job: Job) -> str:
    first = f"{job.name}-node-0-0.{job.name}"  # JobSet: SET-JOB-REPLICA-INDEX.SUBDOMAIN
    return job.finetune(
        recipe="/recipe/recipe.yaml",
        node_rank="$JOB_COMPLETION_INDEX",
        rdzv_endpoint=f"{first}:{_PORT}",
        rdzv_id=job.name,
    )
