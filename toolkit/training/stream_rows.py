"""Streamed examples as rows of tokens: encoded a few at a time as the trainer asks for them, and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.examples import Example
from toolkit.training.stream import Stream

_TOGETHER = 64  # examples that one call of the tokenizer takes
_REMEMBERED = 65_536  # rows whose running totals are kept: what a trainer has fetched beyond its last step is less

Encode = Callable[[tuple[Example, ...]], Encoded]


@dataclass(slots=True)
class _Totals:
    examples: int = 0
    rows: int = 0
    tokens: int = 0
    loss_tokens: int = 0


class StreamedRows:
    """What `Encoded` is for rows in memory. Its counts are of the rows that were trained on, once `end` was called.

    `encode` turns a few examples into rows, `first` are those that were tried before; `steps` is how long the run is and
    `batch` the rows of one of its steps. `divided` says that an example may become several rows.
    """

    def __init__(
        self, stream: Stream, encode: Encode, *, steps: int, batch: int, divided: bool, first: Encoded
    ) -> None:
        self._stream = stream
        self._encode = encode
        self._divided = divided
        self._seen: deque[_Totals] = deque(maxlen=_REMEMBERED)
        self._passed = 0
        self._trained = 0
        self.steps = steps
        self.batch = batch
        self.first = first
        self.longest = first.longest
        self.notes = first.notes
        self.overlength = first.overlength

    def dataset(self, *, passed: int = 0) -> Any:
        """The rows as a `datasets.IterableDataset`; the first `passed` are left out, having been trained on before."""
        from datasets import IterableDataset

        self._passed = passed
        return IterableDataset.from_generator(self._rows, gen_kwargs={"passed": passed})

    def end(self, steps: int) -> None:
        """Note that training ended after `steps`: what was fetched beyond them is not counted."""
        self._trained = steps * self.batch

    @property
    def rows(self) -> int:
        """Examples of an epoch; where nobody counted them, those that were trained on."""
        trained = self._at_end().examples if self._divided else self._trained
        return self._stream.examples_per_epoch or trained

    @property
    def epochs(self) -> float:
        trained = self._at_end().examples if self._divided else self._trained
        return trained / self.rows if self.rows else 0.0

    @property
    def tokens_seen(self) -> int:
        """Tokens trained on. Of rows before a resume, which were passed over unread, the mean of the others is taken."""
        return round(self._at_end().tokens * self._share())

    @property
    def tokens(self) -> int:
        """Tokens of an epoch, from those seen."""
        return round(self.tokens_seen / self.epochs) if self.epochs else 0

    @property
    def loss_tokens(self) -> int:
        return round(self._at_end().loss_tokens * self._share() / self.epochs) if self.epochs else 0

    def _at_end(self) -> _Totals:
        wanted = self._trained - self._passed
        return next((totals for totals in reversed(self._seen) if totals.rows <= wanted), _Totals())

    def _share(self) -> float:
        rows = self._at_end().rows
        return self._trained / rows if rows else 0.0

    def _rows(self, passed: int) -> Iterator[dict[str, list[int]]]:
        self._seen.clear()
        self.overlength, totals = None, _Totals()
        examples = self._stream.examples()
        if not self._divided:  # one row an example, so that they need not be tokenised to be passed over
            examples, passed = islice(examples, passed, None), 0
        while group := tuple(islice(examples, _TOGETHER)):
            encoded = self._encode(group)
            self._note(encoded)
            before = -1
            for origin, ids, labels in zip(encoded.origins, encoded.input_ids, encoded.labels, strict=True):
                totals.examples += origin != before
                before = origin
                if passed:
                    passed -= 1
                    continue
                self.longest = max(self.longest, len(ids))
                totals.rows += 1
                totals.tokens += len(ids)
                totals.loss_tokens += sum(label != IGNORED for label in labels)
                self._seen.append(replace(totals))
                yield {"input_ids": ids, "labels": labels}

    def _note(self, encoded: Encoded) -> None:
        if len(self.notes) < 20:
            self.notes = tuple(dict.fromkeys((*self.notes, *encoded.notes)))
        if encoded.overlength is not None:
            self.overlength = encoded.overlength.plus(self.overlength)
