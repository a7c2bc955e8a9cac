"""The bases that come with the package: `embedded:qwen2` with its weights, the others with a seed.

`qwen2` is really pre-trained and ships whole. The other families ship a configuration and a card; their weights are
made from a seed on first use, with the tokenizer and the licence of `qwen2` beside them, and kept in the cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import TkError
from toolkit.files.schema import did_you_mean

SHIPPED = Path(__file__).parent / "embedded"
SEED = 20260101
_WEIGHTS = "model.safetensors"
_TOKENIZER_OWNER = "qwen2"
_SHARED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "LICENSE")


def families() -> tuple[str, ...]:
    """The embedded families. The folder is the list."""
    return tuple(sorted(path.name for path in SHIPPED.iterdir() if (path / "config.json").is_file()))


def shipped_folder(family: str) -> Path:
    """The folder of a family as shipped: card and configuration, and for `qwen2` everything else."""
    if family not in families():
        known = ", ".join(f"embedded:{name}" for name in families())
        raise TkError(f"no embedded base {family!r}{did_you_mean(family, families())}", hint=f"there are {known}")
    return SHIPPED / family


def folder_with_weights(family: str) -> Path:
    """The folder of a family, complete with weights and tokenizer; made on first use where they do not ship."""
    folder = shipped_folder(family)
    if (folder / _WEIGHTS).is_file():
        return folder
    target = cache_folder() / "embedded" / f"{family}-{_fingerprint(folder)}"
    if not (target / _WEIGHTS).is_file():
        try:
            _make(folder, target)
        except TkError as error:
            raise TkError(
                error.message, where=error.where, hint="set TK_CACHE to a folder that you may write to"
            ) from error
    return target


def cache_folder() -> Path:
    """Where made things are kept: `TK_CACHE`, else the user's cache folder."""
    if named := os.environ.get("TK_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "tk"


def _make(folder: Path, target: Path) -> None:
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    from toolkit.files.atomic import staged_folder

    logging.disable_progress_bar()  # it would draw over what the command says
    with staged_folder(target) as staging, torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.save_pretrained(staging)
        for name in _SHARED:
            if (SHIPPED / _TOKENIZER_OWNER / name).is_file():
                shutil.copyfile(SHIPPED / _TOKENIZER_OWNER / name, staging / name)
        shutil.copyfile(folder / "README.md", staging / "README.md")


def _fingerprint(folder: Path) -> str:
    """What the made weights depend on: the configuration, the tokenizer and the versions that initialise them."""
    from importlib.metadata import version

    from toolkit.files.digests import sha256_json

    texts = [
        (folder / "config.json").read_text(encoding="utf-8"),
        (SHIPPED / _TOKENIZER_OWNER / "tokenizer.json").read_text(encoding="utf-8"),
    ]
    return sha256_json([*texts, SEED, version("torch"), version("transformers")])[:12]
