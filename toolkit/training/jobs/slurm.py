"""Slurm: a batch script in which srun starts `tk finetune` once on each node."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from toolkit.training.jobs.job import RESTARTS, Job

SUFFIX, CLIENT = ".sbatch", "sbatch"

_WARNING_SECONDS = 180  # before the time limit: enough to finish a step and write a checkpoint


def write(job: Job) -> str:
    """The script. Nodes meet at the first of the job's own, by the name that Slurm gives it; the job is put back into
    the queue when a node fails or the time is up, and goes on from its checkpoint."""
    gpus = "" if job.kind == "cpu" else f"#SBATCH --gpus-per-node={job.gpus}\n"
    limit = f"#SBATCH --time={job.time}\n" if job.time else ""
    head = (
        "#!/bin/bash\n"
        + "".join(f"# {line}\n" for line in job.summary)
        + f"#SBATCH --job-name={job.name}\n"
        + f"#SBATCH --nodes={job.nodes}\n"
        + "#SBATCH --ntasks-per-node=1\n"
        + gpus
        + limit
        + "#SBATCH --output=%x-%j.log\n"
        + "#SBATCH --open-mode=append\n"
        + "#SBATCH --requeue\n"
        + f"#SBATCH --signal=USR1@{_WARNING_SECONDS}\n"
        + "set -uo pipefail\n"
    )
    setup = "".join(f"{line}\n" for line in job.setup)
    run = shlex.quote(job.output)
    return f"""{head}
{setup}
{_meeting(job)}
srun --kill-on-bad-exit=1 bash -c {shlex.quote("exec " + _command(job))}
code=$?

# Stopped by the time limit, or a node was lost: go on from the last checkpoint, a few times at most.
if [[ $code -ne 0 && ! -e {run}/run.json && ${{SLURM_RESTART_COUNT:-0}} -lt {RESTARTS} ]] \\
    && compgen -G {run}/checkpoints/'checkpoint-*' > /dev/null; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


def submit(path: Path) -> Sequence[str]:
    """The command that hands the script in."""
    return [CLIENT, str(path)]


def _meeting(job: Job) -> str:
    if job.nodes == 1:
        return ""
    return r"""# Nodes meet where Slurm itself reaches the first of them: its name alone need not resolve. Without an address the
# job ends here; with "localhost" instead, each node would train by itself.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n1)
address=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export TK_ENDPOINT="${address:?Slurm names no address of $first}:$((20000 + SLURM_JOB_ID % 20000))"
"""


def _command(job: Job) -> str:
    return job.finetune(
        node_rank="$SLURM_NODEID",
        rdzv_endpoint="$TK_ENDPOINT",
        rdzv_id="slurm-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}",
    )
