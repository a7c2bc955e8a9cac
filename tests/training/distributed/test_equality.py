"""One recipe trains the same adapter however many processes and micro-batches share its batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.training.run import finetune

# 48 rows in steps of 9 (or 10): the last step of an epoch is smaller, and not every process has rows in it.
STEPS = {"max_steps": None, "epochs": 2.0}


def curve(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def norms(run: Path) -> list[float]:
    return [json.loads(line)["grad_norm"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(run / "adapter" / "adapter_model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    assert curve(other) == pytest.approx(curve(one), rel=2e-5)
    assert norms(other) == pytest.approx(norms(one), rel=1e-3)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert float((weight - second[name]).abs().max()) < 2e-4, name


def test_micro_batches_and_processes_change_nothing_but_time(
    papers: Callable[..., tuple[Any, ...]], make_order: Callable[..., Any], run_orders: Callable[..., None]
) -> None:
    batch = {"batch_size": 10, **STEPS}
    alone = {
        adapter: finetune(*papers(adapter=adapter, output=f"{adapter}-1x10", micro_batch_size=10, **batch))
        for adapter in ("lora", "qlora")
    }
    accumulated = finetune(*papers(output="lora-5x2", micro_batch_size=2, **batch))
    assert_same(alone["lora"], accumulated)
    orders = {
        (adapter, sharding): make_order(
            sharding, adapter, f"{adapter}-{sharding}", micro_batch_size=1, gradient_checkpointing=flag, **batch
        )
        for adapter, sharding, flag in (
            ("lora", "ddp", False),
            ("qlora", "ddp", True),
            ("lora", "fsdp2", False),
            ("qlora", "fsdp2", True),
        )
    }
    run_orders(*orders.values())
    for (adapter, _), order in orders.items():
        run = Path(order.recipe.output)
        assert_same(alone[adapter], run)
        record = json.loads((run / "run.json").read_text())
        reference = json.loads((alone[adapter] / "run.json").read_text())
        assert record["evaluation"]["before"] == pytest.approx(reference["evaluation"]["before"], rel=1e-5)
        assert record["evaluation"]["after"]["loss"] == pytest.approx(
            reference["evaluation"]["after"]["loss"], rel=1e-3
        )
