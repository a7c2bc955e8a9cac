"""Talking to a finished run: the base with its adapter, or the base alone for comparison."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.digests import sha256_file
from toolkit.training.conversations import Message


class Chat:
    """A loaded run. Answers are greedy, so the same words get the same answer."""

    def __init__(self, model: Any, tokenizer: Any, stops: Sequence[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._stops = tuple(stops)

    def reply(
        self,
        messages: Sequence[Message],
        max_new_tokens: int = 256,
        *,
        adapter: bool = True,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer to a conversation; with `adapter=False` the base's own. `on_text` gets the words as they come."""
        import torch

        from toolkit.training.evaluation import answer
        from toolkit.training.masks import CannotMask, Template

        try:
            text = Template(self._tokenizer).render(messages, ask=True)
        except CannotMask as error:
            raise TkError(f"this conversation cannot be asked: {error}") from error
        prompt = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        options = {"streamer": _streamer(self._tokenizer, on_text)} if on_text else {}
        alone = contextlib.nullcontext() if adapter else self._model.disable_adapter()
        with torch.inference_mode(), alone:
            ids = answer(self._model, [prompt], self._stops, self._tokenizer.pad_token_id, max_new_tokens, **options)
        return str(self._tokenizer.decode(ids[0], skip_special_tokens=True))


def load_chat(run: Path, base: Path, record: Mapping[str, Any]) -> Chat:
    """Load the adapter of `run` on the base in folder `base`; `record` is the run's.

    The base is quantised as it was in training. Raises TkError when the folder is not the base of the run.
    """
    from toolkit.training import environment

    environment.prepare()
    _check_base(base, record)
    with environment.quiet_libraries(Path(os.devnull)):  # a finished run is only read
        import torch

        from toolkit.training.adapters import load_adapter
        from toolkit.training.base import align_tokens, load_base, load_tokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        trust = bool(record["recipe"]["resolved"].get("trust_remote_code"))
        tokenizer = load_tokenizer(run / "adapter", trust_remote_code=trust)
        dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        quantise = record["adapter"]["type"] == "qlora"
        model = load_base(base, dtype=dtype, device=device, quantise=quantise, trust_remote_code=trust)
        stops = align_tokens(model, tokenizer, None)
        adapted = load_adapter(model, run / "adapter")
        adapted.eval()
    return Chat(adapted, tokenizer, stops)


def _check_base(base: Path, record: Mapping[str, Any]) -> None:
    """The configuration is enough to catch the wrong folder, and small enough to read each time."""
    recorded = record["base"]["files"].get("config.json", {}).get("sha256")
    config = base / "config.json"
    if not config.is_file():
        raise TkError("holds no config.json", where=str(base), hint=f"name the folder of {record['base']['id']}")
    if recorded and sha256_file(config) != recorded:
        raise TkError(f"is not the {record['base']['id']} that the run was trained on", where=str(base))


def _streamer(tokenizer: Any, on_text: Callable[[str], None]) -> Any:
    from transformers import TextStreamer

    class Words(TextStreamer):  # type: ignore[misc]  # transformers is not followed
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                on_text(text)

    return Words(tokenizer, skip_prompt=True, skip_special_tokens=True)
