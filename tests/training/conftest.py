"""Tiny bases of the five families with random weights, a tokenizer, a small task to learn, and the papers of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]", "<|begin_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
]  # fmt: skip
WORDS = "where is my order parcel invoice ticket number your on its way reference please answer user assistant system"
FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "deepseek_v3")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from threads, and sums in one order make runs comparable bit for bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., Any]:
    """A byte-level BPE tokenizer that knows the control tokens of all families; template and end token as asked."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([WORDS] * 4, trainer)

    def make(
        template: str | None = CHATML, eos: str | None = "<|im_end|>", pad: str | None = "<|endoftext|>", **more: Any
    ) -> Any:
        extra = [token for token in SPECIAL if token not in (eos, pad, *more.values())]
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, eos_token=eos, pad_token=pad, extra_special_tokens=extra, **more
        )
        tokenizer.chat_template = template
        return tokenizer

    return make


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer: Callable[..., Any]) -> Any:
    return make_tokenizer()


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], Path]:
    """The folder of a tiny base of a family, made on first use."""
    root = tmp_path_factory.mktemp("bases")

    def base(family: str) -> Path:
        folder = root / family
        if not folder.exists():
            _make_base(family, folder, tokenizer)
        return folder

    return base


@pytest.fixture(scope="session")
def support(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short conversations, JSONL."""
    path = tmp_path_factory.mktemp("data") / "support.jsonl"
    random = Random(7)
    rows = []
    for number in range(60):
        thing = random.choice(["order", "parcel", "invoice"])
        question = f"where is my {thing} number {number}" + " please answer" * random.randrange(4)
        rows.append(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": question},
                        {"role": "assistant", "content": f"your {thing} is on its way"},
                    ]
                }
            )
        )
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def papers(support: Path, bases: Callable[[str], Path], tmp_path: Path) -> Callable[..., tuple[Any, ...]]:
    """Permit, recipe, plan, snapshot and verdict of a run: what `finetune` takes. `change` edits parts of the recipe."""
    from dataclasses import replace

    from toolkit.licensing.verdict import EffectiveLicense, Target, Verdict
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.gate import grant
    from toolkit.planning.gpu import named
    from toolkit.planning.plan import make_plan
    from toolkit.planning.recipe import Recipe
    from toolkit.planning.recipe_values import AdapterSettings, DataSettings, EvaluateSettings, TrainSettings
    from toolkit.planning.shape import read_shape

    def make(
        family: str = "qwen2",
        adapter: str | AdapterSettings = "lora",
        output: str = "run",
        data: Path | None = None,
        start: str | None = None,
        sections: dict[str, Any] | None = None,
        **train: Any,
    ) -> tuple[Any, ...]:
        snapshot = Snapshot(f"embedded:{family}", None, "embedded", bases(family))
        settings = {"max_steps": 8, "batch_size": 8, "learning_rate": 5e-3, "max_length": 128, **train}
        recipe = Recipe(
            base=snapshot.id,
            data=DataSettings(str(data or support), license="CC-BY-4.0"),
            output=str(tmp_path / output),
            path="recipes/test.yaml",
            adapter=AdapterSettings(type=adapter, rank=8, start=start) if isinstance(adapter, str) else adapter,
            train=replace(TrainSettings(), **settings),
            evaluate=EvaluateSettings(fraction=0.2, generate=4, max_new_tokens=8),
            **(sections or {}),
        )
        plan = make_plan(recipe, read_shape(snapshot.config or {}), named("cpu"))
        effective = EffectiveLicense("apache-2.0", "Apache-2.0", "model", snapshot.id, "its LICENSE file")
        target = Target(snapshot.id, None, "embedded")
        verdict = Verdict(target, "allowed", (effective,), (), (), (), (), "tk", "1")
        return grant(verdict, recipe), recipe, plan, snapshot, verdict

    return make


def _make_base(family: str, folder: Path, tokenizer: Any) -> None:
    import torch
    import transformers

    common = {
        "vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    mixture = {
        "num_key_value_heads": 4, "moe_intermediate_size": 24, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "n_shared_experts": 1, "first_k_dense_replace": 1, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8, "v_head_dim": 12, "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "qwen2": {"tie_word_embeddings": True},
        "qwen3": {"head_dim": 16, "tie_word_embeddings": True},
        "llama": {},
        "mistral": {"sliding_window": 16},
        "deepseek_v3": mixture,
    }
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(family, **{**common, **own[family]})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_text("Apache License, Version 2.0\n", encoding="utf-8")
    (folder / "NOTICE").write_text("made for a test\n", encoding="utf-8")
