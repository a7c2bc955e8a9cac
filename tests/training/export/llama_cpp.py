"""llama.cpp itself, in this process through its xllamacpp wheel: what it makes of a GGUF file."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NASTY = (
    "Hello  world\n\n\tdon't I'LL we've 12345 3.14 1,000,000!!!  ...   naïve café Straße ΑΒΓ привет 你好，世界 こんにちは カタカナ "
    "한국어 🙂👩‍👩‍👧 x=y_z->w//path\\to <b>&amp;</b> 'quoted' \"double\"  trailing   \r\n  #hash $5 100% ünïcödé  ½ ² "
    "HTTPServer camelCase SHOUT's ١٢٣"
)


@contextmanager
def served(path: Path):
    """A server with the model of a file, everything in float32."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_gpu_layers, params.warmup, params.n_parallel = 256, 0, False, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = -1
    yield xllamacpp.Server(params)


def continuation(server: Any, prompt: Sequence[int], count: int) -> tuple[list[int], int, dict[int, float]]:
    """Greedy tokens after a prompt of tokens; and of one of them its position and what the likeliest there were, with
    their log-probabilities. The server tells those for whole characters only, so one is taken that cannot be mistaken."""
    asked = {"prompt": list(prompt), "n_predict": count, "temperature": 0.0, "ignore_eos": True, "return_tokens": True}
    answer = _post(server, "/completion", {**asked, "cache_prompt": False, "n_probs": 10})
    written, steps = list(answer["tokens"]), answer["completion_probabilities"]
    if len(steps) == len(written):
        position, step = 0, steps[0]
    else:
        step = next(step for step in steps if written.count(step["id"]) == 1)
        position = written.index(step["id"])
    return written, position, {entry["id"]: entry["logprob"] for entry in step["top_logprobs"]}


def tokens(server: Any, text: str, *, special: bool = False) -> list[int]:
    """How the server splits a text into tokens."""
    return list(
        _post(server, "/tokenize", {"content": text, "add_special": special, "parse_special": special})["tokens"]
    )


def _post(server: Any, path: str, value: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(value).encode()
    request = urllib.request.Request(f"{server.listening_address}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
