"""Papers for runs in two processes on this CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def make_order(papers: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """An order for two processes; `sharding` is ddp or fsdp2, the rest as `papers` has it."""
    from toolkit.planning.detect import shared_cpu
    from toolkit.planning.gate import grant
    from toolkit.planning.gpu import named
    from toolkit.planning.plan import make_plan
    from toolkit.planning.shape import read_shape
    from toolkit.training.data import load_data
    from toolkit.training.distributed.order import Order

    def make(sharding: str, adapter: str = "lora", output: str = "run", family: str = "qwen2", **train: Any) -> Order:
        _, recipe, _, snapshot, verdict = papers(family, adapter, output, **train)
        recipe = replace(recipe, train=replace(recipe.train, sharding=sharding))
        plan = make_plan(recipe, read_shape(snapshot.config), shared_cpu(named("cpu"), 2), gpus=2)
        permit = grant(verdict, recipe)
        return Order(permit.to_json(), recipe, plan, snapshot, verdict, load_data(recipe), False, True)

    return make


@pytest.fixture
def run_orders(tmp_path: Path) -> Callable[..., None]:
    """Run orders one after the other in the same two processes; those in `stopped` are stopped once and gone on with."""
    from toolkit.training.distributed.team import STOP

    def run(*orders: Any, stopped: Collection[Any] = ()) -> None:
        folders = []
        for number, order in enumerate(orders):
            folder = tmp_path / f"order-{number}"
            folder.mkdir()
            order.write(folder)
            if any(order is one for one in stopped):
                (folder / STOP).touch()
            folders.append(str(folder))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        script = str(Path(__file__).parent / "several.py")
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*torchrun, script, *folders], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-6000:]

    return run
