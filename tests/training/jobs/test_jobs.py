"""Jobs as their schedulers read them: each by the scheduler's own parser or schema where there is one to be had."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.planning.planned import planned
from toolkit.cli.launch import SCHEDULERS
from toolkit.errors import InvalidInput
from toolkit.training.jobs import scheduler_of, schedulers
from toolkit.training.jobs.job import Job, name_of

TEXT = "base: Qwen/Qwen2.5-7B-Instruct\noutput: /runs/support\n"
NODES = ("node-rank", "rdzv-endpoint", "rdzv-id")


def job(gpus: int = 4, nodes: int = 2, device: str = "A100 80GB", **change: Any) -> Job:
    plan = planned(device, gpus=gpus * nodes, batch_size=16)
    made = Job("support", "recipes/support.yaml", TEXT, "/runs/support", plan, nodes, gpus)
    return replace(made, image="acme/tk:1", volume="runs:/runs", **change)


def command_in(text: str) -> list[str]:
    """The words of the one `tk finetune` in a shell script."""
    (line,) = [line for line in text.splitlines() if "tk finetune" in line]
    return shlex.split(line[line.index("tk finetune") :].rstrip("'"))


def option(words: list[str], name: str) -> str:
    return words[words.index(f"--{name}") + 1]


def test_the_folder_is_the_list() -> None:
    assert schedulers() == SCHEDULERS


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_job_is_written_alike_each_time_and_says_what_it_trains(scheduler: str) -> None:
    text = scheduler_of(scheduler).write(job())
    assert text == scheduler_of(scheduler).write(job())
    assert "2 x 4 A100 80GB SXM" in text
    assert "localhost" not in "".join(line for line in text.splitlines() if not line.startswith("#"))


def test_slurm_runs_one_task_on_each_node_and_they_meet_at_the_first() -> None:
    text = scheduler_of("slurm").write(job(setup=("source venv/bin/activate",), time="04:00:00"))
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    settings = dict(line[len("#SBATCH --") :].partition("=")[::2] for line in text.splitlines() if "#SBATCH" in line)
    assert (settings["nodes"], settings["ntasks-per-node"], settings["gpus-per-node"]) == ("2", "1", "4")
    assert settings["time"] == "04:00:00"
    assert "requeue" in settings
    assert text.index("source venv") < text.index("srun")
    words = command_in(text)
    assert option(words, "gpus") == "4"
    assert option(words, "node-rank") == "$SLURM_NODEID"
    assert option(words, "rdzv-endpoint") == "$TK_ENDPOINT"
    assert 'scontrol show hostnames "$SLURM_JOB_NODELIST"' in text


def test_one_node_needs_no_meeting_point_and_a_cpu_no_gpus() -> None:
    for scheduler in SCHEDULERS:
        text = scheduler_of(scheduler).write(job(nodes=1))
        assert not any(f"--{name}" in text for name in NODES), scheduler
    plan = planned("cpu", "Qwen/Qwen2.5-0.5B-Instruct", gpus=1)
    text = scheduler_of("slurm").write(replace(job(), plan=plan, nodes=1, gpus=2))
    assert "gpus-per-node" not in text
    assert option(command_in(text), "gpu") == "cpu"


def test_overrides_and_an_acknowledgement_reach_the_nodes_as_they_were_given() -> None:
    asked = {"overrides": ("output=/runs/it's", "train.epochs=2"), "acknowledged": "counsel, ticket 12"}
    text = scheduler_of("slurm").write(job(nodes=1, **asked))
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    shell = next(line for line in text.splitlines() if line.startswith("srun"))
    inner = shlex.split(shell)[-1]
    words = shlex.split(inner)
    assert [words[index + 1] for index, word in enumerate(words) if word == "--set"] == list(asked["overrides"])
    assert option(words, "acknowledge") == "counsel, ticket 12"


def test_kubernetes_takes_the_objects_by_its_own_schema() -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="the JobSet schema is not installed")
    config, job_set = yaml.safe_load_all(scheduler_of("kubernetes").write(job()))
    assert config["data"]["recipe.yaml"] == TEXT
    parsed = models.JobsetV1alpha2JobSet.from_dict(job_set)
    assert _without_nothing(parsed.to_dict()) == _without_nothing(
        job_set
    )  # a key that the schema lacks would be dropped
    (replicated,) = parsed.spec.replicated_jobs
    inner = replicated.template.spec
    assert (inner.completion_mode, inner.completions, inner.parallelism) == ("Indexed", 2, 2)
    (container,) = inner.template.spec.containers
    assert container.resources.limits["nvidia.com/gpu"].actual_instance == "4"
    words = command_in(container.command[-1])
    assert words[2] == "/recipe/recipe.yaml"
    assert option(words, "rdzv-endpoint") == "support-node-0-0.support:29500"
    assert option(words, "node-rank") == "$JOB_COMPLETION_INDEX"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "--image: pods need a container image"),
        ({"volume": None}, "--volume: pods need storage"),
        ({"volume": "runs:runs"}, "--volume: pods need storage"),
        ({"output": "runs/support"}, "recipe.output: runs/support does not lie on the volume, /runs"),
    ],
)
def test_what_pods_need_and_was_not_given_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        scheduler_of("kubernetes").write(replace(job(), **change))


@pytest.mark.parametrize(
    ("device", "name"),
    [("A100 80GB", "A100-80GB:4"), ("H100", "H100:4"), ("L40S", "L40S:4"), ("RTX 4090", "RTX4090:4")],
)
def test_skypilot_is_told_the_gpu_by_its_own_name(device: str, name: str) -> None:
    task = yaml.safe_load(scheduler_of("skypilot").write(job(device=device)))
    assert task["resources"]["accelerators"] == name
    assert task["num_nodes"] == 2
    assert subprocess.run(["bash", "-n"], input=task["run"], text=True, check=False).returncode == 0
    words = command_in(task["run"])
    assert option(words, "node-rank") == "$SKYPILOT_NODE_RANK"
    assert "SKYPILOT_NODE_IPS" in task["run"]


def test_a_cloud_has_no_apple_silicon() -> None:
    with pytest.raises(InvalidInput, match="is in no cloud"):
        scheduler_of("skypilot").write(replace(job(), plan=planned("Apple M4 Max 128GB"), nodes=1, gpus=1))


def test_ray_gets_a_driver_that_python_compiles_with_a_bundle_on_each_node() -> None:
    text = scheduler_of("ray").write(job(setup=("source venv/bin/activate",)))
    names: dict[str, Any] = {}
    assignments = [line for line in text.splitlines() if line.split(" = ")[0] in ("NODES", "BUNDLE", "COMMAND")]
    compile(text, "driver", "exec")
    exec("\n".join(assignments), names)
    assert (names["NODES"], names["BUNDLE"]) == (2, {"CPU": 1, "GPU": 4})
    assert names["COMMAND"].splitlines()[0] == "source venv/bin/activate"
    assert option(command_in(names["COMMAND"]), "rdzv-endpoint") == "$ENDPOINT"


@pytest.mark.parametrize(("text", "name"), [("runs/Qwen_support", "qwen-support"), ("__", "tk"), ("a" * 80, "a" * 40)])
def test_a_name_is_one_that_every_scheduler_takes(text: str, name: str) -> None:
    assert name_of(text) == name


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value
