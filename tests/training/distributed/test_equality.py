"""One recipe trains the same adapter however many processes and micro-batches share its batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.training.run import finetune

# 48 rows in steps of 14: the last of an epoch has 6, in one micro-batch, and the second process has none of them.
BATCH = {"batch_size": 14, "max_steps": None, "epochs": 2.0}


def curve(run: Path, name: str = "loss") -> list[float]:
    return [json.loads(line)[name] for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(run / "adapter" / "adapter_model.safetensors")


def largest_difference(one: Path, other: Path) -> float:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float((weight - second[name]).abs().max()) for name, weight in first.items())


def test_micro_batches_and_processes_change_nothing_but_time(
    papers: Callable[..., tuple[Any, ...]], make_order: Callable[..., Any], run_orders: Callable[..., None]
) -> None:
    alone = {
        adapter: finetune(*papers(adapter=adapter, output=f"{adapter}-1x14", micro_batch_size=14, **BATCH))
        for adapter in ("lora", "qlora")
    }
    orders = {
        "lora-ddp": make_order("ddp", "lora", "lora-ddp", micro_batch_size=1, **BATCH),
        "qlora-ddp": make_order("ddp", "qlora", "qlora-ddp", micro_batch_size=7, packing=True, **BATCH),
        "lora-fsdp2": make_order("fsdp2", "lora", "lora-fsdp2", micro_batch_size=7, packing=True, **BATCH),
        "qlora-fsdp2": make_order(
            "fsdp2", "qlora", "qlora-fsdp2", micro_batch_size=1, gradient_checkpointing=True, **BATCH
        ),
        "qlora-fsdp2-stopped": make_order(
            "fsdp2", "qlora", "qlora-fsdp2-stopped", micro_batch_size=1, gradient_checkpointing=True, **BATCH
        ),
    }
    run_orders(*orders.values(), stopped=[orders["qlora-fsdp2-stopped"]])

    runs = {name: Path(order.recipe.output) for name, order in orders.items()}
    runs["lora-2x7"] = finetune(*papers(adapter="lora", output="lora-2x7", micro_batch_size=2, **BATCH))
    for name, run in runs.items():
        reference = alone[name.partition("-")[0]]
        assert curve(run) == pytest.approx(curve(reference), rel=2e-5), name
        assert curve(run, "grad_norm") == pytest.approx(curve(reference, "grad_norm"), rel=1e-3), name
        assert largest_difference(run, reference) < 2e-4, name
        record, other = (json.loads((folder / "run.json").read_text()) for folder in (run, reference))
        assert record["evaluation"]["generated"] == 4
        assert record["evaluation"]["samples"] == other["evaluation"]["samples"], name
        assert record["evaluation"]["before"] == pytest.approx(other["evaluation"]["before"], rel=1e-5), name
        assert record["evaluation"]["after"]["loss"] == pytest.approx(other["evaluation"]["after"]["loss"], rel=1e-3)
    assert json.loads((runs["qlora-fsdp2-stopped"] / "run.json").read_text())["metrics"]["resumed_from_step"] == 1
    assert largest_difference(runs["qlora-fsdp2-stopped"], runs["qlora-fsdp2"]) == 0.0


@pytest.mark.slow
def test_a_mixture_of_experts_trains_alike_in_two_processes(
    papers: Callable[..., tuple[Any, ...]], make_order: Callable[..., Any], run_orders: Callable[..., None]
) -> None:
    family = "deepseek_v3"
    alone = {
        adapter: finetune(*papers(family, adapter, f"{adapter}-alone", micro_batch_size=14, **BATCH))
        for adapter in ("lora", "qlora")
    }
    orders = {
        adapter: make_order(sharding, adapter, f"{adapter}-two", family, micro_batch_size=7, **BATCH)
        for adapter, sharding in (("lora", "fsdp2"), ("qlora", "ddp"))
    }
    run_orders(*orders.values())
    for adapter, order in orders.items():
        run = Path(order.recipe.output)
        assert curve(run) == pytest.approx(curve(alone[adapter]), rel=1e-4), adapter
        assert largest_difference(run, alone[adapter]) < 1e-3, adapter
