"""A model must be asked as it was taught, and must have learnt where to stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.training.encoding import encode
from toolkit.training.examples import Example
from toolkit.training.masks import Template, ensure_template
from toolkit.training.serving import check_saved, served_otherwise, stop_facts

TALK = Example("x:1", ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}))


def facts(tokenizer: Any, base: Path, **configured: Any) -> dict[str, Any]:
    (base / "generation_config.json").write_text(json.dumps(configured))
    return stop_facts(tokenizer, Template(tokenizer), base)


def test_the_end_of_an_answer_is_one_token_that_is_learnt(tokenizer: Any, tmp_path: Path) -> None:
    found = facts(tokenizer, tmp_path, eos_token_id=tokenizer.eos_token_id)
    assert (found["end"], found["id"], found["notes"]) == ("<|im_end|>", tokenizer.eos_token_id, [])


def test_a_base_that_stops_elsewhere_is_told(make_tokenizer: Callable[..., Any], tmp_path: Path) -> None:
    """A base model ends texts with one token and, under a chat template, turns with another."""
    tokenizer = make_tokenizer(eos="<|endoftext|>", pad="<|endoftext|>")
    found = facts(tokenizer, tmp_path, eos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    assert found["end"] == "<|im_end|>"
    assert "the base by itself stops at '<|endoftext|>'" in found["notes"][0]


def test_padding_with_the_end_token_does_not_hide_it_from_the_loss(
    make_tokenizer: Callable[..., Any], tmp_path: Path
) -> None:
    from toolkit.training.batches import PaddedCollator

    tokenizer = make_tokenizer(eos="<|im_end|>", pad="<|im_end|>")
    assert "is learnt all the same" in facts(tokenizer, tmp_path)["notes"][0]
    long = Example("x:2", (TALK.messages[0], {"role": "assistant", "content": "hello hello hello"}))
    encoded = encode([TALK, long], tokenizer, 128)
    rows = [{"input_ids": ids, "labels": labels} for ids, labels in zip(encoded.input_ids, encoded.labels, strict=True)]
    labels = PaddedCollator(tokenizer.pad_token_id)(rows)["labels"]
    assert [(row == tokenizer.eos_token_id).sum().item() for row in labels] == [1, 1]


def test_a_template_and_a_tokenizer_without_any_end_are_an_error(
    make_tokenizer: Callable[..., Any], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(eos="<|im_end|>")
    template = Template(tokenizer)
    tokenizer.eos_token = None
    tokenizer.chat_template = "{% for m in messages %}{{ m.role + ': ' + m.content + '###' }}{% endfor %}"
    with pytest.raises(TkError, match="neither the chat template nor the tokenizer has a token that ends an answer"):
        stop_facts(tokenizer, template, tmp_path)


def test_a_saved_tokenizer_renders_what_was_trained_on(tokenizer: Any, tmp_path: Path) -> None:
    encoded = encode([TALK, Example("x:2", text="my order")], tokenizer, 128)
    examples = [TALK, Example("x:2", text="my order")]
    check_saved(tokenizer, examples, encoded.input_ids)
    tokenizer.save_pretrained(tmp_path)
    assert served_otherwise(tmp_path, examples, encoded.input_ids) is None
    path = next(
        path for path in (tmp_path / "chat_template.jinja", tmp_path / "tokenizer_config.json") if path.is_file()
    )
    path.write_text(path.read_text().replace("<|im_start|>", "<|im_start|>the "))
    wrong = served_otherwise(tmp_path, examples, encoded.input_ids)
    assert wrong is not None
    assert wrong.startswith("x:1 differs from token")


def test_a_template_of_a_file_replaces_that_of_the_base(make_tokenizer: Callable[..., Any], tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    path = tmp_path / "own.jinja"
    path.write_text("{% for m in messages %}{{ m.role + ' says ' + m.content + '<|im_end|>' }}{% endfor %}")
    assert not ensure_template(tokenizer, path)
    assert (
        tokenizer.decode(encode([TALK], tokenizer, 64).input_ids[0])
        == "user says hi<|im_end|>assistant says hello<|im_end|>"
    )
    path.write_text("{% for m in messages %}\n{{ m.role }")
    with pytest.raises(TkError, match="not a Jinja template") as caught:
        ensure_template(tokenizer, path)
    assert str(caught.value.where).endswith("own.jinja:2")
