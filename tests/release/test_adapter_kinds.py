"""Card, front matter, bills of materials and loading code name the kind of an adapter as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.release.runs import apache_run
from toolkit.release.card import render_card
from toolkit.release.facts import facts_of
from toolkit.release.front_matter import front_matter
from toolkit.release.loading import loading_code
from toolkit.release.making import hyperparameters
from toolkit.release.record import read_record

KINDS: list[tuple[dict[str, Any], str, list[str], str]] = [
    ({"type": "qlora"}, "QLoRA", ["qlora"], ""),
    ({"type": "lora", "dora": True}, "DoRA", ["dora"], ""),
    ({"type": "qlora", "dora": True, "rslora": True}, "QDoRA", ["qdora", "rslora"], "alpha/sqrt(rank) (rsLoRA)"),
    ({"type": "lora-8bit"}, "LoRA (int8 base)", ["lora", "8-bit"], ""),
    (
        {"type": "lora", "init": "pissa", "rank": 8, "saved_rank": 16},
        "LoRA",
        ["lora"],
        "begun with pissa, saved at rank 16",
    ),
    ({"type": "lora", "init": "eva", "ranks": {"least": 2, "most": 16}}, "LoRA", ["lora"], "ranks moved to 2 to 16"),
    ({"type": "lora", "lora_plus_ratio": 16.0}, "LoRA", ["lora"], "B at 16 times the learning rate (LoRA+)"),
    ({"type": "lora", "new_tokens": ["<a>", "<b>"]}, "LoRA", ["lora"], "with new tokens &lt;a&gt;, &lt;b&gt;"),
]


def record_of(folder: Path, adapter: dict[str, Any]) -> Any:
    record: Any = read_record(apache_run(folder))
    return {**record, "adapter": {**record["adapter"], **adapter}}


@pytest.mark.parametrize(("adapter", "name", "tags", "said"), KINDS)
def test_a_kind_has_its_own_name_tags_and_words(
    adapter: dict[str, Any], name: str, tags: list[str], said: str, tmp_path: Path
) -> None:
    record = record_of(tmp_path, adapter)
    facts = facts_of(record)
    assert facts.adapter_type == name
    listed = front_matter(facts)["tags"]
    assert isinstance(listed, list)
    assert listed[: len(tags)] == tags
    card = render_card(record)
    assert name.replace("(", "\\(") in card or name in card
    assert said in card.replace("\\", "") or said.replace("&lt;", "<").replace("&gt;", ">") in card.replace("\\", "")
    listed_settings = hyperparameters(facts)
    assert all(key in listed_settings for key in adapter if key not in ("ranks",))


def test_an_int8_base_is_loaded_in_8_bits(tmp_path: Path) -> None:
    code = loading_code(facts_of(record_of(tmp_path, {"type": "lora-8bit", "target_modules": ["q_proj"]})))
    compile(code, "card", "exec")
    assert "load_in_8bit=True" in code
    assert "quantization_config=in_eight_bits" in code


def test_room_for_new_tokens_is_made_before_the_adapter_is_loaded(tmp_path: Path) -> None:
    code = loading_code(facts_of(record_of(tmp_path, {"type": "lora", "new_tokens": ["<a>"]})))
    compile(code, "card", "exec")
    assert code.index("resize_token_embeddings(len(tokenizer))") < code.index("PeftModel.from_pretrained")
