"""One process of a run: `python -m toolkit.training.distributed.worker FOLDER`, started by torchrun."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from toolkit.planning.gate import readmit
from toolkit.training import environment
from toolkit.training.distributed import order as orders
from toolkit.training.distributed.order import Order
from toolkit.training.distributed.team import join, leave
from toolkit.training.progress import silent
from toolkit.training.stopping import Stopped


def main(folder: Path) -> int:
    """Train this process's share of the order in `folder`; gives the exit code for torchrun."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher hears it, and lets a step and a checkpoint finish
    rank = int(os.environ["RANK"])
    if any(failure["kind"] == "known" for failure in orders.failures(folder)):
        return 1  # a restart would come to the same
    try:
        train(orders.read_order(folder), folder)
    except Stopped as error:
        orders.note_failure(folder, rank, error)
    except Exception as error:
        orders.note_failure(folder, rank, error)
        # Not `leave`: others may be in the middle of a collective, which ends when this process does.
        sys.stderr.flush()
        os._exit(1)
    leave()
    return 0


def train(order: Order, folder: Path) -> None:
    """Join the others and run the order; a restarted process goes on from the last checkpoint."""
    from toolkit.training.run import finetune

    permit = readmit(order.permit, order.verdict, order.recipe)
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    team = join(folder, order.plan.gpus, "cuda" if order.plan.device.kind == "rocm" else order.plan.device.kind)
    environment.prepare()
    finetune(
        permit,
        order.recipe,
        order.plan,
        order.snapshot,
        order.verdict,
        data=order.data,
        overwrite=order.overwrite and not again,
        offline=order.offline,
        progress=orders.events_to(folder) if team.first else silent,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
