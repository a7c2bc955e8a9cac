"""Rows of every format become conversations; a row of the wrong shape is named with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import InvalidInput
from toolkit.training.data import split
from toolkit.training.examples import Example, examples_of
from toolkit.training.rows import Row, Source

ASKED = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def source_of(*values: Any) -> Source:
    return Source("x.jsonl", tuple(Row(value, f"x.jsonl:{line}") for line, value in enumerate(values, 1)), "0" * 64, 1)


@pytest.mark.parametrize(
    ("format_", "row"),
    [
        ("messages", {"messages": ASKED}),
        ("messages", {"conversations": ASKED}),
        ("prompt-completion", {"prompt": "hi", "completion": "hello"}),
        ("prompt-completion", {"prompt": ASKED[:1], "completion": ASKED[1:]}),
        ("alpaca", {"instruction": "hi", "input": "", "output": "hello"}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}),
    ],
)
def test_each_format_is_detected_and_gives_the_same_conversation(format_: str, row: Any) -> None:
    found, examples = examples_of(source_of(row))
    assert (found, list(examples[0].messages)) == (format_, ASKED)


def test_plain_text_stays_text() -> None:
    assert examples_of(source_of({"text": "once"}))[1] == (Example("x.jsonl:1", text="once"),)


def test_alpaca_joins_instruction_and_input() -> None:
    _, (example,) = examples_of(source_of({"instruction": "sum", "input": "1 2", "output": "3"}))
    assert example.messages[0]["content"] == "sum\n\n1 2"


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"messages": [*ASKED[:1], {"role": "assistant", "content": " "}]}, "answer (message 2) is empty"),
        ({"messages": [{"role": "usr", "content": "hi"}, ASKED[1]]}, "unknown role 'usr'; did you mean 'user'?"),
        ({"messages": ASKED[:1]}, "the last message must be the assistant's"),
        ({"messages": ASKED[1:]}, "begins with the assistant"),
        ({"messages": [{"role": "user"}, ASKED[1]]}, "message 1 has no 'content'"),
        ({"messages": [{"role": "user", "content": 3}, ASKED[1]]}, "content of message 1 must be text"),
        ({"messages": []}, "must be a list of messages"),
        ({"mesages": ASKED}, "has no 'messages'; did you mean 'mesages'?"),
        (
            {"messages": [*ASKED[:1], {"role": "assistant", "content": "", "tool_calls": [1]}]},
            "a tool call of message 2 has no name",
        ),
        (["hi"], "must be a JSON object"),
    ],
)
def test_a_row_of_the_wrong_shape_is_named_by_line(row: Any, wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        examples_of(source_of({"messages": ASKED}, row, {"messages": ASKED}), "messages")
    assert [problem.path for problem in caught.value.problems] == ["x.jsonl:2"]
    assert wrong in str(caught.value)


def test_unknown_columns_are_an_error_that_lists_the_formats() -> None:
    with pytest.raises(InvalidInput, match="has question, reply; a row needs messages"):
        examples_of(source_of({"question": "a", "reply": "b"}))


def test_preference_rows_are_not_taken_for_prompts() -> None:
    with pytest.raises(InvalidInput, match="preference"):
        examples_of(source_of({"prompt": "a", "chosen": "b", "rejected": "c"}))


def conversations(*questions: str) -> list[Example]:
    return [
        Example(f"x:{line}", ({"role": "user", "content": question}, {"role": "assistant", "content": str(line)}))
        for line, question in enumerate(questions, 1)
    ]


def test_one_prompt_never_stands_on_both_sides_of_the_split() -> None:
    examples = conversations(*[f"question {number % 40}" for number in range(120)])
    train, held_out = split(examples, 0.2, seed=1)
    assert 12 <= len(held_out) <= 24
    assert len(train) + len(held_out) == 120
    assert not {row.split_key for row in train} & {row.split_key for row in held_out}


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    examples = conversations(*[f"question {number}" for number in range(100)])
    keys = [
        {row.split_key for row in split(rows, 0.1, seed)[1]}
        for rows, seed in ((examples, 1), (examples[::-1], 1), (examples, 2))
    ]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 10


def test_a_single_prompt_is_never_held_out() -> None:
    train, held_out = split(conversations("same", "same"), 0.5, seed=1)
    assert (len(train), len(held_out)) == (2, 0)
