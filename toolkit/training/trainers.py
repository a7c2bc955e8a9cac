"""TRL's trainers as every method here wants them: no model card, rows taken as they are, the adapter left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def bare(trainer: Any) -> Any:
    """A trainer class of TRL that neither writes a model card nor prepares rows, which come tokenised and masked."""

    class Bare(trainer):  # type: ignore[misc]  # trl is not followed
        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """TRL would write a card of its own into each checkpoint, and ask the hub for its parts."""

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

    return Bare


@contextlib.contextmanager
def adapter_kept(model: Any) -> Iterator[None]:
    """While a trainer is made, keep the adapter as it is.

    trl 1.16.0 rounds the adapter of a 4-bit base to bf16 in every trainer, which a start from an earlier adapter would
    lose by; and it adds a copy named `ref` to compare with, whose log-probabilities are known here already.
    """
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    try:
        yield
    finally:
        if "ref" in model.peft_config:
            model.delete_adapter("ref")
        for name, parameter in model.named_parameters():
            if name in before and parameter.dtype != before[name].dtype:
                parameter.data = before[name]
