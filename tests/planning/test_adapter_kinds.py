"""Kinds of adapters on paper: what is chosen for each and why, how large they are, and what cannot be together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planning.planned import CPU, QWEN, chosen, planned, problems_of, shape_of
from toolkit.planning.adapter_kind import AdapterKind, trained_parameters
from toolkit.planning.memory import weight_bytes
from toolkit.planning.recipe_values import AdapterSettings

MIXTURE = "deepseek-ai/DeepSeek-V2-Lite"


def test_an_int8_base_takes_a_byte_a_weight_and_a_scale_a_row() -> None:
    shape = shape_of(QWEN)
    weights, scales = weight_bytes(shape, "lora-8bit", "bfloat16")
    kept = 2 * (shape.parameters - shape.linear_parameters)
    assert weights == kept + shape.linear_parameters
    assert scales == 4 * 28 * (3584 + 512 + 512 + 3584 + 18944 + 18944 + 3584)
    plan = planned("16GiB", adapter=AdapterSettings("lora-8bit"))
    assert chosen(plan, "adapter") == ("lora-8bit",)
    assert plan.fit == "comfortable"


def test_the_routed_experts_of_a_mixture_stay_in_16_bits_on_an_int8_base() -> None:
    shape = shape_of(MIXTURE)
    assert weight_bytes(shape, "lora-8bit", "bfloat16")[0] > 2 * shape.fused_expert_parameters


def test_auto_takes_what_a_beginning_needs() -> None:
    assert chosen(planned("12GiB", adapter=AdapterSettings(init="pissa")), "adapter") == ("lora",)
    assert chosen(planned("80GiB", adapter=AdapterSettings(init="loftq")), "adapter") == ("qlora",)


def test_dora_adds_a_magnitude_for_every_output_and_new_tokens_a_row_of_embedding_and_head() -> None:
    shape = shape_of(QWEN)
    names = shape.linear_targets()
    plain = shape.adapter_parameters(16, names)
    outputs = 28 * (3584 + 512 + 512 + 3584 + 18944 + 18944 + 3584)
    assert trained_parameters(shape, 16, names, AdapterKind(dora=True)) == plain + outputs
    assert trained_parameters(shape, 16, names, AdapterKind(new_tokens=3)) == plain + 3 * 2 * 3584
    tied = shape_of("Qwen/Qwen2.5-0.5B")
    more = trained_parameters(tied, 16, ("q_proj",), AdapterKind(new_tokens=3)) - tied.adapter_parameters(
        16, ("q_proj",)
    )
    assert more == 3 * tied.hidden
    plan = planned("80GiB", adapter=AdapterSettings("lora", dora=True, new_tokens=("<a>", "<b>")))
    assert plan.trainable_parameters == plain + outputs + 2 * 2 * 3584
    assert plan.memory.parts["adapter"] == 4 * plan.trainable_parameters
    assert "DoRA's matrices and copies for rows of new tokens added" in plan.memory.answered_by


def test_evas_ranks_may_move_to_the_widest_matrices_and_no_further() -> None:
    shape = shape_of(QWEN)
    most = trained_parameters(shape, 16, shape.linear_targets(), AdapterKind(spread=True))
    wide = 28 * 3 * 32 * (3584 + 18944)
    assert most == wide + 28 * 16 * 7168  # of seven times 16 ranks, 96 are spent on the three widest
    assert f"at most {most:,}" in planned("80GiB", adapter=AdapterSettings("lora", init="eva")).choices["init"].why


def test_rslora_keeps_alpha_and_says_what_it_comes_to() -> None:
    plan = planned("80GiB", adapter=AdapterSettings("lora", rank=64, rslora=True))
    assert chosen(plan, "alpha", "rslora") == (8, True)
    assert "alpha/sqrt(rank), here 1" in plan.choices["alpha"].why
    asked = planned("80GiB", adapter=AdapterSettings("lora", rank=64, alpha=64, rslora=True))
    assert chosen(asked, "alpha") == (64,)
    assert "here 8" in asked.choices["alpha"].why


@pytest.mark.parametrize(
    ("adapter", "rate", "why"),
    [
        (AdapterSettings("lora"), 2e-4, "usual for LoRA"),
        (AdapterSettings("lora", dora=True), 2e-4, "DoRA"),
        (AdapterSettings("lora", rslora=True), 2e-4, "as strong"),
        (AdapterSettings("lora", init="pissa_niter_16"), 2e-5, "PiSSA"),
        (AdapterSettings("lora", lora_plus_ratio=16), 1e-4, "B learns at 0.0016"),
    ],
)
def test_every_kind_has_a_learning_rate_with_a_reason(adapter: AdapterSettings, rate: float, why: str) -> None:
    choice = planned("80GiB", adapter=adapter).choices["learning_rate"]
    assert choice.value == rate
    assert why in choice.why


def test_defaults_that_others_leave_to_the_reader_are_choices_with_reasons() -> None:
    plan = planned("24GiB")
    assert chosen(plan, "dropout", "adapter_dtype", "init") == (0.0, "float32", "default")
    assert all(choice.why for choice in plan.choices.values())
    assert "(112 of attention, 84 of the MLPs)" in plan.choices["target_modules"].why
    assert "rslora" not in plan.choices


def test_the_tiles_of_the_loss_are_those_of_the_device() -> None:
    assert planned("24GiB").choices["loss"].why.endswith("at most 256 MiB")
    assert (
        planned("24GiB", dtype="float32", micro_batch_size=1, max_length=1024).choices["loss"].why.endswith("128 MiB")
    )
    assert planned(CPU, "Qwen/Qwen2.5-0.5B").choices["loss"].why.endswith("at most 512 MiB")
    with_rows = planned("24GiB", adapter=AdapterSettings(new_tokens=("<a>",)))
    assert with_rows.choices["loss"].why.endswith("at most 512 MiB")


ATTENTION = ("attention",)
WRONG: list[tuple[AdapterSettings, str, str]] = [
    (AdapterSettings("qlora", init="pissa"), QWEN, "adapter.init: pissa takes its factors out of the base's 16-bit"),
    (AdapterSettings("lora-8bit", init="olora"), QWEN, "adapter.init: olora takes its factors"),
    (AdapterSettings("lora", init="loftq"), QWEN, "adapter.init: loftq makes up for the quantisation"),
    (AdapterSettings("lora", init="pisa"), QWEN, "'pisa' is not one of default, gaussian"),
    (AdapterSettings("lora", init="pissa_niter_N"), QWEN, "N stands for a number"),
    (AdapterSettings("lora", init="pissa", dropout=0.1), QWEN, "adapter.dropout: must be 0 with init: pissa"),
    (AdapterSettings("lora", init="pissa", dora=True), QWEN, "leave one of the two out"),
    (AdapterSettings("qlora", init="loftq", dora=True), QWEN, "leave one of the two out"),
    (AdapterSettings("lora", init="olora", new_tokens=("<a>",)), QWEN, "leaves rows of new tokens out"),
    (AdapterSettings("lora", init="pissa", rank=1024), QWEN, "adapter.rank: 1024 is more than the 512 that pissa"),
    (AdapterSettings("lora", dora=True, target_modules=("experts",)), MIXTURE, "DoRA is for linear modules alone"),
    (AdapterSettings("lora", init="eva", target_modules=("all-linear", "router")), MIXTURE, "say attention"),
    (AdapterSettings("lora", new_tokens=("<a>", "<a>")), QWEN, "adapter.new_tokens: names a token twice"),
    (AdapterSettings("lora", new_tokens=("",)), QWEN, "an empty text is no token"),
    (AdapterSettings("lora", new_tokens=(" <a>",)), QWEN, "begins or ends with a space"),
]


@pytest.mark.parametrize(("adapter", "base", "said"), WRONG, ids=[said[:40] for _, _, said in WRONG])
def test_what_cannot_be_is_one_clear_error_on_paper(adapter: AdapterSettings, base: str, said: str) -> None:
    (problem,) = problems_of("80GiB", base, adapter=adapter)
    assert said in problem


def test_a_mixture_adapts_attention_alone_where_a_kind_is_for_modules() -> None:
    plan = planned("80GiB", MIXTURE, adapter=AdapterSettings("lora", dora=True))
    assert "mlp.up_proj" not in chosen(plan, "target_modules")[0]  # type: ignore[operator]
    assert planned("80GiB", MIXTURE, adapter=AdapterSettings("lora", dora=True, target_modules=ATTENTION))


def test_int8_is_refused_where_bitsandbytes_or_sharding_cannot_do_it() -> None:
    assert "does not run on Ascend 910B" in problems_of("910B", adapter=AdapterSettings("lora-8bit"))[0]
    sharded = problems_of("A100 80GB", adapter=AdapterSettings("lora-8bit"), gpus=2, sharding="fsdp2")
    assert "int8 weights cannot be sharded" in sharded[0]
    assert chosen(planned("A100 80GB", adapter=AdapterSettings("lora-8bit"), gpus=2), "sharding") == ("ddp",)
    stored = replace(shape_of(QWEN), quantization="bitsandbytes")
    assert (
        "lora-8bit needs the 16-bit base" in problems_of("80GiB", shape=stored, adapter=AdapterSettings("lora-8bit"))[0]
    )


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (AdapterSettings("lora", init="pissa"), "pissa decomposes whole matrices"),
        (AdapterSettings("lora", lora_plus_ratio=8), "made before parameters are sharded"),
    ],
)
def test_what_needs_whole_parameters_is_not_sharded(adapter: AdapterSettings, said: str) -> None:
    assert said in problems_of("A100 80GB", adapter=adapter, gpus=2, sharding="fsdp2")[0]
    assert chosen(planned("A100 80GB", adapter=adapter, gpus=2), "sharding") == ("ddp",)
    assert not any("FSDP2" in text for text in planned("8GiB", adapter=adapter).suggestions)


def test_lora_plus_wants_an_optimiser_of_adams_kind() -> None:
    said = problems_of("80GiB", adapter=AdapterSettings("lora", lora_plus_ratio=16), optimizer="sgd")
    assert "made for Adam's steps" in said[0]


def test_new_tokens_are_trained_on_one_gpu() -> None:
    tokens = AdapterSettings("lora", new_tokens=("<a>",))
    assert "trained by one process alone" in problems_of("A100 80GB", adapter=tokens, gpus=2)[0]
    assert not any("FSDP2" in text for text in planned("8GiB", adapter=tokens).suggestions)
