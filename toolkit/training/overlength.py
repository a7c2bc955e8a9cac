"""Rows longer than `max_length`: refused, divided, or cut off, and always counted.

A divided row keeps every token that counts. It is divided after an answer where the parts then fit, and inside a turn
where they do not; the token before a counted one is repeated as context, since the first token of a row has nothing to
be predicted from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

IGNORED = -100  # a label that does not count, as torch's cross entropy has it

Tokens = tuple[list[int], list[int]]  # token ids and labels of one row, of equal length


@dataclass(frozen=True, slots=True)
class Overlength:
    """What `max_length` did to rows: `rows` were longer, of `of_rows`; `tokens` of them lay beyond it.

    `pieces` came of the divided ones, `cut_tokens` were left out (of them `cut_loss_tokens` counted for the loss).
    """

    policy: str
    max_length: int
    of_rows: int = 0
    of_tokens: int = 0
    rows: int = 0
    tokens: int = 0
    longest: int = 0
    pieces: int = 0
    cut_tokens: int = 0
    cut_loss_tokens: int = 0

    def to_json(self) -> dict[str, object]:
        """The counts, with the shares of rows and tokens that were too long."""
        return {
            "policy": self.policy,
            "max_length": self.max_length,
            "of_rows": self.of_rows,
            "rows": self.rows,
            "rows_share": self.rows / self.of_rows if self.of_rows else 0.0,
            "tokens": self.tokens,
            "tokens_share": self.tokens / self.of_tokens if self.of_tokens else 0.0,
            "longest": self.longest,
            "pieces": self.pieces,
            "cut_tokens": self.cut_tokens,
            "cut_loss_tokens": self.cut_loss_tokens,
        }

    def seen(self, length: int) -> Overlength:
        """With one more row, of `length` tokens, counted."""
        over = max(0, length - self.max_length)
        return replace(
            self,
            of_rows=self.of_rows + 1,
            of_tokens=self.of_tokens + length,
            rows=self.rows + (over > 0),
            tokens=self.tokens + over,
            longest=max(self.longest, length),
        )

    def plus(self, other: Overlength | None) -> Overlength:
        """The counts of both, which have one policy."""
        if other is None:
            return self
        summed = ("of_rows", "of_tokens", "rows", "tokens", "pieces", "cut_tokens", "cut_loss_tokens")
        sums = {name: getattr(self, name) + getattr(other, name) for name in summed}
        return replace(self, longest=max(self.longest, other.longest), **sums)

    def note(self) -> str | None:
        """What was done to rows that were too long, in words; None when there were none."""
        if not self.rows:
            return None
        rows = f"{self.rows} of {self.of_rows} rows are longer than {self.max_length} tokens"
        if self.policy == "truncate":
            return f"{rows} and were cut off: {self.cut_tokens} tokens lost, {self.cut_loss_tokens} of which counted"
        lost = f"; {self.cut_tokens} tokens of pieces in which nothing counts left out" if self.cut_tokens else ""
        return f"{rows} and were divided into {self.pieces} pieces{lost}"

    def cut(self, tokens: int, loss_tokens: int, pieces: int = 0) -> Overlength:
        """With tokens left out, and pieces made."""
        return replace(
            self,
            cut_tokens=self.cut_tokens + tokens,
            cut_loss_tokens=self.cut_loss_tokens + loss_tokens,
            pieces=self.pieces + pieces,
        )


def shorten(row: Tokens, turns: Sequence[int], counts: Overlength) -> tuple[list[Tokens], Overlength]:
    """A row as rows of at most `max_length` tokens by the policy, with the counts that result.

    `turns` are token positions after each answer. Under `error` a long row comes back as it is. A piece in which nothing
    counts is left out; so is nothing else when a row is divided.
    """
    ids, labels = row
    counts = counts.seen(len(ids))
    most = counts.max_length
    if len(ids) <= most or counts.policy == "error":
        return [row], counts
    if counts.policy == "truncate":
        lost = sum(label != IGNORED for label in labels[most:])
        return [(ids[:most], labels[:most])], counts.cut(len(ids) - most, lost)
    pieces = divide(ids, labels, turns, most)
    kept = [piece for piece in pieces if any(label != IGNORED for label in piece[1])]
    return kept, counts.cut(sum(len(piece[0]) for piece in pieces) - sum(len(piece[0]) for piece in kept), 0, len(kept))


def divide(ids: list[int], labels: list[int], turns: Sequence[int], most: int) -> list[Tokens]:
    """Pieces of at most `most` tokens that together hold every token, and each counted one where it has a predecessor."""
    ends = sorted({turn for turn in turns if 0 < turn < len(ids)} | {len(ids)})
    pieces: list[Tokens] = []
    begin = 0
    while begin < len(ids):
        # A counted token needs one before it: the last of the piece before, whose own label has been counted there.
        lead = int(begin > 0 and labels[begin] != IGNORED)
        room = most - lead
        end = max((end for end in ends if begin < end <= begin + room), default=min(begin + room, len(ids)))
        part = labels[begin:end]
        pieces.append((ids[begin - lead : end], [IGNORED] * lead + part))
        begin = end
    return pieces
