"""Every kind of adapter, trained for real: the loss falls, what is saved fits the original base in a plain PEFT, and sizes
are what was planned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.planning.recipe_values import AdapterSettings
from toolkit.release.record import read_record
from toolkit.training.progress import silent
from toolkit.training.run import finetune

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

Papers = Callable[..., tuple[Any, ...]]
NEW = ("<ticket>", "<parcel>")
TEXT = "where is my parcel number 7 <parcel> please answer"

# A kind, the rates that suit it on a tiny base, and how far reloaded logits may be off: PiSSA's and OLoRA's base is rounded
# once when the factors are taken out of it.
KINDS: dict[str, tuple[AdapterSettings, float, float]] = {
    "int8": (AdapterSettings("lora-8bit", rank=8), 5e-3, 0.0),
    "dora": (AdapterSettings("lora", rank=8, dora=True), 5e-3, 0.0),
    "dora on int8": (AdapterSettings("lora-8bit", rank=8, dora=True), 5e-3, 0.0),
    "dora on nf4": (AdapterSettings("qlora", rank=8, dora=True, lora_plus_ratio=4), 3e-3, 0.0),
    "rslora": (AdapterSettings("lora", rank=8, rslora=True, init="gaussian"), 5e-3, 0.0),
    "pissa": (AdapterSettings("lora", rank=8, init="pissa"), 2e-3, 2e-4),
    "pissa, four steps": (AdapterSettings("lora", rank=8, rslora=True, init="pissa_niter_4"), 2e-3, 2e-4),
    "olora": (AdapterSettings("lora", rank=8, init="olora"), 1e-3, 2e-4),
    "eva": (AdapterSettings("lora", rank=8, init="eva"), 5e-3, 0.0),
    "eva on nf4": (AdapterSettings("qlora", rank=8, init="eva", dora=True), 5e-3, 0.0),
    "loftq": (AdapterSettings("qlora", rank=8, init="loftq"), 5e-3, 0.0),
    "new tokens": (AdapterSettings("lora", rank=8, new_tokens=NEW), 5e-3, 0.0),
    "new tokens on nf4": (AdapterSettings("qlora", rank=8, new_tokens=NEW, lora_plus_ratio=4), 5e-3, 0.0),
}
FAMILY = {"new tokens on nf4": "llama", "dora on int8": "llama"}  # untied, so that rows of the head are trained too


@pytest.fixture
def trained(papers: Papers) -> Callable[..., tuple[Path, dict[str, Any], Any]]:
    """A finished run of a kind, its record, and the model as it was when it was saved."""

    def run(name: str, output: str = "run", progress: Any = silent, **more: Any) -> tuple[Path, dict[str, Any], Any]:
        adapter, rate, _ = KINDS[name]
        arguments = papers(FAMILY.get(name, "qwen2"), adapter, output=output, learning_rate=rate, **more)
        folder = finetune(*arguments, progress=progress)
        return folder, read_record(folder), arguments[2]  # type: ignore[return-value]

    return run


@pytest.fixture(scope="module")
def base_losses() -> dict[str, float]:
    """What the first run says of a base before training; all others must say the same."""
    return {}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_learns_and_plain_peft_gives_the_same_answers(
    name: str,
    trained: Any,
    bases: Callable[[str], Path],
    base_losses: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from toolkit.training import adapters

    kept: list[Any] = []
    save = adapters.save_adapter
    monkeypatch.setattr(adapters, "save_adapter", lambda model, *rest: (kept.append(model), save(model, *rest)))
    run, record, plan = trained(name)
    before = record["evaluation"]["before"]["loss"]
    assert record["evaluation"]["after"]["loss"] < before
    if KINDS[name][0].type == "lora" and not KINDS[name][0].new_tokens:  # the base itself, whatever was taken out of it
        assert before == pytest.approx(base_losses.setdefault("qwen2", before), abs=1e-5)
    (model,) = kept
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}

    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert record["adapter"]["trainable_parameters"] == counted == model.get_nb_trainable_parameters()[0]
    if KINDS[name][0].init == "eva":
        assert counted <= plan.trainable_parameters
    else:
        assert counted == plan.trainable_parameters

    model.eval()
    here, there = logits(model, run), logits(plain_peft(bases(FAMILY.get(name, "qwen2")), run, name), run)
    assert (here - there).abs().max() <= KINDS[name][2]


def plain_peft(base: Path, run: Path, name: str) -> Any:
    """The base and the adapter as PEFT and transformers load them, with nothing of ours."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    kind = KINDS[name][0].type
    config = {
        "lora": None,
        "lora-8bit": BitsAndBytesConfig(load_in_8bit=True),
        "qlora": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
    }[kind]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, quantization_config=config)
    rows = len(AutoTokenizer.from_pretrained(run / "adapter"))
    if rows > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows)
    for module in model.modules():  # see `_keep_four_bits_as_they_are`: tiny matrices do not divide into its blocks
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(model, str(run / "adapter")).eval()


