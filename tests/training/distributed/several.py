"""Run several orders in one team, since starting two processes takes longer than training tiny bases in them:
`torchrun … several.py FOLDER…`."""

import sys
from pathlib import Path

from toolkit.planning.gate import readmit
from toolkit.training import environment
from toolkit.training.distributed import order as orders
from toolkit.training.distributed.team import join, leave
from toolkit.training.run import finetune

if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    join(folders[0], 2, "cpu")
    environment.prepare()
    for folder in folders:
        order = orders.read_order(folder)
        permit = readmit(order.permit, order.verdict, order.recipe)
        finetune(permit, order.recipe, order.plan, order.snapshot, order.verdict, data=order.data)
    leave()
