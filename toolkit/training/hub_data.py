"""Data sets of the hub, read by `datasets`: pinned to a commit, by configuration and split, whole or as a stream."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from toolkit.errors import TkError
from toolkit.files.digests import sha256_json
from toolkit.training.readers import Row
from toolkit.training.rows import OpenSource


@dataclass(frozen=True, slots=True)
class HubSource(OpenSource):
    """A hub data set as `datasets` gives it: a table on disk, or a stream that is fetched as it is read.

    The digest is that of the rows; of a stream, which nobody has read to its end, that of id, commit and split.
    """

    table: Iterable[Any] = ()

    def rows(self) -> Iterator[Row]:
        try:
            for number, value in enumerate(self.table, start=1):
                yield Row(value, f"{self.name} row {number}")
        except Exception as error:  # the library raises a dozen unrelated classes; all mean that the stream broke off
            raise TkError(f"the hub data set broke off: {_first_lines(error)}", where=self.name) from error


def open_hub_data(name: str, *, config: str | None, split: str | None, offline: bool, streaming: bool) -> HubSource:
    """Find `id[@revision]` on the hub, or in the local cache when `offline`. Raises TkError saying what is missing."""
    hub_id, _, revision = name.partition("@")
    looks_like_path = hub_id.startswith((".", "/", "~")) or Path(hub_id).suffix.lower() in _FILE_SUFFIXES
    if hub_id.count("/") != 1 or looks_like_path:
        hint = "paths are relative to the current folder; a hub data set is written owner/name"
        raise TkError("no such file or folder of training data", where=name, hint=hint)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before the client is imported: it reads its environment once
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    from huggingface_hub import constants

    # Opening a data set is what fails; a file that is no data set, a name, a split, the network: each has its own class.
    try:
        commit = revision or None
        if not offline and not constants.HF_HUB_OFFLINE:
            commit = _commit(hub_id, commit)
        datasets.disable_progress_bars()
        table = datasets.load_dataset(hub_id, config, split=split or "train", revision=commit, streaming=streaming)
    except Exception as error:
        words = "is not in the local cache, and the hub may not be asked" if offline else "cannot be read"
        hint = "download it where there is a network, or name a file" if offline else _HINT
        raise TkError(f"the hub data set {words}: {_first_lines(error)}", where=name, hint=hint) from error
    if streaming:
        digest = sha256_json({"id": hub_id, "revision": commit, "config": config, "split": split or "train"})
        return HubSource(name, (), digest, 0, table, revision=commit)
    return HubSource(name, (), _digest(table), int(table.data.nbytes), table, revision=commit)


_HINT = "check id, revision, `config` and `split`, or name a file"
_FILE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".gz", ".zst", ".txt")


def _commit(hub_id: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi

    return cast("str | None", HfApi().dataset_info(hub_id, revision=revision).sha)


def _digest(table: Iterable[Any]) -> str:
    """SHA-256 of the rows, one canonical JSON a line; what JSON cannot hold (an image) counts by its kind alone."""
    digest = hashlib.sha256()
    for value in table:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda item: type(item).__name__)
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3]) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
