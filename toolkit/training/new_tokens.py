"""Tokens that a recipe adds: room for them in the base, and their rows alone trained.

PEFT trains single rows of the embedding (`trainable_token_indices`) and keeps them in the adapter. Where the head is a
matrix of its own, the same rows of it are trained as well, or the model could read the tokens and never write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def extend(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], where: str = "") -> None:
    """Add `tokens` at the end of the vocabulary, as words and not as special tokens: answers may show them.

    Raises InvalidInput with those that the tokenizer has already.
    """
    known = tokenizer.get_vocab()
    if problems := [
        Problem("recipe.adapter.new_tokens", f"{token!r} is a token of the base already", where)
        for token in tokens
        if token in known
    ]:
        raise InvalidInput(problems)
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])


def make_room(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, tokens: Sequence[str]) -> None:
    """Give every new token a row in embedding and head: the mean of the rows of the pieces it was written in before.

    `folder` holds the base's own tokenizer. Many bases have spare rows; one that has none grows.
    """
    import torch
    from transformers import AutoTokenizer

    if not tokens:
        return
    before = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    resize(model, len(tokenizer))
    matrices = {id(part.weight): part.weight for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    with torch.no_grad():
        for token, row in zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True):
            pieces = before(token, add_special_tokens=False)["input_ids"]
            for matrix in matrices.values():
                matrix[row] = matrix[pieces].float().mean(dim=0).to(matrix.dtype)


def resize(model: PreTrainedModel, rows: int) -> None:
    """Let embedding and head have at least so many rows; further ones begin as zeros."""
    import torch

    known = model.get_input_embeddings().weight.shape[0]
    if rows <= known:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for part in (model.get_input_embeddings(), model.get_output_embeddings()):
            part.weight[known:] = 0
            part.weight.requires_grad_(False)


def trained_rows(model: PreTrainedModel, tokenizer: Any, tokens: Sequence[str]) -> dict[str, list[int]] | None:
    """What `LoraConfig(trainable_token_indices=…)` gets: rows by the name of the matrix; None without new tokens."""
    if not tokens:
        return None
    rows = tokenizer.convert_tokens_to_ids(list(tokens))
    parts = [model.get_input_embeddings()]
    if model.get_output_embeddings().weight is not parts[0].weight:
        parts.append(model.get_output_embeddings())
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[id(part)]: list(rows) for part in parts}


def rows_wanted(config: LoraConfig) -> int:
    """Rows that an adapter's configuration takes for granted."""
    wanted = config.trainable_token_indices or {}
    lists = wanted.values() if isinstance(wanted, dict) else [wanted]
    return max((row + 1 for rows in lists for row in rows), default=0)
