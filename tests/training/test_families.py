"""What counts under templates that behave as those of the families do, tool calls and reasoning included; and what a
server renders, in a process that knows nothing of the toolkit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.families import DEEPSEEK_R1, LLAMA31, QWEN3, QWEN25, TEMPLATES
from toolkit.errors import InvalidInput
from toolkit.training.conversations import Message
from toolkit.training.encoding import IGNORED, Encoded, encode
from toolkit.training.examples import Example, examples_of
from toolkit.training.rows import Row, Source

USER, ANSWER = {"role": "user", "content": "where is it"}, {"role": "assistant", "content": "on its way"}
MORE, LAST = {"role": "user", "content": "sure?"}, {"role": "assistant", "content": "yes"}
TOOL = {
    "type": "function",
    "function": {"name": "track", "description": "Where it is.", "parameters": {"type": "object", "properties": {}}},
}
CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "abcdef123", "type": "function", "function": {"name": "track", "arguments": {"number": "5"}}}
    ],
}
RESULT: Message = {"role": "tool", "content": "in Ulm", "tool_call_id": "abcdef123"}


def learnt(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The text of each run of counted tokens of the first row."""
    runs: list[list[int]] = [[]]
    for label in encoded.labels[0]:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def run(
    make_tokenizer: Callable[..., Any], template: str, *messages: Message, tools: Any = (), **more: Any
) -> list[str]:
    text, end, special = TEMPLATES[template]
    tokenizer = make_tokenizer(text, end, **special)
    return learnt(encode([Example("x:1", tuple(messages), tools=tuple(tools))], tokenizer, 4096, **more), tokenizer)


@pytest.mark.parametrize("system", [None, "be brief"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_both_answers_and_their_ends_count(name: str, system: str | None, make_tokenizer: Callable[..., Any]) -> None:
    begin = [{"role": "system", "content": system}] if system else []
    end = TEMPLATES[name][1]
    first, second = run(make_tokenizer, name, *begin, USER, ANSWER, MORE, LAST)
    assert first.strip() == f"on its way{end}"
    assert second.removeprefix("<think>\n\n</think>\n\n").strip() == f"yes{end}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_tool_call_counts_and_its_result_does_not(name: str, make_tokenizer: Callable[..., Any]) -> None:
    tools = [] if name == "DeepSeek-R1" else [TOOL]  # its template has no place for tools, but writes calls
    runs = run(make_tokenizer, name, USER, CALL, RESULT, ANSWER, tools=tools)
    assert "track" in runs[0]
    assert '"5"' in runs[0]
    assert TEMPLATES[name][1] in runs[0]
    assert "".join(runs).count("on its way") == 1
    assert not any("in Ulm" in text or "Where it is." in text for text in runs)


@pytest.mark.parametrize("name", ["Qwen2.5", "Qwen3", "Llama 3.1", "Mistral"])
def test_a_conversation_may_end_with_the_call(name: str, make_tokenizer: Callable[..., Any]) -> None:
    (text,) = run(make_tokenizer, name, USER, CALL, tools=[TOOL])
    assert "track" in text
    assert text.endswith(TEMPLATES[name][1])


def test_a_template_that_writes_no_tools_refuses_them(make_tokenizer: Callable[..., Any], tokenizer: Any) -> None:
    with pytest.raises(InvalidInput, match=r"x:1: the chat template does not write tools"):
        encode([Example("x:1", (USER, ANSWER), tools=(TOOL,))], tokenizer, 512)
    with pytest.raises(InvalidInput, match=r"x:1: the chat template does not write tool calls"):
        encode([Example("x:1", (USER, CALL, RESULT, ANSWER))], tokenizer, 512)
    with pytest.raises(InvalidInput, match="does not write tools"):
        run(make_tokenizer, "DeepSeek-R1", USER, ANSWER, tools=[TOOL])


def test_what_a_template_cannot_say_is_told_in_its_words(make_tokenizer: Callable[..., Any]) -> None:
    two = {**CALL, "tool_calls": CALL["tool_calls"] * 2}
    with pytest.raises(InvalidInput, match="one tool call at a time"):
        run(make_tokenizer, "Llama 3.1", USER, two, RESULT, ANSWER, tools=[TOOL])


def test_a_role_that_the_template_passes_over_is_noticed(make_tokenizer: Callable[..., Any]) -> None:
    deaf = "{% for m in messages %}{% if m.role != 'system' %}{{ m.role + m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
    tokenizer = make_tokenizer(deaf + "{% if add_generation_prompt %}{{ 'assistant' }}{% endif %}")
    with pytest.raises(InvalidInput, match=r"leaves out or rewrites message 1 \(system\)"):
        encode([Example("x:1", ({"role": "system", "content": "be brief"}, USER, ANSWER))], tokenizer, 512)


def test_reasoning_in_a_field_of_its_own_is_learnt_where_the_template_keeps_it(
    make_tokenizer: Callable[..., Any],
) -> None:
    long = "the parcel left on Monday and takes three days, so it cannot be there before Thursday; " * 3
    thought = {**LAST, "reasoning_content": long}
    runs = run(make_tokenizer, "Qwen3", USER, {**ANSWER, "reasoning_content": "hm"}, MORE, thought)
    assert runs == ["on its way<|im_end|>", f"<think>\n{long}\n</think>\n\nyes<|im_end|>"]


def test_reasoning_that_a_template_drops_is_told(make_tokenizer: Callable[..., Any]) -> None:
    text, end, special = TEMPLATES["DeepSeek-R1"]
    tokenizer = make_tokenizer(text, end, **special)
    encoded = encode([Example("x:1", (USER, {"role": "assistant", "content": "<think>hm</think>yes"}))], tokenizer, 512)
    assert any("leaves out the reasoning of 1 answers" in note for note in encoded.notes)
    assert any("opens an answer with '<think>" in note for note in encoded.notes)


def test_only_the_last_answer_or_everything_may_count(make_tokenizer: Callable[..., Any]) -> None:
    talk = (USER, ANSWER, MORE, LAST)
    assert run(make_tokenizer, "Qwen2.5", *talk, train_on="last") == ["yes<|im_end|>"]
    (everything,) = run(make_tokenizer, "Qwen2.5", *talk, train_on="all")
    assert everything.startswith("<|im_start|>system\nyou are a kind assistant")
    assert everything.rstrip().endswith("yes<|im_end|>")


def test_an_answer_of_weight_0_does_not_count(make_tokenizer: Callable[..., Any]) -> None:
    talk = (USER, {**ANSWER, "weight": 0}, MORE, LAST)
    assert run(make_tokenizer, "Qwen2.5", *talk) == ["yes<|im_end|>"]


def test_tools_and_calls_are_read_as_services_write_them() -> None:
    row = {
        "tools": json.dumps([TOOL]),
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "track", "arguments": '{"number": "5"}'}}]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "in "}, {"type": "text", "text": "Ulm"}]},
            ANSWER,
        ],
    }  # fmt: skip
    _, (example,) = examples_of(Source("x", (Row(row, "x:1"),), "0", 1))
    assert example.tools == (TOOL,)
    assert example.messages[1]["tool_calls"][0]["function"]["arguments"] == {"number": "5"}
    assert example.messages[2]["content"] == "in Ulm"


