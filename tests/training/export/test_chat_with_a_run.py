"""Answers of a run in a conversation: drawn as asked, with the adapter or without, within what the base can take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.release.record import read_record
from toolkit.training.chat import Chat, Sampling, load_chat

HELLO = [{"role": "user", "content": "where is my order"}]


@pytest.fixture(scope="module")
def chat(trained_runs: Callable[[str], tuple[Path, Path]]) -> Chat:
    run, base = trained_runs("llama")
    return load_chat(run, base, read_record(run))


def test_a_seed_makes_draws_repeat_and_greedy_needs_none(chat: Chat) -> None:
    drawn = Sampling(16, temperature=1.5, seed=7)
    assert chat.reply(HELLO, drawn) == chat.reply(HELLO, drawn)
    assert chat.reply(HELLO, drawn) != chat.reply(HELLO, Sampling(16, temperature=1.5, seed=8))
    assert chat.reply(HELLO, Sampling(16)) == chat.reply(HELLO, Sampling(16, temperature=2.0, top_p=1e-6))


def test_what_was_said_before_counts(chat: Chat) -> None:
    before = [*HELLO, {"role": "assistant", "content": "ticket number your"}, {"role": "user", "content": "and mine"}]
    assert chat.reply(before, Sampling(16)) != chat.reply(before[-1:], Sampling(16))


def test_a_stopped_answer_leaves_the_adapter_on(chat: Chat) -> None:
    greedy = chat.reply(HELLO, Sampling(16))

    def stop(_: str) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.reply(HELLO, Sampling(16), adapter=False, on_text=stop)
    assert chat.reply(HELLO, Sampling(16)) == greedy


def test_a_conversation_longer_than_the_base_takes_is_refused(chat: Chat) -> None:
    with pytest.raises(TkError, match=r"the conversation has \d+ tokens and the base takes 256"):
        chat.reply([{"role": "user", "content": "order " * 300}], Sampling(4))
