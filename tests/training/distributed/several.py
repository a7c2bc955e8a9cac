"""Run several orders in one team, since starting two processes takes longer than training tiny bases in them:
`torchrun … several.py FOLDER…`. An order with a stop request beside it is stopped by that, and then gone on with."""

import sys
from pathlib import Path

from toolkit.planning.gate import readmit
from toolkit.training import answers, environment, evaluation
from toolkit.training.distributed import order as orders
from toolkit.training.distributed.team import STOP, join, leave
from toolkit.training.run import finetune
from toolkit.training.stopping import Stopped


def run(folder: Path) -> None:
    order = orders.read_order(folder)
    permit = readmit(order.permit, order.verdict, order.recipe)
    finetune(permit, order.recipe, order.plan, order.snapshot, order.verdict, data=order.data)


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    team = join(folders[0], 2, "cpu")
    environment.prepare()
    answers._BATCH_TOKENS = evaluation._BATCH_TOKENS = 80  # so that the few rows held out make batches for both
    for folder in folders:
        if (folder / STOP).exists():
            team.wait()
            (folders[0] / STOP).touch()
            try:
                run(folder)
            except Stopped:
                team.wait()
                (folders[0] / STOP).unlink(missing_ok=True)
                team.wait()
        run(folder)
    leave()