def logits(model: Any, run: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run / "adapter")
    ids = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        return model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits.float()


RESUMED = ("pissa, four steps", "eva on nf4", "new tokens on nf4")


@pytest.mark.parametrize("name", RESUMED)
def test_a_stopped_run_goes_on_to_the_same_adapter(name: str, trained: Any) -> None:
    import os
    import signal

    from toolkit.training.stopping import Stopped

    def interrupt(event: Any) -> None:
        if event.stage == "train" and event.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    straight, _, _ = trained(name, output="straight")
    with pytest.raises(Stopped):
        trained(name, output="stopped", progress=interrupt)
    stopped, record, _ = trained(name, output="stopped")
    assert record["metrics"]["resumed_from_step"] == 4
    weights = "adapter/adapter_model.safetensors"
    assert (stopped / weights).read_bytes() == (straight / weights).read_bytes()


def test_what_pissa_saves_says_so_and_is_plain_lora(trained: Any) -> None:
    run, record, _ = trained("pissa, four steps")
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["init_lora_weights"], config["use_rslora"]) == (16, True, True)
    assert config["lora_alpha"] == pytest.approx(8 * 2**0.5)
    assert (record["adapter"]["rank"], record["adapter"]["saved_rank"]) == (8, 16)


def test_evas_ranks_are_moved_and_their_sum_is_kept(trained: Any) -> None:
    from safetensors.torch import load_file

    run, record, _ = trained("eva")
    factors = load_file(run / "adapter" / "adapter_model.safetensors")
    ranks = [tensor.shape[0] for name, tensor in factors.items() if "lora_A" in name]
    assert sum(ranks) == 8 * 2 * 7
    assert len(set(ranks)) > 1
    assert record["adapter"]["ranks"] == {"least": min(ranks), "most": max(ranks)}


def test_loftq_begins_nearer_to_the_16_bit_base(bases: Callable[[str], Path]) -> None:
    from bitsandbytes.functional import dequantize_4bit
    from safetensors.torch import load_file

    from toolkit.training.adapters import add_adapter
    from toolkit.training.base import load_base
    from toolkit.training.tracing.demand import settings_for

    settings = settings_for(
        adapter="qlora", rank=8, targets=("q_proj", "down_proj"), batch=1, length=8, checkpointing=False,
        dtype="float32", device_kind="cpu", init="loftq",
    )  # fmt: skip
    base = load_base(bases("qwen2"), dtype="float32", device="cpu", quantise=True)
    weights = load_file(bases("qwen2") / "model.safetensors")
    adapted = add_adapter(base, settings)
    for name, module in adapted.named_modules():
        if type(module).__name__ == "Linear4bit" and hasattr(module, "lora_A"):
            original = weights[name.removeprefix("base_model.model.") + ".weight"]
            held = dequantize_4bit(module.weight.data, module.weight.quant_state)
            begun = held + module.get_delta_weight("default")
            assert (original - begun).norm() < 0.8 * (original - held).norm()


