"""Plans for several GPUs: a copy on each or parameters sharded, what is asked of the recipe, and kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.planned import CPU, LLAMA_70B, chosen, planned, problems_of, seconds
from toolkit.planning.detect import device_of, on_nodes, shared_cpu
from toolkit.planning.gpu import GIB, named

QWEN_SMALL = "Qwen/Qwen2.5-0.5B-Instruct"


def test_several_gpus_that_each_hold_the_run_get_a_copy_each() -> None:
    alone, both = planned("A100 80GB"), planned("A100 80GB", gpus=2)
    assert (alone.gpus, both.gpus) == (1, 2)
    assert chosen(both, "sharding") == ("ddp",)
    micro, steps = chosen(both, "micro_batch_size", "gradient_accumulation")
    assert int(str(micro)) * int(str(steps)) * 2 == 16
    assert 0.5 <= seconds(both) / seconds(alone) < 0.6


def test_parameters_are_sharded_where_one_gpu_does_not_hold_them_and_the_reason_has_the_numbers() -> None:
    plan = planned("24GiB", LLAMA_70B, gpus=4)
    assert chosen(plan, "adapter", "sharding") == ("qlora", "fsdp2")
    assert plan.fit == "comfortable"
    assert f"its 4 shards {plan.memory.peak_bytes / GIB:.1f} GiB each" in plan.choices["sharding"].why


def test_gpus_at_hand_are_used_together_only_where_one_is_not_enough() -> None:
    four = replace(named("24GiB"), count=4)
    assert (planned(four).gpus, planned(four, LLAMA_70B).gpus) == (1, 4)
    assert "--gpus 4 takes all" in planned(four).choices["sharding"].why
    assert planned(four, LLAMA_70B, sharding="none").fit == "does-not-fit"


def test_unequal_gpus_are_shared_by_the_smallest_of_them() -> None:
    pair = replace(named("A100 80GB"), count=2, smallest=named("24GiB"))
    assert planned(pair).device.name == "A100 80GB SXM"
    assert planned(pair, gpus=2).device.name == "GPU with 24 GiB"


@pytest.mark.parametrize(
    ("gpus", "train", "message"),
    [
        (1, {"sharding": "fsdp2"}, "fsdp2 is for several GPUs"),
        (2, {"sharding": "none"}, "none runs on one GPU, and 2 are asked for"),
        (3, {}, "16 examples cannot be shared evenly by 3 GPUs; 15 or 18 can"),
        (8, {"batch_size": 4}, "4 examples cannot be shared evenly by 8 GPUs; 8 can"),
        (4, {"micro_batch_size": 8}, "8 does not divide the 4 examples of a GPU (batch_size 16 on 4)"),
        (2, {"sharding": "fsdp2", "optimizer": "adamw_8bit"}, "cannot update sharded parameters"),
        (1, {"attention": "flash_attention_2", "packing": True}, "keeps packed rows apart only in batches of one line"),
        (1, {"attention": "flash_attention_2", "dtype": "float32"}, "flash_attention_2 has no float32"),
    ],
)
def test_what_several_gpus_and_kernels_cannot_do_is_one_clear_problem(
    gpus: int, train: dict[str, object], message: str
) -> None:
    (problem,) = problems_of("A100 80GB", gpus=gpus, **train)
    assert message in problem


def test_flash_attention_is_taken_where_it_is_asked_for_and_can_run() -> None:
    assert chosen(planned("A100 80GB", attention="flash_attention_2"), "attention", "packing") == (
        "flash_attention_2",
        False,
    )
    for device in ("T4", "910B", CPU):
        assert any(
            "flash_attention_2 does not run on" in text for text in problems_of(device, attention="flash_attention_2")
        )
    here = replace(named("A100 80GB"), visible="GPU-aaaa")
    assert "package flash-attn, which is not installed" in problems_of(here, attention="flash_attention_2")[0]


def test_8_bit_optimisers_rule_sharding_out_rather_than_fail_later() -> None:
    plan = planned("24GiB", LLAMA_70B, gpus=4, optimizer="adamw_8bit")
    assert (chosen(plan, "sharding"), plan.fit) == (("ddp",), "does-not-fit")


def test_processes_on_a_cpu_share_its_memory_and_speed() -> None:
    alone, pair = device_of("cpu"), device_of("cpu", 2)
    assert (pair.count, pair.usable_bytes) == (2, alone.usable_bytes // 2)
    assert "2 processes share it" in pair.source
    assert chosen(planned(shared_cpu(CPU, 2), QWEN_SMALL, gpus=2), "sharding") == ("ddp",)


def test_devices_of_several_machines_are_counted_together() -> None:
    pair = on_nodes(replace(named("A100 80GB"), count=4), 2)
    assert (pair.count, pair.link_bytes) == (8, None)
    assert on_nodes(named("A100 80GB"), 1) == named("A100 80GB")
