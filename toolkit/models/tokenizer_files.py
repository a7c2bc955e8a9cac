"""The folder that holds a base's tokenizer, without its weights: what looking at data under it needs."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.models.embedded_bases import folder_with_weights
from toolkit.models.reference import Reference
from toolkit.models.resolve import Access, cached_folder, offline_by_environment

_FILES = ("tokenizer*", "*.jinja", "special_tokens_map.json", "added_tokens.json", "config.json", "generation_config.json",
          "vocab*", "merges.txt")  # fmt: skip


def tokenizer_folder(reference: Reference, access: Access) -> Path | None:
    """A folder with the `tokenizer.json` of a base: its own, the hub cache's, or fetched from the hub where that may be
    asked; None where none is at hand."""
    if reference.kind == "embedded":
        return folder_with_weights(reference.name)
    if reference.kind == "folder":
        folder: Path | None = Path(reference.name).expanduser()
    else:
        folder = cached_folder(reference.name, revision=reference.revision)
    if folder is not None and (folder / "tokenizer.json").is_file():
        return folder
    if reference.kind == "folder" or access.offline or offline_by_environment():
        return None
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download

    try:
        fetched = Path(snapshot_download(reference.name, revision=reference.revision, allow_patterns=list(_FILES)))
    except (
        Exception
    ):  # gated, gone, or no network: the client has a class for each, and the data is looked at all the same
        return None
    return fetched if (fetched / "tokenizer.json").is_file() else None