def test_lora_plus_gives_b_its_own_rate(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.training import fit

    made: list[Any] = []
    monkeypatch.setattr(fit, "lora_plus", lambda *given, make=fit.lora_plus: made.append(make(*given)) or made[-1])
    run, _, _ = trained("new tokens on nf4", weight_decay=0.01)
    groups = [group for group in made[0].param_groups if group["params"]]
    assert [group["initial_lr"] for group in groups] == pytest.approx([5e-3, 2e-2])
    assert [group["weight_decay"] for group in groups] == [0.01, 0.01]
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert line["learning_rate"] <= 5e-3  # the curve shows that of A


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_of_embedding_and_head_only_the_rows_of_new_tokens_are_trained_and_by_the_right_gradient(
    family: str, bases: Callable[[str], Path]
) -> None:
    from toolkit.training import new_tokens
    from toolkit.training.adapters import add_adapter
    from toolkit.training.base import load_base, load_tokenizer
    from toolkit.training.losses import has_plain_head, next_token_losses
    from toolkit.training.tracing.demand import settings_for

    tokenizer = load_tokenizer(bases(family))
    new_tokens.extend(tokenizer, NEW)
    settings = settings_for(
        adapter="lora", rank=4, targets=("q_proj",), batch=1, length=8, checkpointing=False, dtype="float32",
        device_kind="cpu",
    )  # fmt: skip
    model = load_base(bases(family), dtype="float32", device="cpu")
    pieces = load_tokenizer(bases(family))(NEW[0], add_special_tokens=False)["input_ids"]
    new_tokens.make_room(model, tokenizer, bases(family), NEW)
    matrix = model.get_output_embeddings().weight
    assert torch.allclose(matrix[-2], matrix[pieces].mean(dim=0), atol=1e-7)

    from dataclasses import replace

    adapted = add_adapter(model, replace(settings, new_tokens=NEW), tokenizer)
    rows = {name: parameter for name, parameter in adapted.named_parameters() if "trainable_tokens_delta" in name}
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert {tuple(row.shape) for row in rows.values()} == {(2, 48)}
    assert len({id(row) for row in rows.values()}) == (1 if family == "qwen2" else 2)
    inputs = tokenizer(TEXT, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert has_plain_head(adapted.get_base_model())
    ours = next_token_losses(adapted, {"input_ids": ids, "attention_mask": mask}, ids).mean()
    ours.backward()
    found = [parameter.grad.clone() for parameter in trained]
    adapted.zero_grad()
    theirs = adapted(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    for mine, parameter in zip(found, trained, strict=True):
        assert torch.allclose(mine, parameter.grad, atol=1e-6)


def test_a_chat_knows_the_new_tokens(trained: Any, bases: Callable[[str], Path]) -> None:
    from toolkit.training.chat import Sampling, load_chat

    run, record, _ = trained("new tokens on nf4")
    chat = load_chat(run, bases("llama"), record)
    assert chat._tokenizer.tokenize("<parcel>") == ["<parcel>"]
    asked: Any = [{"role": "user", "content": "<parcel>"}]
    assert isinstance(chat.reply(asked, Sampling(max_new_tokens=4)), str)
    assert isinstance(chat.reply(asked, Sampling(max_new_tokens=4), adapter=False), str)


def test_a_new_token_that_the_base_has_is_said_before_the_base_is_loaded(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.errors import InvalidInput
    from toolkit.training import base

    monkeypatch.setattr(base, "load_base", lambda *given, **options: pytest.fail("the base was loaded"))
    with pytest.raises(InvalidInput, match=r"'\[INST\]' is a token of the base already \(recipes/test.yaml\)"):
        finetune(*papers(adapter=AdapterSettings("lora", new_tokens=("[INST]", "<mine>"))))
