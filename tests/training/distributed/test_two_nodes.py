"""Two nodes that share files and nothing else: as network namespaces, and as a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.distributed.nodes import ADDRESSES, NAMES, inside, two_nodes
from tests.training.distributed.test_equality import curve, largest_difference

ROOT = Path(__file__).resolve().parents[3]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def nodes() -> Iterator[Sequence[str]]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "unshare"))):
        pytest.skip("two network namespaces need root, iproute2 and util-linux")
    try:
        with two_nodes() as addresses:
            yield addresses
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this root may not make network namespaces: {error.stderr.decode().strip()}")


@pytest.fixture
def recipe(support: Path, bases: Callable[[str], Path], tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"base: {bases('qwen2')}\ndata: {{train: {support}, license: own}}\n"
        f"use: {{distribution: internal, commercial: true}}\nadapter: {{type: lora, rank: 8}}\n"
        f"train: {{max_steps: 6, batch_size: 8, micro_batch_size: 2, learning_rate: 5.0e-3, max_length: 128}}\n"
        f"evaluate: {{fraction: 0.2, generate: 0}}\noutput: {tmp_path / 'alone'}\n"
    )
    return path


def finetune(recipe: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "toolkit", "finetune", str(recipe), "--gpu", "cpu", "--offline"]
    return [*command, "--acknowledge", "a test", *arguments]


def assert_trained_by_two(run: Path, alone: Path) -> None:
    assert json.loads((run / "run.json").read_text())["plan"]["gpus"] == 2
    assert curve(run) == pytest.approx(curve(alone), rel=2e-5)
    assert largest_difference(run, alone) < 2e-4


@pytest.mark.slow  # three runs of three processes
def test_two_namespaces_train_what_one_machine_trains(nodes: Sequence[str], recipe: Path, tmp_path: Path) -> None:
    subprocess.run(finetune(recipe), env=ENV, check=True, capture_output=True, timeout=300)
    together = [
        subprocess.Popen(
            [
                *inside(rank),
                *finetune(recipe, "--set", f"output={tmp_path / 'two'}", "--gpus", "1", "--nodes", "2"),
                *("--node-rank", str(rank), "--rdzv-endpoint", f"{nodes[0]}:29501", "--rdzv-id", "namespaces"),
            ],
            env=ENV,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=300) for process in together]
    assert [process.returncode for process in together] == [0, 0], said
    assert "Node 1 is done" in said[1][1]
    assert_trained_by_two(tmp_path / "two", tmp_path / "alone")


@pytest.fixture
def slurm(nodes: Sequence[str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Slurm whose two nodes are the namespaces; gives the environment in which its clients run."""
    programs = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
    if missing := [program for program in programs if shutil.which(program, path="/usr/sbin:/usr/bin") is None]:
        pytest.skip(f"a real Slurm needs Debian's slurm-wlm and munge; missing: {', '.join(missing)}")
    place = tmp_path / "slurm"
    place.mkdir()
    hosts = "\n".join(
        f"NodeName={name} NodeAddr={address} CPUs=2 State=UNKNOWN"
        for name, address in zip(NAMES, ADDRESSES, strict=True)
    )
    (place / "slurm.conf").write_text(
        f"ClusterName=tk\nSlurmctldHost={NAMES[0]}({ADDRESSES[0]})\nAuthType=auth/munge\nSlurmUser=root\n"
        f"ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\nReturnToService=2\n"
        f"SlurmctldPidFile={place}/ctld.pid\nSlurmdPidFile={place}/%n.pid\nSlurmdSpoolDir={place}/spool-%n\n"
        f"StateSaveLocation={place}/state\nSlurmctldLogFile={place}/ctld.log\nSlurmdLogFile={place}/%n.log\n"
        f"MpiDefault=none\nSwitchType=switch/none\nJobAcctGatherType=jobacct_gather/none\n{hosts}\n"
        f"PartitionName=all Nodes={','.join(NAMES)} Default=YES MaxTime=INFINITE State=UP\n"
    )
    (place / "cgroup.conf").write_text("CgroupAutomount=no\nIgnoreSystemd=yes\n")
    environment = {**ENV, "SLURM_CONF": str(place / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        log = (place / f"{len(started)}.out").open("wb")
        started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    Path("/run/munge").mkdir(exist_ok=True)
    start("munged", "--foreground", "--force", f"--socket={place}/munge.socket", f"--pid-file={place}/munged.pid",
          f"--log-file={place}/munged.log", f"--seed-file={place}/munged.seed", f"--key-file={_key(place)}")  # fmt: skip
    conf = place / "slurm.conf"
    conf.write_text(conf.read_text() + f"AuthInfo=socket={place}/munge.socket\n")
    start(*inside(0, name_too=True), "slurmctld", "-D", "-f", str(conf))
    for node in (0, 1):
        start(*inside(node, name_too=True), "slurmd", "-D", "-f", str(conf), "-N", NAMES[node])
    try:
        _until(lambda: _idle(environment) == 2, 60, place)
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=20)


@pytest.mark.cluster
def test_a_job_written_by_tk_launch_trains_on_two_nodes_of_a_real_slurm(
    slurm: dict[str, str], recipe: Path, tmp_path: Path
) -> None:
    subprocess.run(finetune(recipe), env=ENV, check=True, capture_output=True, timeout=300)
    tk = tmp_path / "bin" / "tk"
    tk.parent.mkdir()
    tk.write_text(f'#!/bin/sh\nexec {sys.executable} -m toolkit "$@"\n')
    tk.chmod(0o755)
    there = [*inside(0, name_too=True), sys.executable, "-m", "toolkit"]
    launch = ["launch", str(recipe), "--on", "slurm", "--gpu", "cpu", "--nodes", "2", "--offline", "--submit"]
    asked = ["--acknowledge", "a test", "--set", f"output={tmp_path / 'two'}", "--setup", f"PATH={tk.parent}:$PATH"]
    done = subprocess.run([*there, *launch, *asked], env=slurm, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Submitted batch job" in done.stdout
    _until(lambda: not _waiting(slurm), 400, tmp_path)
    logs = [path.read_text() for path in tmp_path.glob("two-*.log")]
    assert (tmp_path / "two" / "run.json").exists(), logs
    assert_trained_by_two(tmp_path / "two", tmp_path / "alone")


def _key(place: Path) -> Path:
    key = place / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    return key


def _idle(environment: dict[str, str]) -> int:
    answer = subprocess.run(
        [*inside(0), "sinfo", "-h", "-N", "-t", "idle"], env=environment, capture_output=True, text=True, check=False
    )
    return len(answer.stdout.splitlines())


def _waiting(environment: dict[str, str]) -> list[str]:
    answer = subprocess.run([*inside(0), "squeue", "-h"], env=environment, capture_output=True, text=True, check=False)
    return answer.stdout.splitlines()


def _until(true: Callable[[], Any], seconds: float, place: Path) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            said = {path.name: path.read_text(errors="replace")[-2000:] for path in place.glob("*.[lo][ou][gt]")}
            pytest.fail(f"not within {seconds:.0f} s; {said}")
        time.sleep(1)
