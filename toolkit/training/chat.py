"""Talking to a finished run: the base with its adapter, or the base alone for comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.training.conversations import Message
from toolkit.training.trained import Trained, load_trained, require_base


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is chosen. Temperature 0 is greedy: the same words get the same answer. A seed makes draws repeat."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def options(self) -> dict[str, Any]:
        """The arguments of `generate`."""
        if self.temperature == 0:
            return {"do_sample": False}
        # transformers fills what is left open with top_k=50, which nobody asked for here.
        return {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}


class Chat:
    """A loaded run that answers conversations, with the adapter or without."""

    def __init__(self, trained: Trained) -> None:
        self._model = trained.model
        self._tokenizer = trained.tokenizer
        self._stops = trained.stops

    def reply(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        *,
        adapter: bool = True,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer to a conversation; with `adapter=False` the base's own. `on_text` gets the words as they come.

        Raises TkError when the chat template refuses the conversation, or when it is longer than the base can take.
        """
        import torch

        from toolkit.training.answers import answer

        sampling = sampling or Sampling()
        prompt = self._encode(messages)
        options = {**sampling.options(), **({"streamer": _streamer(self._tokenizer, on_text)} if on_text else {})}
        if sampling.temperature and sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        room = self._room(len(prompt), sampling.max_new_tokens)
        alone = contextlib.nullcontext() if adapter else self._model.disable_adapter()
        with torch.inference_mode(), alone:
            ids = answer(self._model, [prompt], self._stops, self._tokenizer.pad_token_id, room, **options)
        return str(self._tokenizer.decode(ids[0], skip_special_tokens=True))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        from toolkit.training.masks import CannotMask, Template

        try:
            text = Template(self._tokenizer).render(messages, ask=True)
        except CannotMask as error:
            raise TkError(f"this conversation cannot be asked: {error}") from error
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _room(self, prompt: int, wanted: int) -> int:
        """How many tokens may be answered within what the base was made for."""
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if longest is None:
            return wanted
        if prompt >= longest:
            raise TkError(
                f"the conversation has {prompt} tokens and the base takes {longest}", hint="begin a new one: /reset"
            )
        return min(wanted, int(longest) - prompt)


def load_chat(run: Path, base: Path, record: Mapping[str, Any]) -> Chat:
    """Load the adapter of `run` on the base in folder `base`; `record` is the run's.

    The base is quantised as it was in training. Raises TkError when the folder is not the base of the run.
    """
    from toolkit.training.environment import prepare

    require_base(base, record)
    prepare()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return Chat(load_trained(run, base, record, device=device, dtype=dtype))


def _streamer(tokenizer: Any, on_text: Callable[[str], None]) -> Any:
    from transformers import TextStreamer

    class Words(TextStreamer):  # type: ignore[misc]  # transformers is not followed
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                on_text(text)

    return Words(tokenizer, skip_prompt=True, skip_special_tokens=True)
