"""llama.cpp reads the GGUF as transformers reads the checkpoint: the same tokens, greedily and from text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.export.llama_cpp import NASTY, continuation, served, tokens
from toolkit.errors import TkError
from toolkit.release.facts import facts_of
from toolkit.release.form import Form
from toolkit.release.record import read_record
from toolkit.training.export.gguf.families import FAMILIES, require_family
from toolkit.training.export.gguf.vocabulary import SPLITS
from toolkit.training.export.gguf.writing import write_gguf

pytest.importorskip("xllamacpp")

LATENT = {
    "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "q_lora_rank": 32, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 64, "v_head_dim": 32, "n_group": 1, "topk_group": 1,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LITE = {**LATENT, "q_lora_rank": None, "num_hidden_layers": 27, "topk_method": "greedy", "norm_topk_prob": False}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {}),
    "qwen2, tied head, yarn": ("qwen2", {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3_moe": ("qwen3_moe", {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}),
    "llama": ("llama", {}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3}),
    "mistral": ("mistral", {"sliding_window": None}),
    "deepseek_v3": ("deepseek_v3", LATENT),
    "deepseek_v3, groups, yarn": (
        "deepseek_v3",
        {**LATENT, "n_group": 4, "topk_group": 2, "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}},
    ),
    "deepseek_v2": ("deepseek_v2", {**LATENT, "topk_method": "greedy", "norm_topk_prob": False}),
    "deepseek_v2 lite": (
        "deepseek_v2",
        {**LITE, "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707}},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def facts(trained_runs: Callable[[str], tuple[Path, Path]]) -> Any:
    return facts_of(read_record(trained_runs("llama")[0]), "Tiny")


def make_base(family: str, own: dict[str, Any], folder: Path, tokenizer: Any) -> Any:
    """A tiny base whose weights are large enough for attention, experts and norms to matter."""
    import torch
    import transformers

    torch.manual_seed(3)
    common = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(family, **{**common, **own})
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.add_(torch.rand_like(buffer) * 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_goes_on_with_the_same_tokens(case: str, facts: Any, tmp_path: Path) -> None:
    import torch

    tokenizer = one_end()
    family, own = CASES[case]
    model = make_base(family, own, tmp_path, tokenizer)
    require_family(tmp_path)
    path = write_gguf(tmp_path, tmp_path, facts, Form("gguf", quantization="f32"), tokenizer, (tokenizer.eos_token_id,))
    prompt = torch.randint(1, len(tokenizer), (70,)).tolist()
    banned = [tokenizer.eos_token_id]  # llama.cpp is told to go on
    written = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 70, dtype=torch.long), do_sample=False, max_new_tokens=24,
        suppress_tokens=banned, eos_token_id=None, pad_token_id=tokenizer.pad_token_id,
    )[0, 70:].tolist()  # fmt: skip
    with served(path) as server:
        theirs, position, likeliest = continuation(server, prompt, 24)
    assert theirs == written
    with torch.no_grad():
        logits = model(torch.tensor([prompt + theirs[:position]])).logits[0, -1]
    assert against_the_likeliest(logits, likeliest) == pytest.approx(
        against_the_likeliest(likeliest, likeliest), abs=1e-4
    )


def test_every_family_that_is_written_is_compared() -> None:
    assert {family for family, _ in CASES.values()} == set(FAMILIES)


@pytest.mark.parametrize("quantization", ["bf16", "f16", "q8_0", "q4_0"])
def test_the_weights_of_a_file_are_read_back_as_llama_cpp_has_them(
    quantization: str, facts: Any, tmp_path: Path
) -> None:
    """What `tk export` measures of a quantised file is what llama.cpp computes with."""
    import torch

    from toolkit.training.export.gguf.reading import take_weights

    tokenizer = one_end()
    model = make_base("qwen3_moe", CASES["qwen3_moe"][1], tmp_path, tokenizer)
    form = Form("gguf", quantization=quantization)
    path = write_gguf(tmp_path, tmp_path, facts, form, tokenizer, (tokenizer.eos_token_id,))
    prompt = torch.randint(1, len(tokenizer), (40,)).tolist()
    before = model(torch.tensor([prompt])).logits[0, -1].detach().clone()
    take_weights(model, path, tmp_path)
    after = model(torch.tensor([prompt])).logits[0, -1].detach()
    off = {"bf16": 0.5, "f16": 0.05, "q8_0": 0.5, "q4_0": 8.0}[quantization]
    assert 0 < (after - before).abs().max() < off
    with served(path) as server:
        theirs, position, likeliest = continuation(server, prompt, 12)
    after = model(torch.tensor([prompt + theirs[:position]])).logits[0, -1].detach()
    # llama.cpp rounds activations to the weights' format as it multiplies.
    gap = {"bf16": 0.2, "f16": 0.05, "q8_0": 0.3, "q4_0": 0.3}[quantization]
    assert against_the_likeliest(after, likeliest) == pytest.approx(
        against_the_likeliest(likeliest, likeliest), abs=gap
    )


@pytest.mark.parametrize("patterns", SPLITS, ids=SPLITS.get)
def test_llama_cpp_splits_text_as_the_tokenizer_does(
    patterns: tuple[str, ...], facts: Any, tokenizer: Any, tmp_path: Path
) -> None:
    make_base("qwen2", {}, tmp_path, tokenizer)
    own = byte_level(patterns, tokenizer)
    path = write_gguf(tmp_path, tmp_path, facts, Form("gguf", quantization="f32"), own, (own.eos_token_id,))
    with served(path) as server:
        assert tokens(server, NASTY) == own(NASTY, add_special_tokens=False)["input_ids"]
        turn = f"<|im_start|>user\n{NASTY}<|im_end|>\n"
        assert tokens(server, turn, special=True) == own(turn)["input_ids"]


def test_llama_cpp_splits_text_with_byte_fallback_as_the_tokenizer_does(
    facts: Any, tokenizer: Any, tmp_path: Path
) -> None:
    own = sentence_pieces()
    make_base("llama", {"vocab_size": len(own)}, tmp_path, own)
    path = write_gguf(tmp_path, tmp_path, facts, Form("gguf", quantization="f32"), own, (own.eos_token_id,))
    with served(path) as server:
        assert tokens(server, NASTY) == own(NASTY, add_special_tokens=False)["input_ids"]
        assert tokens(server, NASTY, special=True) == own(NASTY)["input_ids"]


def test_the_file_names_licence_base_and_run(facts: Any, tokenizer: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from gguf import GGUFReader

    make_base("llama", {}, tmp_path, tokenizer)
    hub = replace(facts, base=replace(facts.base, name="meta-llama/Llama-X", is_hub=True, revision="abc"))
    path = write_gguf(tmp_path, tmp_path, hub, Form("gguf", quantization="q8_0"), tokenizer, (2,))
    fields = GGUFReader(path).fields
    said = {name: field.contents() for name, field in fields.items() if name.startswith(("general.", "tk."))}
    assert said["general.license"] == facts.terms.hub_key
    assert said["general.base_model.0.name"] == "Llama-X"
    assert said["general.base_model.0.organization"] == "meta-llama"
    assert said["general.base_model.0.version"] == "abc"
    assert said["general.base_model.0.repo_url"] == "https://huggingface.co/meta-llama/Llama-X"
    assert said["general.name"] == "Tiny"
    assert said["tk.run_sha256"] == facts.record_sha256
    assert fields["tokenizer.chat_template"].contents() == tokenizer.chat_template


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma2"}, "no GGUF is written for gemma2"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({"model_type": "qwen3_moe", "norm_topk_prob": False}, "do not add up to one"),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic"}}, "scaled as dynamic"),
        ({"model_type": "deepseek_v3", "q_lora_rank": None, "num_hidden_layers": 12}, "uncompressed queries"),
        (
            {"model_type": "deepseek_v2", "q_lora_rank": 8, "topk_method": "group_limited_greedy", "n_group": 8},
            "groups",
        ),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TkError, match=words):
        require_family(tmp_path)


def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(facts: Any, tokenizer: Any, tmp_path: Path) -> None:
    make_base("qwen2", {}, tmp_path, tokenizer)
    with pytest.raises(TkError, match=r"llama\.cpp has no tokenizer that splits text as this one does"):
        write_gguf(
            tmp_path, tmp_path, facts, Form("gguf", quantization="f32"), byte_level((r"\w+|\W+",), tokenizer), (2,)
        )


def against_the_likeliest(values: Any, tokens: Any) -> dict[int, float]:
    """How much less likely each token is than the first of them; whether a banned token counts then plays no part."""
    first = next(iter(tokens))
    return {token: float(values[token]) - float(values[first]) for token in tokens}


def one_end() -> Any:
    """A tokenizer with one control token. llama.cpp takes further ones for ends by their names, and would not write them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(["where is my order"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")


def byte_level(patterns: tuple[str, ...], like: Any) -> Any:
    """The tokenizer of the tests, splitting text by other patterns."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer.from_str(like.backend_tokenizer.to_str())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not patterns),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def sentence_pieces() -> Any:
    """A tokenizer as Llama 2's and Mistral's: words with a mark before them, and bytes for what it does not know."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    )
    core.train_from_iterator([NASTY, "hello world where is my order please answer the double quoted path"] * 4, trainer)
    parts = json.loads(core.to_str())
    parts["added_tokens"] = [entry for entry in parts["added_tokens"] if entry["content"] in special]
    core = Tokenizer.from_str(json.dumps(parts))
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