def test_a_server_without_the_toolkit_renders_the_rows_that_were_trained_on(
    make_tokenizer: Callable[..., Any], tmp_path: Path
) -> None:
    """The saved tokenizers alone, plain `apply_chat_template`."""
    trained = {}
    for name, (text, end, special) in TEMPLATES.items():
        tokenizer = make_tokenizer(text, end, **special)
        talk = [USER, ANSWER, MORE, LAST] if name == "DeepSeek-R1" else [USER, CALL, RESULT, ANSWER, MORE, LAST]
        tools = [] if name == "DeepSeek-R1" else [TOOL]
        trained[name] = encode([Example("x:1", tuple(talk), tools=tuple(tools))], tokenizer, 4096).input_ids[0]
        tokenizer.save_pretrained(tmp_path / name)
        (tmp_path / name / "talk.json").write_text(json.dumps([talk, tools]))
    program = (
        "import json, sys\n"
        "from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast\n"
        "served = {}\n"
        "for name in sys.argv[1:]:\n"
        "    tokenizer = PreTrainedTokenizerFast.from_pretrained(name)\n"
        "    messages, tools = json.load(open(name + '/talk.json'))\n"
        "    served[name] = tokenizer.apply_chat_template(messages, tools=tools or None, return_dict=True)['input_ids']\n"
        "assert not any(name.startswith('toolkit') for name in sys.modules)\n"
        "print(json.dumps(served))\n"
    )
    command = [sys.executable, "-c", program, *TEMPLATES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == trained


def test_the_templates_here_do_what_they_stand_for(make_tokenizer: Callable[..., Any]) -> None:
    def rendered(template: str, *messages: Message, **special: Any) -> str:
        return str(make_tokenizer(template, "</s>", **special).apply_chat_template(list(messages), tokenize=False))

    assert "you are a kind assistant" in rendered(QWEN25, USER, ANSWER)
    assert (
        "<think>" not in rendered(QWEN3, USER, {"role": "assistant", "content": "<think>a</think>b"}, MORE, LAST)[:60]
    )
    assert "Today: " in rendered(LLAMA31, USER, ANSWER, bos_token="<s>")
    assert "hm" not in rendered(
        DEEPSEEK_R1, USER, {"role": "assistant", "content": "<think>hm</think>y"}, bos_token="<s>"
    )
