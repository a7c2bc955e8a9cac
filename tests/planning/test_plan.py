"""Plans: what is chosen on which device, why, and what is suggested when nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.planning.planned import CPU, LLAMA_70B, QWEN, chosen, planned, problems_of, recipe, seconds, shape_of
from toolkit.planning.bases import known_bases
from toolkit.planning.gpu import Device, named
from toolkit.planning.memory import fit
from toolkit.planning.plan import make_plan
from toolkit.planning.recipe_values import AdapterSettings
from toolkit.planning.rows import Rows


def test_lora_is_taken_where_it_fits_comfortably() -> None:
    plan = planned("A100 80GB")
    assert chosen(plan, "adapter", "gradient_checkpointing", "dtype") == ("lora", False, "bfloat16")
    assert plan.fit == "comfortable"
    assert "7.6 B parameters in bfloat16 need 14.2 GiB" in plan.choices["adapter"].why


def test_checkpointing_is_turned_on_only_where_it_is_needed() -> None:
    plan = planned("24GiB")
    assert chosen(plan, "adapter", "gradient_checkpointing") == ("lora", True)
    assert "instead of" in plan.choices["gradient_checkpointing"].why


def test_qlora_is_taken_where_16_bit_weights_do_not_fit_and_the_reason_has_the_numbers() -> None:
    plan = planned("RTX 3060 12GB")
    assert chosen(plan, "adapter") == ("qlora",)
    for number in ("14.2 GiB", "11.6 GiB are usable", "5.2 GiB"):
        assert number in plan.choices["adapter"].why


def test_a_comfortable_qlora_goes_before_a_tight_lora() -> None:
    plan = planned("16GiB", "Qwen/Qwen2.5-7B", max_length=256)
    assert chosen(plan, "adapter") == ("qlora",)
    assert plan.fit == "comfortable"


@pytest.mark.parametrize("memory", ["8GiB", "24GiB", "80GiB"])
@pytest.mark.parametrize("base", known_bases(), ids=lambda base: base.ids[0])
def test_every_known_base_gets_a_plan_that_fits_or_says_what_would(base: object, memory: str) -> None:
    plan = planned(memory, base.ids[0])  # type: ignore[attr-defined]
    assert plan.fit == fit(plan.memory, plan.device)
    assert bool(plan.suggestions) == (plan.fit == "does-not-fit")
    micro, steps = chosen(plan, "micro_batch_size", "gradient_accumulation")
    assert int(str(micro)) * int(str(steps)) == 16


def test_the_micro_batch_is_the_largest_divisor_that_fits() -> None:
    plan = planned("24GiB", batch_size=12)
    size = int(str(plan.choices["micro_batch_size"].value))
    larger = [divisor for divisor in (2, 3, 4, 6, 12) if divisor > size]
    lora = AdapterSettings("lora")  # or the larger micro-batch would be had with QLoRA
    tried = planned("24GiB", adapter=lora, batch_size=12, micro_batch_size=larger[0], gradient_checkpointing=True)
    assert tried.fit != "comfortable"


def test_short_rows_prefer_recomputation_to_a_micro_batch_that_leaves_the_gpu_idle() -> None:
    rows = Rows(1000, 40_000, (40,) * 100)  # the longest decide the memory, the usual ones the time
    plan = make_plan(recipe(), shape_of(QWEN), named("H100 SXM 80GB"), rows=rows)
    assert chosen(plan, "gradient_checkpointing", "micro_batch_size") == (True, 16)
    assert "makes room for a micro-batch of 16 instead of" in plan.choices["gradient_checkpointing"].why
    kept = make_plan(recipe(gradient_checkpointing=False), shape_of(QWEN), named("H100 SXM 80GB"), rows=rows)
    assert kept.fit == "comfortable"
    assert seconds(plan) < seconds(kept)


@pytest.mark.parametrize("gpu", ["24GiB", "A100 80GB", "RTX 4060 Ti 16GB"])
@pytest.mark.parametrize("length", [256, 2048])
def test_no_other_way_that_fits_as_well_is_predicted_to_be_a_tenth_quicker(gpu: str, length: int) -> None:
    plan = planned(gpu, max_length=length)
    for flag in (False, True):
        for size in (1, 2, 4, 8, 16):
            kind = str(plan.choices["adapter"].value)
            settings = {"gradient_checkpointing": flag, "micro_batch_size": size, "max_length": length}
            other = planned(gpu, adapter=AdapterSettings(kind), **settings)
            assert other.fit != plan.fit or seconds(other) > seconds(plan) / 1.11


def test_rows_of_very_different_lengths_are_packed_and_the_reason_counts_them() -> None:
    uneven = Rows(1000, 150_000, tuple([50] * 90 + [1050] * 10))
    plan = make_plan(recipe(max_length=2048), shape_of(QWEN), named("A100 80GB"), rows=uneven)
    assert chosen(plan, "packing") == (True,)
    assert "tokens instead of" in plan.choices["packing"].why
    even = Rows(1000, 150_000, (150,) * 100)
    assert chosen(make_plan(recipe(), shape_of(QWEN), named("A100 80GB"), rows=even), "packing") == (False,)
    asked = make_plan(recipe(packing=False), shape_of(QWEN), named("A100 80GB"), rows=uneven)
    assert chosen(asked, "packing") == (False,)


def test_a_cpu_trains_in_float32_and_says_why() -> None:
    plan = planned(CPU, "Qwen/Qwen2.5-0.5B", max_length=512)
    assert chosen(plan, "adapter", "dtype", "packing") == ("lora", "float32", True)
    assert "no native bfloat16" in plan.choices["dtype"].why
    assert "nothing is computed for padding" in plan.choices["packing"].why
    assert chosen(planned(CPU, "Qwen/Qwen2.5-0.5B", packing=False), "packing") == (False,)
    assert chosen(planned(CPU, "Qwen/Qwen2.5-0.5B", micro_batch_size=1), "packing") == (False,)


@pytest.mark.parametrize("gpu", ["T4", "V100"])
def test_a_card_without_bfloat16_computes_in_float16(gpu: str) -> None:
    plan = planned(gpu, "Qwen/Qwen2.5-0.5B")
    assert chosen(plan, "dtype") == ("float16",)
    assert "no bfloat16 hardware" in plan.choices["dtype"].why


def test_large_bases_get_a_smaller_learning_rate() -> None:
    assert chosen(planned("80GiB"), "learning_rate") == (2e-4,)
    assert chosen(planned("80GiB", LLAMA_70B), "learning_rate") == (1e-4,)


def test_what_the_recipe_says_is_taken_as_it_is() -> None:
    plan = planned(
        "80GiB",
        adapter=AdapterSettings("qlora", rank=8, alpha=8, target_modules=("q_proj", "v_proj")),
        learning_rate=1e-5,
        max_length=1024,
        gradient_checkpointing=True,
        micro_batch_size=2,
        packing=True,
        optimizer="adamw_8bit",
        dtype="float16",
    )
    assert chosen(plan, "adapter", "rank", "alpha", "target_modules") == ("qlora", 8, 8, ("q_proj", "v_proj"))
    assert chosen(plan, "learning_rate", "max_length", "micro_batch_size") == (1e-5, 1024, 2)
    assert chosen(plan, "gradient_checkpointing", "packing") == (True, True)
    assert chosen(plan, "optimizer", "dtype", "gradient_accumulation") == ("adamw_8bit", "float16", 8)
    assert plan.trainable_parameters == shape_of(QWEN).adapter_parameters(8, ("q_proj", "v_proj"))


def test_alpha_is_twice_the_rank_unless_it_is_said() -> None:
    assert chosen(planned("24GiB", adapter=AdapterSettings(rank=32)), "alpha") == (64,)


def test_all_linear_is_every_matrix_of_the_architecture() -> None:
    plan = planned("24GiB", adapter=AdapterSettings(target_modules=("all-linear",)))
    assert chosen(plan, "target_modules") == (shape_of(QWEN).linear_targets(),)


def test_the_default_length_gives_way_to_a_base_with_fewer_positions() -> None:
    small = replace(shape_of("Qwen/Qwen2.5-0.5B"), max_positions=512)
    plan = make_plan(recipe("embedded:qwen2"), small, CPU)
    assert chosen(plan, "max_length") == (512,)
    assert "512 positions" in plan.choices["max_length"].why


def test_every_choice_has_a_reason() -> None:
    for plan in (planned("24GiB"), planned("8GiB", LLAMA_70B), planned(CPU)):
        assert all(choice.why for choice in plan.choices.values())


def test_impossible_overrides_are_reported_all_at_once() -> None:
    adapter = AdapterSettings("qlora", target_modules=("q_prj", "lm_head"))
    found = "\n".join(
        problems_of(
            "910B", adapter=adapter, micro_batch_size=3, optimizer="adamw_9bit", max_length=200_000, batch_size=16
        )
    )
    for part in (
        "recipe.adapter.type: qlora needs bitsandbytes",
        "did you mean 'q_proj'?",
        "lm_head cannot be adapted",
        "3 does not divide batch_size, 16",
        "did you mean 'adamw_8bit'?",
        "200000 tokens are more than the 32768 positions",
        "(recipes/x.yaml)",
    ):
        assert part in found


@pytest.mark.parametrize(
    ("device", "train", "message"),
    [
        ("T4", {"dtype": "bfloat16"}, "T4 has no bfloat16 hardware; use float16"),
        (CPU, {"dtype": "float16"}, "float16 does not train on a CPU"),
        ("910B", {"optimizer": "paged_adamw_8bit"}, "paged_adamw_8bit needs bitsandbytes"),
    ],
)
def test_a_device_is_not_asked_for_what_it_cannot_do(
    device: str | Device, train: dict[str, object], message: str
) -> None:
    (problem,) = problems_of(device, **train)
    assert message in problem


def test_a_base_stored_in_8_bit_floats_is_refused_and_one_in_nf4_is_qlora() -> None:
    fp8 = replace(shape_of(QWEN), quantization="fp8")
    assert "stored as fp8" in problems_of("80GiB", shape=fp8)[0]
    nf4 = replace(shape_of(QWEN), quantization="bitsandbytes")
    assert chosen(make_plan(recipe(), nf4, named("80GiB")), "adapter") == ("qlora",)
    assert "lora needs the 16-bit base" in problems_of("80GiB", shape=nf4, adapter=AdapterSettings("lora"))[0]


def test_suggestions_have_been_tried() -> None:
    plan = planned("8GiB", max_length=8192)
    assert plan.fit == "does-not-fit"
    shorter, more, lora, qlora, smaller, freer = plan.suggestions
    assert more.startswith("8 x GPU with 8 GiB take ")
    assert planned("8GiB", max_length=8192, gpus=8).fit != "does-not-fit"
    assert planned("8GiB", max_length=8192, gpus=4).fit == "does-not-fit"
    assert "instead of 8192" in shorter
    length = int(shorter.split()[1])
    assert planned("8GiB", max_length=length).fit != "does-not-fit"
    assert planned("8GiB", max_length=length + 64).fit == "does-not-fit"
    for kind, text in (("LoRA", lora), ("QLoRA", qlora)):
        card = text.removeprefix(f"{kind} fits on ").split(" (")[0]
        assert planned(card, max_length=8192, adapter=AdapterSettings(kind.lower())).fit == "comfortable"
    assert smaller.startswith("Qwen/Qwen2.5-3B-Instruct (Qwen RESEARCH LICENSE AGREEMENT) takes ")
    assert planned("8GiB", "Qwen/Qwen2.5-3B-Instruct", max_length=8192).fit != "does-not-fit"
    assert smaller.endswith(
        "its licence verdict for this use is stricter than that of Qwen/Qwen2.5-7B-Instruct: needs-review"
    )
    assert freer.startswith("Qwen/Qwen2.5-1.5B-Instruct (Apache License 2.0) takes ")
    assert freer.endswith("for this use is allowed")


def test_a_lora_that_does_not_fit_is_answered_with_qlora() -> None:
    plan = planned("12GiB", adapter=AdapterSettings("lora"))
    assert plan.fit == "does-not-fit"
    assert plan.suggestions[0].startswith("adapter.type: qlora takes 6.8 GiB instead of 15.9 GiB")


def test_a_forbidden_checkpointing_is_answered_with_checkpointing() -> None:
    plan = planned("12GiB", gradient_checkpointing=False)
    assert "gradient_checkpointing: true and micro_batch_size: 1" in plan.suggestions[0]


def test_a_base_that_nothing_holds_still_gets_an_answer() -> None:
    plan = make_plan(recipe("acme/huge"), shape_of("deepseek-ai/DeepSeek-V3"), named("24GiB"))
    (nothing,) = plan.suggestions
    assert nothing.startswith("nothing that tk can plan: no card of the table nor up to 64 GPUs of this kind hold it")


def test_a_plan_tells_its_peak_on_shorter_rows() -> None:
    plan = planned("24GiB", max_length=2048)
    assert plan.peak_bytes_at(2048) == plan.memory.peak_bytes
    assert plan.peak_bytes_at(64) < plan.memory.peak_bytes


def test_the_length_of_a_run_follows_from_its_rows_and_is_said_to_be_an_estimate() -> None:
    rows = Rows(1000, 150_000, (150,) * 100)
    plan = make_plan(recipe(epochs=2), shape_of(QWEN), named("A100 80GB"), gpus=2, rows=rows)
    estimate = plan.estimate
    assert estimate is not None
    assert (estimate.steps, estimate.tokens) == (126, 300_000)
    assert estimate.seconds == pytest.approx(126 * estimate.step_seconds)
    assert estimate.gpu_hours == pytest.approx(2 * estimate.seconds / 3600)
    assert any("A100 80GB SXM" in words for words in estimate.assumptions)
    assert planned("A100 80GB").estimate.seconds is None  # type: ignore[union-attr]


def test_a_cpu_of_which_nothing_is_known_gets_no_estimate() -> None:
    plan = planned(CPU, "Qwen/Qwen2.5-0.5B", max_length=512)
    assert plan.estimate is None
    assert "estimate" not in plan.to_json()


def test_a_plan_is_json_of_its_schema() -> None:
    plan = planned("24GiB")
    value = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    keys = {"schema", "base", "device", "choices", "memory", "fit", "suggestions", "parameters", "gpus", "estimate"}
    assert set(value) == keys
    assert value["schema"] == "tk/plan/1"
    assert value["memory"]["peak_bytes"] == sum(value["memory"]["parts"].values())
    assert value["memory"]["usable_bytes"] == named("24GiB").usable_bytes
    assert value["parameters"]["total"] == 7_615_616_512
    assert value["parameters"]["trainable_share"] == pytest.approx(40_370_176 / 7_615_616_512)
    assert list(value["choices"]) == [
        "adapter",
        "adapter_dtype",
        "dtype",
        "target_modules",
        "rank",
        "alpha",
        "init",
        "dropout",
        "learning_rate",
        "sharding",
        "gradient_checkpointing",
        "packing",
        "micro_batch_size",
        "gradient_accumulation",
        "max_length",
        "attention",
        "optimizer",
        "loss",
    ]
    assert all(set(choice) == {"value", "why"} for choice in value["choices"].values())


def test_the_same_recipe_makes_the_same_plan() -> None:
    assert planned("24GiB").to_json() == planned("24GiB").to_json()
