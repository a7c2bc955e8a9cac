"""A finished run, loaded again as it was trained: on its own base and no other, quantised as it was, with its adapter."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.errors import TkError
from toolkit.files.digests import sha256_file
from toolkit.release.record import mapping, text
from toolkit.training.settings import bits_of_adapter

# What a model is loaded from. Cards and licences beside it may be edited without making it another model.
LOADED = (".safetensors", ".json", ".model", ".jinja", ".py", ".tiktoken")


@dataclass(frozen=True, slots=True)
class Trained:
    """A loaded run: the model with its adapter switched on, its tokenizer, and the ids that end an answer."""

    model: Any
    tokenizer: Any
    stops: tuple[int, ...]


def load_trained(run: Path, base: Path, record: Mapping[str, Any], *, device: str, dtype: str) -> Trained:
    """Load the adapter of `run` on the base in folder `base`, which `require_base` has seen; `record` is the run's.

    `device` is a torch device type, `dtype` the format of what is not quantised.
    """
    from toolkit.training import environment

    environment.prepare()
    with environment.quiet_libraries(Path(os.devnull)):  # a finished run is only read
        from toolkit.training.adapters import load_adapter
        from toolkit.training.base import align_tokens, load_base, load_tokenizer

        trust = trusts_remote_code(record)
        tokenizer = load_tokenizer(run / "adapter", trust_remote_code=trust)
        bits = bits_of(record)
        model = load_base(
            base, dtype=dtype, device=device, quantise=bits is not None, bits=bits, trust_remote_code=trust
        )
        stops = align_tokens(model, tokenizer, None)
        adapted = load_adapter(model, run / "adapter")
        adapted.eval()
    return Trained(adapted, tokenizer, stops)


def require_base(base: Path, record: Mapping[str, Any]) -> None:
    """Raise TkError unless `base` is byte for byte the model that the run was trained on. Reads all weights once."""
    name = text(record, "base.id") or "the base"
    if not (base / "config.json").is_file():
        raise TkError("holds no config.json", where=str(base), hint=f"name the folder of {name}")
    recorded = {
        file: text(entry, "sha256")
        for file, entry in mapping(record, "base.files").items()
        if PurePosixPath(file).suffix in LOADED
    }
    # The small files first: a wrong folder is told from its configuration, without reading its weights.
    for file in sorted(recorded, key=lambda file: (file.endswith(".safetensors"), file)):
        if not (base / file).is_file():
            raise TkError(f"lacks {file} of the {name} that the run was trained on", where=str(base))
        if sha256_file(base / file) != recorded[file]:
            message = f"is not the {name} that the run was trained on: {file} differs"
            raise TkError(message, where=str(base), hint="an adapter fits its own base only; name that one")
    here = {path.relative_to(base).as_posix() for path in base.rglob("*.safetensors")}
    if further := sorted(here - set(recorded)):
        raise TkError(f"holds weights that the run did not have: {further[0]}", where=str(base))


def bits_of(record: Mapping[str, Any]) -> int | None:
    """Bits that the matrices of the base had while the adapter was trained; None where they were not quantised."""
    return bits_of_adapter(text(record, "adapter.type") or "")


def trusts_remote_code(record: Mapping[str, Any]) -> bool:
    """Whether the recipe of the run allowed the base's own code to run."""
    return bool(record["recipe"]["resolved"].get("trust_remote_code"))


def base_reference(record: Mapping[str, Any]) -> str:
    """The base of a run as a reference, pinned to the revision that it was trained on where it had one."""
    base = text(record, "recipe.resolved.base") or text(record, "base.id") or ""
    revision = text(record, "base.revision")
    return f"{base.partition('@')[0]}@{revision}" if revision else base
