"""How far an exported model is from the one that was trained: loss of both on the same rows, and their divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.encoding import IGNORED, Encoded, encode

if TYPE_CHECKING:
    from torch import Tensor

SPOOL_BYTES = 2**30  # distributions of the trained model wait on disk for those of the exported one
MOST_TOKENS = 4096
STREAMED = 256  # rows that are looked at of a stream without held-out rows

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows compared on: which they are in words, and as tokens."""

    which: str
    input_ids: tuple[list[int], ...]
    labels: tuple[list[int], ...]

    @property
    def tokens(self) -> int:
        """Tokens that are predicted and count."""
        return sum(map(_scored, self.labels))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Loss is nats a token; `kl` the mean over tokens of KL(trained ‖ exported) in nats, `kl_largest` its greatest;
    `same_first` the share of tokens for which both put the same token first."""

    rows: str
    count: int
    tokens: int
    trained_loss: float
    exported_loss: float
    kl: float
    kl_largest: float
    same_first: float
    computed_in: str

    def to_json(self) -> dict[str, object]:
        return {
            "rows": {"which": self.rows, "count": self.count, "tokens": self.tokens},
            "computed_in": self.computed_in,
            "loss": {"trained": self.trained_loss, "exported": self.exported_loss},
            "kl": {"mean": self.kl, "largest": self.kl_largest, "unit": "nats a token", "of": "trained from exported"},
            "same_first_choice": self.same_first,
        }


def choose_rows(encoded: Encoded, which: str, vocabulary: int) -> Rows:
    """As many rows in their order as fit the spool, and at least one. Raises TkError when there is none."""
    if not encoded.rows:
        raise TkError("there are no rows to compare the models on", hint="--data FILE names some")
    most = min(MOST_TOKENS, SPOOL_BYTES // (4 * vocabulary))
    chosen: list[int] = []
    for index, labels in enumerate(encoded.labels):
        if sum(_scored(encoded.labels[one]) for one in chosen) + _scored(labels) <= most:
            chosen.append(index)
    chosen = chosen or [min(range(encoded.rows), key=lambda index: len(encoded.input_ids[index]))]
    return Rows(
        which, tuple(encoded.input_ids[index] for index in chosen), tuple(encoded.labels[index] for index in chosen)
    )


def recipe_rows(record: Mapping[str, Any], tokenizer: Any, data: Path | None, *, offline: bool) -> tuple[Encoded, str]:
    """The held-out rows of a run, else those it was trained on, as its recipe reads them; or those of the file `data`.

    Raises TkError when the data is gone.
    """
    from dataclasses import replace

    from toolkit.planning.recipe import recipe_of_record
    from toolkit.training.data import load_data

    recipe = recipe_of_record(record)
    if data is not None:
        named = replace(recipe.data, train=str(data), eval=None, split=None, config=None, streaming=False)
        recipe = replace(recipe, data=named, evaluate=replace(recipe.evaluate, fraction=0))
    try:
        rows = load_data(recipe, offline=offline)
    except TkError as error:
        hint = "the trained and the exported model are compared on rows of the run; --data FILE names others"
        raise TkError(f"the rows of the run cannot be read: {error.message}", where=error.where, hint=hint) from error
    which = str(data) if data is not None else f"held-out, {rows.how}" if rows.held_out else "trained on"
    examples = rows.held_out or rows.train
    if not examples and rows.stream is not None:
        examples = tuple(islice(rows.stream.examples(), STREAMED))
    cut, counted = recipe.data.on_overlength, recipe.data.train_on
    return encode(examples, tokenizer, recipe.train.max_length, on_overlength=cut, train_on=counted), which


def spool(model: Any, rows: Rows, path: Path, report: Report) -> float:
    """Write the model's log-probabilities of every counted token, (tokens, vocabulary) in float32, to `path`; its loss."""
    total = 0.0
    with path.open("wb") as file:
        for done, (ids, labels) in enumerate(zip(rows.input_ids, rows.labels, strict=True), start=1):
            values, targets = _log_probabilities(model, ids, labels)
            total -= float(values.gather(1, targets[:, None]).double().sum())
            file.write(values.numpy().tobytes())
            report(done, len(rows.labels))
    return total / rows.tokens


def compare(model: Any, rows: Rows, path: Path, trained_loss: float, computed_in: str, report: Report) -> Comparison:
    """The model against the one whose distributions were spooled to `path`."""
    import torch

    loss = divergence = largest = 0.0
    same = 0
    with path.open("rb") as file:
        for done, (ids, labels) in enumerate(zip(rows.input_ids, rows.labels, strict=True), start=1):
            values, targets = _log_probabilities(model, ids, labels)
            raw = bytearray(file.read(values.numel() * values.element_size()))
            trained = torch.frombuffer(raw, dtype=torch.float32).view(values.shape)
            each = (trained.double().exp() * (trained.double() - values.double())).sum(dim=1).clamp(min=0)
            divergence, largest = divergence + float(each.sum()), max(largest, float(each.max()))
            same += int((trained.argmax(dim=1) == values.argmax(dim=1)).sum())
            loss -= float(values.gather(1, targets[:, None]).double().sum())
            report(done, len(rows.labels))
    count = rows.tokens
    if not math.isfinite(loss + divergence):
        raise TkError("the exported model gives no finite probabilities; nothing was exported")
    return Comparison(
        rows.which, len(rows.labels), count, trained_loss, loss / count, divergence / count, largest, same / count,
        computed_in,
    )  # fmt: skip


def _log_probabilities(model: Any, ids: Sequence[int], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each counted token of one row: log-probabilities of the whole vocabulary in float32, and which token it is."""
    import torch

    with torch.inference_mode():
        # No cache and no mask: a row alone needs neither.
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, :-1]
        targets = torch.tensor(labels[1:])
        counted = (targets != IGNORED).nonzero().squeeze(1)
        return logits[counted.to(logits.device)].float().log_softmax(dim=-1).cpu(), targets[counted]


def _scored(labels: Sequence[int]) -> int:
    return sum(label != IGNORED for label in labels[1:])
