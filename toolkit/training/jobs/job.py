"""A run as a scheduler has to know it: nodes, devices on each, and the command that every node runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.planning.plan import Plan

RESTARTS = 3  # of processes within a job, and of the job where the scheduler can go on with one


@dataclass(frozen=True, slots=True)
class Job:
    """One run. `output` is the run's folder, `recipe_text` the recipe's, for nodes that do not share files.

    `setup` are shell lines that make `tk` runnable on a node, `image` a container that has it, `time` a limit
    (HH:MM:SS), `volume` CLAIM:PATH of storage that all nodes share.
    """

    name: str
    recipe: str
    recipe_text: str
    output: str
    plan: Plan
    nodes: int
    gpus: int
    overrides: Sequence[str] = ()
    acknowledged: str | None = None
    setup: Sequence[str] = ()
    image: str | None = None
    time: str | None = None
    volume: str | None = None

    @property
    def kind(self) -> str:
        """What sort of device a node needs: cuda, rocm, npu or cpu."""
        return self.plan.device.kind

    @property
    def summary(self) -> tuple[str, ...]:
        """What the job trains and on what, for people who open the file."""
        value = {name: choice.value for name, choice in self.plan.choices.items()}
        peak = self.plan.memory.peak_bytes / 2**30
        several = f", {value['sharding']}" if self.plan.gpus > 1 else ""
        return (
            f"{self.plan.base}, {value['adapter']}{several}: {self.nodes} x {self.gpus} {self.plan.device.name}",
            f"planned peak {peak:.1f} GiB on each ({self.plan.fit})",
        )

    def finetune(self, *, recipe: str | None = None, **shell: str) -> str:
        """The command of a node as one line of shell. `shell` are options whose values the shell fills in, in double
        quotes: `node_rank="$SLURM_NODEID"`."""
        words = ["tk", "finetune", recipe or self.recipe, "--gpus", str(self.gpus)]
        words += ["--gpu", "cpu"] if self.kind == "cpu" else []
        words += [word for override in self.overrides for word in ("--set", override)]
        words += ["--acknowledge", self.acknowledged] if self.acknowledged else []
        line = shlex.join(words)
        if self.nodes == 1:
            return f"{line} --max-restarts {RESTARTS}"
        meeting = " ".join(f'--{name.replace("_", "-")} "{value}"' for name, value in shell.items())
        return f"{line} --max-restarts {RESTARTS} --nodes {self.nodes} {meeting}"


def name_of(text: str) -> str:
    """A name that every scheduler takes (a DNS label of at most 40 characters): `runs/Qwen_support` as
    `qwen-support`."""
    words = re.sub(r"[^a-z0-9]+", "-", text.rsplit("/", 1)[-1].lower()).strip("-")
    return words[:40].strip("-") or "tk"


def as_yaml(value: object) -> str:
    """YAML in the order given, texts of several lines shown line by line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Blocks for long texts, and no marks for values that occur twice."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, width=400))
