"""How the rows of a micro-batch lie in its tensors, and the proof on the real model that packed rows stay apart.

Packing is right only while an architecture's attention keeps the rows apart, and nothing fails where it does not: the
loss is merely another. So before the first step two forward passes compare packed rows with the same rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.batches import Collator, FlatCollator, PackedCollator, PaddedCollator, TokenRow
from toolkit.training.losses import next_token_losses
from toolkit.training.row_attention import CannotSplit, attending_within_rows

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.training.encoding import Encoded
    from toolkit.training.settings import Settings

# Nats a token, on average over the compared rows, by what is computed in. Rounding is a hundredth of it (float32: 1e-6);
# rows that see each other differ by about 1 on a trained base.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 2e-2}
_COMPARED_ROWS, _COMPARED_TOKENS = 4, 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to lay rows: what makes the batch, and the attention that the model needs while it trains on such."""

    what: str
    collate: Collator
    attending: Callable[[Any], AbstractContextManager[None]] = lambda model: nullcontext()


def layout_for(model: Any, data: Encoded, settings: Settings, pad: int) -> tuple[Layout, str | None]:
    """The layout that the settings ask for and the model can take, and what there is to say about it.

    Packing that fails its test is left out; TkError where the recipe asks for it.
    """
    padded = Layout("rows padded to the longest", PaddedCollator(pad))
    if not settings.packing:
        return padded, None
    rows = compared_rows(data)
    wrong = []
    for layout in _packed(settings, pad):
        try:
            difference = leak(model, layout, padded, rows)
        except CannotSplit as error:
            wrong.append(f"{layout.what}: {error}")
            continue
        if difference <= _TOLERANCE[settings.dtype]:
            checked = f"{len(rows)} rows packed and alone differ by {difference:.1g} nats a token"
            return layout, f"packing, {layout.what}; before the first step {checked}"
        wrong.append(f"{layout.what}: rows packed and alone differ by {difference:.2g} nats a token")
    text = f"packed rows do not stay apart on this base ({'; '.join(wrong)})"
    if settings.packing_asked:
        raise TkError(text, where="recipe.train.packing", hint="set train.packing: false")
    return padded, f"{text}, so rows are padded instead"


def _packed(settings: Settings, pad: int) -> Iterator[Layout]:
    """Packed layouts, the quickest first. Lines with a mask alone on CUDA, where the other was never measured."""
    if settings.device_type != "cuda":
        yield Layout("end to end, each attended to by itself", FlatCollator(), attending_within_rows)
    yield Layout("in lines with a mask between rows", PackedCollator(pad))


def compared_rows(data: Encoded) -> list[TokenRow]:
    """A few rows spread over the lengths there are, the longer ones left out where the comparison would not be cheap."""
    by_length = sorted(range(data.rows), key=lambda index: (len(data.input_ids[index]), index))
    step = max(1, len(by_length) // _COMPARED_ROWS)
    chosen: list[TokenRow] = []
    room = _COMPARED_TOKENS
    for index in by_length[step // 2 :: step][:_COMPARED_ROWS]:
        room -= len(data.input_ids[index])
        if len(chosen) >= 2 and room < 0:
            break
        chosen.append({"input_ids": data.input_ids[index], "labels": data.labels[index]})
    return chosen


def leak(model: Any, packed: Layout, padded: Layout, rows: Sequence[TokenRow]) -> float:
    """Mean absolute difference (nats) between the losses of tokens of packed rows and of the rows alone."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            laid = [rows[index] for index in packed.collate.order(rows)]
            alone = torch.cat([_losses(model, padded, [row]) for row in laid])
            with packed.attending(model):
                together = _losses(model, packed, rows)
    finally:
        model.train(was_training)
    return float((together - alone).abs().mean())


def _losses(model: Any, layout: Layout, rows: Sequence[TokenRow]) -> Tensor:
    batch = {name: value.to(model.device) for name, value in layout.collate(rows).items()}
    labels = batch.pop("labels")
    return next_token_losses(model, batch, labels)
