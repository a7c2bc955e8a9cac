"""The base with a fresh adapter on it, as a run trains it: everything between a folder of weights and the first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model with its adapter, the parameters of the base alone, and the tokens that end an answer."""

    model: Any
    base_parameters: int
    stops: tuple[int, ...]


def load_adapted(
    folder: Path, tokenizer: PreTrainedTokenizerBase, settings: Settings, rows: Any, *, converses: bool = True
) -> Loaded:
    """Load the base in `folder` as `settings` say and put an adapter on it; `rows` are for adapters that begin with data.

    Where it `converses`, the token that ends a turn becomes the tokenizer's end, else what ends a text stays that.

    Seed before: an adapter begins with random numbers. Raises what loading and adapting raise.
    """
    from toolkit.training import adapters, base, masks, new_tokens

    model = base.load_base(
        folder,
        dtype=settings.dtype,
        device=settings.device_type,
        quantise=settings.bits is not None,
        bits=settings.bits,
        attention=settings.attention,
        trust_remote_code=settings.trust_remote_code,
        to_shard=settings.sharding == "fsdp2",
    )
    parameters = base.count_parameters(model)
    new_tokens.make_room(model, tokenizer, folder, settings.new_tokens)
    stops = base.align_tokens(model, tokenizer, masks.Template(tokenizer).end_of_turn() if converses else None)
    return Loaded(adapters.add_adapter(model, settings, tokenizer, rows), parameters, tuple(stops))
