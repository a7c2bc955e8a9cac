"""Every method trained for real on a tiny base: it learns what it is for, and a run is exact."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.release.record import read_record
from toolkit.training.progress import Event
from toolkit.training.run import finetune
from toolkit.training.stopping import Stopped

Papers = Callable[..., tuple[Any, ...]]
OTHERS = ("pretrain", "dpo", "kto", "orpo", "grpo")
LEARNT = {  # score, figure of the curve, whether both rise
    "pretrain": ("loss", "loss", False),
    "dpo": ("preference_margin", "margin", True),
    "kto": ("preference_margin", "margin", True),
    "orpo": ("preference_margin", "margin", True),
    "grpo": ("reward", "reward", True),
}
# A learning rate at which eight steps on random weights show.
RATES = {"grpo": 2e-2}


def digest(run: Path) -> str:
    record: Any = json.loads((run / "run.json").read_text())
    return str(record["adapter"]["files"]["adapter/adapter_model.safetensors"]["sha256"])


def curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def of(method: str, papers: Papers, **more: Any) -> tuple[Any, ...]:
    return papers(method, learning_rate=RATES.get(method, 5e-3), reward=("rewards.py:has_e",), **more)


@pytest.fixture(scope="module")
def finished() -> Callable[[str, Papers], Path]:
    """One straight run of each method that several tests look at."""
    runs: dict[str, Path] = {}

    def run(method: str, papers: Papers) -> Path:
        if method not in runs:
            runs[method] = finetune(*of(method, papers))
        return runs[method]

    return run


@pytest.mark.parametrize("method", OTHERS)
def test_a_method_learns_what_it_is_for(method: str, method_papers: Papers, finished: Callable[..., Path]) -> None:
    run = finished(method, method_papers)
    record: Any = read_record(run)
    score, figure, rises = LEARNT[method]
    before, after = record["evaluation"]["before"][score], record["evaluation"]["after"][score]
    first, last = curve(run)[0][figure], curve(run)[-1][figure]
    assert (after > before) == rises
    assert (last > first) == rises
    assert record["recipe"]["resolved"]["method"] == method
    assert record["metrics"]["flops"] > 0
    assert ("without gradient" in record["metrics"]["flops_formula"]) == (method in ("dpo", "kto", "grpo"))
    assert not list(run.glob("adapter/ref"))
    assert not list(run.glob("checkpoints/*/ref"))
    assert not list(run.glob("checkpoints/*/README.md"))


@pytest.mark.parametrize("method", OTHERS)
def test_a_run_stopped_in_its_second_epoch_goes_on_to_the_same_adapter(
    method: str, method_papers: Papers, finished: Callable[..., Path]
) -> None:
    whole = finished(method, method_papers)
    arguments = of(method, method_papers, output="stopped")

    def interrupt(event: Event) -> None:
        if event.stage == "train" and event.done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="stopped after step 6 of 8"):
        finetune(*arguments, progress=interrupt)
    run = finetune(*arguments)
    record: Any = read_record(run)
    assert record["metrics"]["resumed_from_step"] == 6
    assert digest(run) == digest(whole)
    assert record["metrics"]["tokens_seen"] == read_record(whole)["metrics"]["tokens_seen"]  # type: ignore[index]
    drop = ("seconds", "memory_bytes")
    assert [{k: v for k, v in row.items() if k not in drop} for row in curve(run)] == [
        {k: v for k, v in row.items() if k not in drop} for row in curve(whole)
    ]


@pytest.mark.parametrize("method", OTHERS)
def test_a_method_trains_on_a_4_bit_base(method: str, method_papers: Papers) -> None:
    from safetensors.torch import load_file

    run = finetune(*of(method, method_papers, adapter="qlora", max_steps=3))
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    assert all(str(weight.dtype) == "torch.float32" for weight in weights.values())
    assert any(weight.abs().sum() > 0 for name, weight in weights.items() if "lora_B" in name)


@pytest.mark.parametrize("method", ["dpo", "orpo", "grpo"])
def test_the_split_into_micro_batches_does_not_change_a_step(
    method: str, method_papers: Papers, finished: Callable[..., Path]
) -> None:
    split = finetune(*of(method, method_papers, output="split", micro_batch_size=4))
    for one, other in list(zip(curve(split), curve(finished(method, method_papers)), strict=True))[:3]:
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-5)
