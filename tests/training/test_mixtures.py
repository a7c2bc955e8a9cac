"""Mixtures of experts as whole models: what 4 bits take, what trains, what is saved, and what others read from it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.planning import targets
from toolkit.planning.gate import grant
from toolkit.planning.gpu import named
from toolkit.planning.memory import weight_bytes
from toolkit.planning.plan import make_plan
from toolkit.planning.recipe_values import AdapterSettings
from toolkit.planning.shape import Shape, read_shape
from toolkit.release.record import read_record
from toolkit.training.progress import Event
from toolkit.training.run import finetune
from toolkit.training.stopping import Stopped

FAMILIES = ("qwen3_moe", "deepseek_v2", "deepseek_v3")
EVERYTHING = ("all-linear", "experts")
COMMON = {
    "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 64, "moe_intermediate_size": 64, "max_position_embeddings": 256,
    "num_experts_per_tok": 2, "tie_word_embeddings": True, "initializer_range": 0.2,
}  # fmt: skip
LATENT = {
    "head_dim": 64, "n_routed_experts": 8, "n_shared_experts": 2, "first_k_dense_replace": 1, "q_lora_rank": None,
    "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 64, "n_group": 1, "topk_group": 1,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "qwen3_moe": {"num_experts": 8, "norm_topk_prob": True},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], Path]:
    """Tiny mixtures. Every matrix is a multiple of 64 x 256 weights, so that scales fill their blocks to the byte."""
    import torch
    import transformers

    root = tmp_path_factory.mktemp("mixtures")

    def base(family: str) -> Path:
        folder = root / family
        if not folder.exists():
            words = {
                "bos_token_id": None,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            }
            fields = {**COMMON, **OWN[family], **words, "vocab_size": len(tokenizer)}
            torch.manual_seed(3)
            config = transformers.AutoConfig.for_model(family, **fields)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            (folder / "LICENSE").write_text("Apache License, Version 2.0\n", encoding="utf-8")
        return folder

    return base


def shape_of(folder: Path) -> Shape:
    return read_shape(json.loads((folder / "config.json").read_text()))


def loaded(folder: Path, *, quantise: bool = False) -> Any:
    from toolkit.training.base import load_base

    return load_base(folder, dtype="float32", device="cpu", quantise=quantise)


def adapted(folder: Path, *asked: str, quantise: bool = True, rank: int = 4) -> Any:
    """A base with an adapter whose B is not zero any more."""
    import torch

    from toolkit.training.adapters import add_adapter

    names = targets.resolve(shape_of(folder), asked or EVERYTHING)
    settings: Any = SimpleNamespace(
        targets=names,
        seed=1,
        rank=rank,
        alpha=2 * rank,
        dropout=0.0,
        dora=False,
        rslora=False,
        init="default",
        new_tokens=(),
        lora_plus_ratio=None,
    )
    model = add_adapter(loaded(folder, quantise=quantise), settings)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def token_ids() -> Any:
    import torch

    return torch.randint(0, 250, (2, 24), generator=torch.Generator().manual_seed(5))


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(token_ids()).logits


def saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    from toolkit.training.adapters import save_adapter

    save_adapter(model, tokenizer, folder, "some/base", None)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixture_in_4_bits_takes_the_bytes_that_its_plan_counts(family: str, bases: Callable[[str], Path]) -> None:
    from bitsandbytes.nn import Params4bit

    model, shape = loaded(bases(family), quantise=True), shape_of(bases(family))
    packed = [parameter for parameter in model.parameters() if isinstance(parameter, Params4bit)]
    plain = [parameter for parameter in model.parameters() if not isinstance(parameter, Params4bit)]
    states = [parameter.quant_state for parameter in packed]
    weights, state = weight_bytes(shape, "qlora", "float32")
    assert sum(parameter.nbytes for parameter in (*packed, *plain)) == weights
    assert sum(state.absmax.nbytes + state.state2.absmax.nbytes for state in states) == state
    # Beside them each matrix has the offset of its scales and two tables of values, whatever its size.
    assert all(one.offset.nbytes + one.code.nbytes + one.state2.code.nbytes == 4 + 64 + 1024 for one in states)
    fused = [parameter for parameter in packed if len(parameter.quant_state.shape) == 3]
    assert sum(one.quant_state.shape.numel() for one in fused) == shape.fused_expert_parameters > 0
    assert weights + state < sum(weight_bytes(shape, "lora", "float32")) / 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_4_bit_mixture_is_the_model_of_its_dequantised_weights(family: str, bases: Callable[[str], Path]) -> None:
    """Exactly that model; and its routed experts near the original's, each by what NF4 can lose at most."""
    import torch

    from toolkit.training.experts import FUSED, is_fused

    original, model = loaded(bases(family)), loaded(bases(family), quantise=True).eval()
    quantised = logits(model)
    plain = model.dequantize()
    assert torch.allclose(logits(plain), quantised, atol=1e-5)
    for (name, ours), theirs in zip(plain.named_modules(), original.modules(), strict=True):
        for leaf in FUSED if is_fused(ours) else ():
            lost = (getattr(ours, leaf) - getattr(theirs, leaf)).abs().reshape(-1, 64).amax(dim=1)
            largest = getattr(theirs, leaf).abs().reshape(-1, 64).amax(dim=1)
            assert bool((lost <= 0.152 * largest + 0.016 * largest.max()).all()), name


