"""Rows that are too long are refused, divided or cut off by what the recipe says, and every lost token is counted."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from toolkit.errors import InvalidInput
from toolkit.training.encoding import encode
from toolkit.training.examples import Example
from toolkit.training.overlength import IGNORED, Overlength, divide, shorten


def talk(*contents: str) -> Example:
    roles = ("user", "assistant")
    return Example("x:1", tuple({"role": roles[at % 2], "content": text} for at, text in enumerate(contents)))


def trained(pieces: list[tuple[list[int], list[int]]]) -> list[int]:
    """The tokens whose loss a model would really get: a label at the first place has nothing before it."""
    return [label for _, labels in pieces for label in labels[1:] if label != IGNORED]


@pytest.mark.parametrize("seed", range(30))
def test_a_divided_row_loses_no_token_and_no_loss(seed: int) -> None:
    random = Random(seed)
    ids = list(range(1000, 1000 + random.randrange(2, 200)))
    labels = [token if random.random() < 0.5 else IGNORED for token in ids]
    labels[0] = IGNORED
    turns = sorted(random.sample(range(1, len(ids) + 1), min(5, len(ids))))
    most = random.randrange(8, 40)
    pieces = divide(ids, labels, turns, most)
    assert all(len(piece) == len(marks) <= most for piece, marks in pieces)
    assert trained(pieces) == [label for label in labels if label != IGNORED]
    joined: list[int] = []
    for piece, _ in pieces:
        joined += piece[1:] if joined and piece[0] == joined[-1] else piece
    assert joined == ids


def test_what_is_left_of_a_divided_row_is_not_taken_for_a_whole_one(tokenizer: Any) -> None:
    """Of a long question and a short answer one piece has something to learn; a server renders the row, not the piece."""
    long, short = talk("where is my order " * 30, "on its way"), talk("where", "on its way")
    encoded = encode([long, short], tokenizer, 64, on_overlength="split")
    assert encoded.origins.count(0) == 1
    assert [index for index, _, _ in encoded.whole()] == [1]


def test_a_conversation_is_divided_after_its_answers(tokenizer: Any) -> None:
    example = talk(*["where is my order", "on its way"] * 6)
    (whole,) = encode([example], tokenizer, 4096).input_ids
    encoded = encode([example], tokenizer, len(whole) // 3 + 2, on_overlength="split")
    texts = [tokenizer.decode(ids) for ids in encoded.input_ids]
    assert len(texts) > 2
    assert all(text.lstrip("\n").startswith("<|im_start|>user") for text in texts)
    assert all(text.endswith("on its way<|im_end|>") for text in texts[:-1])
    assert "".join(texts) == tokenizer.decode(whole)
    assert encoded.origins == (0,) * len(texts)
    assert encoded.overlength is not None
    assert (encoded.overlength.rows, encoded.overlength.pieces, encoded.overlength.cut_loss_tokens) == (
        1,
        len(texts),
        0,
    )


def test_a_turn_that_is_too_long_by_itself_is_divided_inside(tokenizer: Any) -> None:
    example = talk("where", "order " * 100)
    whole = encode([example], tokenizer, 4096)
    encoded = encode([example], tokenizer, 32, on_overlength="split")
    assert max(map(len, encoded.input_ids)) <= 32
    assert trained(list(zip(encoded.input_ids, encoded.labels, strict=True))) == trained(
        list(zip(whole.input_ids, whole.labels, strict=True))
    )


def test_a_piece_in_which_nothing_counts_is_left_out_and_counted(tokenizer: Any) -> None:
    encoded = encode([talk("order " * 100, "yes")], tokenizer, 32, on_overlength="split")
    assert encoded.rows == 1
    assert encoded.overlength is not None
    assert encoded.overlength.cut_tokens > 60
    assert encoded.overlength.cut_loss_tokens == 0
    assert "in which nothing counts left out" in str(encoded.overlength.note())


def test_cutting_off_says_how_much_that_counted_is_lost(tokenizer: Any) -> None:
    example = talk("where", "order " * 40)
    whole = encode([example], tokenizer, 4096)
    encoded = encode([example, talk("hi", "yes")], tokenizer, 20, on_overlength="truncate")
    assert len(encoded.input_ids[0]) == 20
    counts = encoded.overlength
    assert counts is not None
    assert counts.cut_tokens == len(whole.input_ids[0]) - 20 == counts.tokens
    assert counts.cut_loss_tokens == whole.loss_tokens - sum(label != IGNORED for label in encoded.labels[0])
    assert counts.to_json()["rows_share"] == 0.5


def test_a_row_of_which_only_the_prompt_is_left_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InvalidInput, match=r"x:1: leaves no token to learn from in its first 20 tokens"):
        encode([talk("order " * 40, "yes")], tokenizer, 20, on_overlength="truncate")


def test_short_rows_are_left_alone() -> None:
    row = ([1, 2, 3], [IGNORED, 2, 3])
    for policy in ("error", "split", "truncate"):
        kept, counts = shorten(row, [3], Overlength(policy, 8))
        assert kept == [row]
        assert (counts.rows, counts.of_rows, counts.longest) == (0, 1, 3)
        assert counts.note() is None


def test_plain_text_is_divided_with_nothing_lost(tokenizer: Any) -> None:
    text = Example("x:1", text="order parcel invoice " * 60)
    whole = encode([text], tokenizer, 4096)
    encoded = encode([text], tokenizer, 50, on_overlength="split")
    assert trained(list(zip(encoded.input_ids, encoded.labels, strict=True))) == whole.labels[0][1:]
