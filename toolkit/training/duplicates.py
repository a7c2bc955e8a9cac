"""Rows that say the same: exactly, or but for case, spaces and punctuation; within the data and across its split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.files.digests import sha256_text
from toolkit.training.examples import Example

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that repeat an earlier one word for word (`exact`), or once normalised (`near`, those not counted before);
    `pairs` are the first few as (row, the row that it repeats)."""

    exact: int
    near: int
    pairs: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"exact": self.exact, "near": self.near, "pairs": [list(pair) for pair in self.pairs]}


def normalised(text: str) -> str:
    """A text by which near-duplicates are equal: compatibility forms folded (NFKC), case folded, words and numbers only.

    A text without any word, such as one of signs alone, is only trimmed.
    """
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or text.strip()


def prompt_key(example: Example) -> str:
    """What a row asks, normalised: rows with one key stay on one side of the split."""
    return normalised(example.split_key)


def whole_text(example: Example) -> str:
    """All words of a row: of a conversation role, words and tool calls of each message."""
    if not example.messages:
        return example.text
    return "\0".join(
        f"{message['role']}\n{message['content']}{message.get('tool_calls', '')}" for message in example.messages
    )


def find_duplicates(examples: Iterable[Example]) -> Duplicates:
    """Count rows that repeat an earlier one. Holds a digest a row, not the rows."""
    first: dict[bytes, str] = {}
    first_near: dict[bytes, str] = {}
    exact = near = 0
    pairs: list[tuple[str, str]] = []
    for example in examples:
        text = whole_text(example)
        key, near_key = _digest(text), _digest(normalised(text))
        if key in first:
            exact += 1
            pairs.append((example.where, first[key]))
        elif near_key in first_near:
            near += 1
            pairs.append((example.where, first_near[near_key]))
        first.setdefault(key, example.where)
        first_near.setdefault(near_key, example.where)
        del pairs[_SHOWN:]
    return Duplicates(exact, near, tuple(pairs))


def leaked(examples: Sequence[Example], held_out: Sequence[Example]) -> tuple[set[int], int]:
    """Indices of `examples` that ask what a held-out row asks, once normalised; and how many of them ask it word for
    word."""
    keys = {prompt_key(example) for example in held_out}
    exact_keys = {example.split_key for example in held_out}
    found = {index for index, example in enumerate(examples) if prompt_key(example) in keys}
    return found, sum(examples[index].split_key in exact_keys for index in found)


def _digest(text: str) -> bytes:
    return bytes.fromhex(sha256_text(text))[:16]