@pytest.mark.parametrize("asked", [(), EVERYTHING], ids=["by default", "with experts"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_plan_counts_is_what_is_adapted(
    family: str, asked: tuple[str, ...], bases: Callable[[str], Path]
) -> None:
    from toolkit.training.adapters import adapted_modules, counts, trainable_parameters

    shape = shape_of(bases(family))
    names = targets.resolve(shape, asked or ("all-linear",))
    model = adapted(bases(family), *names)
    assert trainable_parameters(model) == shape.adapter_parameters(4, names)
    found = counts(adapted_modules(model))
    expected = {matrix.name: matrix.count for matrix in shape.matrices}
    if asked:
        expected |= {matrix.name: shape.sparse_layers for matrix in shape.expert_matrices}
    assert {
        name: sum(n for path, n in found.items() if f".{path}".endswith(f".{name}")) for name in expected
    } == expected
    assert sum(found.values()) == sum(expected.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_adapter_and_nothing_else(family: str, bases: Callable[[str], Path]) -> None:
    model = adapted(bases(family)).train()
    model(token_ids(), labels=token_ids()).loss.backward()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            assert float(parameter.grad.abs().max()) > 0, name
        else:
            assert parameter.grad is None, name
            assert not parameter.requires_grad, name
    routers = [name for name, _ in model.named_parameters() if ".gate." in name]
    assert routers
    assert not any("lora_" in name for name in routers)


def test_a_router_is_adapted_when_asked(bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    from toolkit.training.adapters import adapted_modules, counts

    model = adapted(bases("deepseek_v3"), "router", quantise=False)
    assert counts(adapted_modules(model)) == {"mlp.gate.weight": 2}
    alone = PeftModel.from_pretrained(loaded(bases("deepseek_v3")), str(saved(model, tokenizer, tmp_path / "adapter")))
    assert torch.allclose(logits(alone), logits(model), atol=1e-4)
    with model.disable_adapter():
        assert not torch.allclose(logits(model), logits(alone), atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_peft_loads_the_adapter_says_the_same_and_merges_it(
    family: str, bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path
) -> None:
    """On the 16-bit base (here in float32) that the adapter is for, and on the weights that the 4 bits stand for."""
    import torch
    from peft import PeftModel

    from toolkit.training.adapters import load_adapter

    model = adapted(bases(family), quantise=False)
    folder = saved(model, tokenizer, tmp_path / "adapter")
    alone = PeftModel.from_pretrained(loaded(bases(family)), str(folder)).eval()
    ours = logits(model)
    assert torch.allclose(logits(alone), ours, atol=1e-4)
    assert torch.allclose(logits(alone.merge_and_unload()), ours, atol=1e-4)
    assert not torch.allclose(logits(loaded(bases(family))), ours, atol=1e-2)

    trained = adapted(bases(family))
    folder = saved(trained, tokenizer, tmp_path / "other")
    unpacked = loaded(bases(family), quantise=True).dequantize()
    again = PeftModel.from_pretrained(unpacked, str(folder)).eval()
    assert torch.allclose(logits(again), logits(trained), atol=1e-4)
    over_4_bits = load_adapter(loaded(bases(family), quantise=True), folder).eval()
    assert torch.equal(logits(over_4_bits), logits(trained))


def test_an_adapter_is_not_merged_into_4_bits_and_the_4_bit_base_is_not_saved(
    bases: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(TkError, match="cannot be merged into experts in 4 bits"):
        adapted(bases("qwen3_moe"), "experts").merge_and_unload()
    with pytest.raises(ValueError, match="not serializable"):
        loaded(bases("qwen3_moe"), quantise=True).save_pretrained(tmp_path)


def papers_of(
    papers: Callable[..., tuple[Any, ...]], family: str, asked: tuple[str, ...], **more: Any
) -> tuple[Any, ...]:
    """Papers of a run that adapts `asked`."""
    _, recipe, plan, snapshot, verdict = papers(family, more.pop("adapter", "qlora"), **more)
    recipe = replace(recipe, adapter=AdapterSettings(recipe.adapter.type, rank=8, target_modules=asked))
    plan = make_plan(recipe, read_shape(snapshot.config), named("cpu"))
    return grant(verdict, recipe), recipe, plan, snapshot, verdict


def adapted_by_plan(shape: Shape) -> int:
    return sum(matrix.count for matrix in shape.matrices) + 2 * shape.sparse_layers


@pytest.mark.parametrize(
    ("family", "adapter"),
    [("qwen3_moe", "qlora"), ("deepseek_v2", "qlora"), ("deepseek_v3", "qlora"), ("deepseek_v3", "lora")],
)
def test_a_mixture_learns_with_adapters_on_all_its_experts(
    family: str, adapter: str, papers: Callable[..., tuple[Any, ...]], bases: Callable[[str], Path]
) -> None:
    events: list[Event] = []
    arguments = papers_of(papers, family, EVERYTHING, adapter=adapter, max_steps=5)
    record: Any = read_record(finetune(*arguments, progress=events.append))
    assert record["metrics"]["last_loss"] < record["metrics"]["first_loss"] - 0.1
    assert record["evaluation"]["after"]["loss"] < record["evaluation"]["before"]["loss"]
    assert record["adapter"]["adapted_modules"] == adapted_by_plan(shape_of(bases(family)))
    said = [event.message for event in events if event.stage == "train" and event.done is None]
    assert any(message.startswith("training ") and "mlp.experts.gate_up_proj" in message for message in said)


@pytest.fixture(scope="module")
def straight() -> Callable[..., Any]:
    """The record of one run that several tests look at."""
    records: list[Any] = []

    def run(papers: Callable[..., tuple[Any, ...]]) -> Any:
        if not records:
            records.append(read_record(finetune(*papers_of(papers, "qwen3_moe", EVERYTHING, max_steps=4))))
        return records[0]

    return run


def test_recomputing_activations_changes_nothing_for_experts_in_4_bits(
    papers: Callable[..., tuple[Any, ...]], straight: Callable[..., Any]
) -> None:
    more = {"output": "recomputed", "gradient_checkpointing": True, "max_steps": 4}
    recomputed: Any = read_record(finetune(*papers_of(papers, "qwen3_moe", EVERYTHING, **more)))
    assert recomputed["metrics"]["train_loss"] == pytest.approx(straight(papers)["metrics"]["train_loss"], abs=1e-5)


def test_a_stopped_run_on_4_bit_experts_goes_on_to_the_same_adapter(
    papers: Callable[..., tuple[Any, ...]], straight: Callable[..., Any]
) -> None:
    def stop(event: Event) -> None:
        if event.stage == "train" and event.done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = papers_of(papers, "qwen3_moe", EVERYTHING, output="stopped", max_steps=4)
    with pytest.raises(Stopped, match="after step 2 of 4"):
        finetune(*stopped, progress=stop)
    resumed: Any = read_record(finetune(*stopped))
    assert resumed["metrics"]["resumed_from_step"] == 2
    assert resumed["adapter"]["files"] == straight(papers)["adapter"]["files"]
