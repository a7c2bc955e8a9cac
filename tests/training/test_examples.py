"""Rows of every format become conversations; a row of the wrong shape is named with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import InvalidInput
from toolkit.training.data import split
from toolkit.training.examples import Example, examples_of, unused_columns
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


def test_columns_of_another_name_are_renamed_and_unused_ones_told() -> None:
    source = source_of({"question": "hi", "answer": "hello", "id": 7})
    columns = {"prompt": "question", "completion": "answer"}
    found, (example,) = examples_of(source, columns=columns)
    assert (found, list(example.messages)) == ("prompt-completion", ASKED)
    assert unused_columns(source.rows, found, columns) == ("id",)


def test_a_column_that_is_not_there_is_named_with_the_row() -> None:
    source = source_of({"question": "hi", "answer": "hello"}, {"qestion": "hi", "answer": "hello"})
    with pytest.raises(InvalidInput, match=r"x\.jsonl:2: has no 'question', which data\.columns takes for 'prompt'"):
        examples_of(source, columns={"prompt": "question", "completion": "answer"})


def test_unknown_columns_are_answered_with_how_to_name_them() -> None:
    with pytest.raises(InvalidInput) as caught:
        examples_of(source_of({"question": "a", "reply": "b"}))
    assert "data.columns" in str(caught.value.hint)


@pytest.mark.parametrize("row", [{"messages": ASKED}, {"prompt": "hi", "completion": "hello"},
                                 {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}])  # fmt: skip
def test_a_system_prompt_may_stand_in_a_column_of_its_own(row: Any) -> None:
    _, (example,) = examples_of(source_of({**row, "system": "be brief"}))
    assert list(example.messages) == [{"role": "system", "content": "be brief"}, *ASKED]


def test_messages_that_a_table_keeps_key_by_key_are_put_together() -> None:
    row = {"messages": {"role": ["user", "assistant"], "content": ["hi", "hello"]}}
    assert list(examples_of(source_of(row))[1][0].messages) == ASKED


def test_a_function_call_of_sharegpt_is_a_tool_call() -> None:
    turns = [
        {"from": "human", "value": "where"},
        {"from": "function_call", "value": '{"name": "track", "arguments": {"number": 5}}'},
        {"from": "observation", "value": "Ulm"},
        {"from": "gpt", "value": "in Ulm"},
    ]
    _, (example,) = examples_of(source_of({"conversations": turns}))
    assert example.messages[1]["tool_calls"][0]["function"] == {"name": "track", "arguments": {"number": 5}}
    assert [message["role"] for message in example.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}, "only the assistant makes"),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{"}]}, "arguments of f in message 2"),
        ({"role": "assistant", "content": "x", "weight": 0.5}, "weight of message 2 must be 0 or 1"),
        ({"role": "assistant", "content": [{"type": "image"}]}, "parts of another kind"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_named_by_its_number(message: Any, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        examples_of(source_of({"messages": [ASKED[0], message, *ASKED]}))


def test_prompts_alike_but_for_spelling_stay_on_one_side() -> None:
    examples = conversations(*[text for number in range(50) for text in (f"Where is {number}?", f"where is {number}")])
    train, held_out = split(examples, 0.2, seed=1)
    keys = [{row.split_key.casefold().rstrip("?") for row in rows} for rows in (train, held_out)]
    assert len(held_out) == 20
    assert not keys[0] & keys[1]
