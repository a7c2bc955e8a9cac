"""The bases that come with the package: whole, small, and the same whenever they are made."""

import json

import pytest

from toolkit.errors import TkError
from toolkit.files.digests import sha256_file
from toolkit.models.embedded_bases import SHIPPED, families, folder_with_weights, shipped_folder

ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "deepseek": "DeepseekV3ForCausalLM",
}


def test_the_five_families_are_there():
    assert set(families()) == ARCHITECTURES.keys()


def test_the_pre_trained_base_is_whole_and_small():
    folder = shipped_folder("qwen2")
    digests = json.loads((folder / "digests.json").read_text())
    for path in folder.iterdir():
        if path.name != "digests.json":
            assert digests[path.name] == f"sha256:{sha256_file(path)}"
    assert (folder / "model.safetensors").stat().st_size <= 8 * 2**20
    assert {"README.md", "LICENSE", "config.json", "tokenizer.json"} <= digests.keys()


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
def test_a_base_loads_as_any_other_model_does(family):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = folder_with_weights(family)
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == ARCHITECTURES[family]
    assert len(tokenizer) <= model.config.vocab_size
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        return_dict=True, return_assistant_tokens_mask=True,
    )  # fmt: skip
    assert sum(rendered["assistant_masks"]) > 0
    assert (folder / "LICENSE").is_file()


def test_a_made_base_is_the_same_wherever_it_is_made(tmp_path, monkeypatch):
    first = sha256_file(folder_with_weights("llama") / "model.safetensors")
    monkeypatch.setenv("TK_CACHE", str(tmp_path))
    made = folder_with_weights("llama")
    assert made.is_relative_to(tmp_path)
    assert sha256_file(made / "model.safetensors") == first


def test_a_family_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(TkError, match="no embedded base 'qwen3x'; did you mean 'qwen3'"):
        shipped_folder("qwen3x")


def test_every_family_has_a_card_of_its_own():
    for family in families():
        assert "license: apache-2.0" in (SHIPPED / family / "README.md").read_text()
