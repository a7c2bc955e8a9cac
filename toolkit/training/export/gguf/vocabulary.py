"""The tokenizer in GGUF: tokens with their kinds, merges or scores, how text is split first, and the chat template.

llama.cpp has the splitting of text compiled in and picks it by name. So the pattern of a tokenizer is looked up among
those that llama.cpp has; one that is not there is refused, because a near match tokenises some texts otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolkit.errors import TkError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
_LLAMA3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
_TEKKEN = rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}"
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    + _TAIL,
)

# The patterns that a tokenizer splits by, in their order → llama.cpp's name for them.
SPLITS: dict[tuple[str, ...], str] = {
    (): "gpt-2",
    (_QWEN2,): "qwen2",
    (_LLAMA3,): "llama-bpe",
    (_TEKKEN,): "tekken",
    _DEEPSEEK3: "deepseek-v3",
}
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_NEVER = -1e9  # a score by which a token is never made of smaller ones


def require_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """The parts of a tokenizer. Raises TkError for one that llama.cpp does not have."""
    if not tokenizer.is_fast:
        raise TkError("no GGUF is written for a tokenizer without a tokenizer.json")
    core: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    if core["model"]["type"] != "BPE":
        raise TkError(f"no GGUF is written for a tokenizer of the kind {core['model']['type']}")
    if _is_byte_level(core):
        _split_name(core)
    elif not core["model"].get("byte_fallback"):
        raise TkError("no GGUF is written for a tokenizer that is neither byte-level nor falls back to bytes")
    return core


def add_vocabulary(writer: Any, tokenizer: Any, stops: tuple[int, ...], size: int) -> None:
    """Write a tokenizer. `size` is the number of rows of the embedding, which may have rows for no token.

    Raises TkError for a tokenizer that llama.cpp does not have.
    """
    core = require_tokenizer(tokenizer)
    model = core["model"]
    tokens, kinds = _tokens(core, model["vocab"], size)
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    if _is_byte_level(core):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_split_name(core))
        writer.add_token_merges(merges)
    else:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(_scores(tokens, merges))
        kinds = [_BYTE if _is_byte(token) else kind for token, kind in zip(tokens, kinds, strict=True)]
        kinds = [
            _UNKNOWN if token == model.get("unk_token") else kind for token, kind in zip(tokens, kinds, strict=True)
        ]
        writer.add_add_space_prefix(_adds_space(core))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    _add_special(writer, tokenizer, stops)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(core: Mapping[str, Any], vocabulary: Mapping[str, int], size: int) -> tuple[list[str], list[int]]:
    """Tokens by id, and what each is: normal, control, one that a person added, or a row that nothing uses."""
    tokens, kinds = [f"[PAD{index}]" for index in range(size)], [_UNUSED] * size
    for token, index in vocabulary.items():
        tokens[index], kinds[index] = token, _NORMAL
    for entry in core["added_tokens"]:
        tokens[entry["id"]] = entry["content"]
        kinds[entry["id"]] = _CONTROL if entry["special"] else _USER_DEFINED
    return tokens, kinds


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """llama.cpp joins the two neighbours whose joint token scores highest: earlier merges score higher."""
    made: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        made.setdefault(merge.replace(" ", "", 1), rank)
    return [float(-made[token]) if token in made else _NEVER for token in tokens]


def _steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _is_byte_level(core: Mapping[str, Any]) -> bool:
    return any(step["type"] == "ByteLevel" for step in _steps(core["pre_tokenizer"], "pretokenizers"))


def _split_name(core: Mapping[str, Any]) -> str:
    """llama.cpp's name for how text is split before merging."""
    steps = _steps(core["pre_tokenizer"], "pretokenizers")
    patterns = tuple(step["pattern"].get("Regex", step["pattern"].get("String")) for step in steps if "pattern" in step)
    other = [step["type"] for step in steps if step["type"] not in ("Split", "ByteLevel")]
    own = any(step["type"] == "ByteLevel" and step.get("use_regex") for step in steps)
    if other or patterns not in SPLITS or own == bool(patterns):
        shown = " then ".join(patterns) or ", ".join(other) or "nothing"
        raise TkError(
            f"llama.cpp has no tokenizer that splits text as this one does ({shown})",
            hint="export the merged weights (--merge) and use llama.cpp's own converter",
        )
    return SPLITS[patterns]


def _adds_space(core: Mapping[str, Any]) -> bool:
    """Whether a space is put before the first word."""
    steps = [*_steps(core["normalizer"], "normalizers"), *_steps(core["pre_tokenizer"], "pretokenizers")]
    return any(step["type"] == "Prepend" or step.get("prepend_scheme") in ("always", "first") for step in steps)


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _add_special(writer: Any, tokenizer: Any, stops: tuple[int, ...]) -> None:
    """Begin, end and padding; whether a text begins with the former; and a second token that ends an answer."""
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id] and tokenizer.bos_token_id is not None
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(False)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(stops[0])
    if len(stops) > 1:
        writer.add_eot_token_id(stops[1])
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
