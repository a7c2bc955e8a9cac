"""Training on from the adapter of an earlier run of ours: the same base to the byte, the same adapted matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.digests import FileDigest, sha256_file
from toolkit.planning.start import datasets_of
from toolkit.release.record import at, mapping, read_record, text
from toolkit.training.settings import Settings

WEIGHTS = "adapter/adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Start:
    """The adapter that a run begins with: of which run, its weights and their digest, and what it was trained on."""

    id: str
    path: str
    weights: Path
    sha256: str
    method: str
    datasets: tuple[Mapping[str, str | None], ...]

    def to_json(self) -> dict[str, object]:
        return {
            "run": self.id,
            "path": self.path,
            "method": self.method,
            "sha256": self.sha256,
            "datasets": [dict(dataset) for dataset in self.datasets],
        }


def start_of(settings: Settings, base: Mapping[str, FileDigest]) -> Start:
    """The adapter that `settings.start` names, checked against this run's settings and the digests of its base.

    Raises TkError when it is no finished run or its weights are not those of its record, InvalidInput for an adapter of
    another base or shape; all before a model is loaded.
    """
    folder = Path(str(settings.start))
    record: Any = read_record(folder)
    problems = list(_differences(record, settings, base))
    if problems:
        raise InvalidInput([Problem("recipe.adapter.start", f"{folder} {text}") for text in problems])
    weights, recorded = folder / WEIGHTS, text(mapping(record, "adapter.files").get(WEIGHTS, {}), "sha256")
    if not weights.is_file():
        raise TkError("the run has no adapter weights any more", where=str(weights))
    digest = sha256_file(weights)
    if digest != recorded:
        raise TkError("the adapter is not the one that its run record names", where=str(weights))
    method = text(record, "recipe.resolved.method") or "sft"
    return Start(str(record["id"]), str(folder), weights, digest, method, datasets_of(record))


def begin_from(start: Start, model: Any) -> None:
    """Give the adapter of `model` the weights it starts with."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    found = set_peft_model_state_dict(model, load_file(start.weights))
    if found.unexpected_keys:
        text = f"holds {len(found.unexpected_keys)} weights that this adapter has no place for"
        raise TkError(text, where=str(start.weights), hint="use the adapter settings of that run")


def _differences(record: Any, settings: Settings, base: Mapping[str, FileDigest]) -> Any:
    known = {name: at(entry, "sha256") for name, entry in mapping(record, "base.files").items()}
    here = {name: digest.sha256 for name, digest in base.items()}
    other = sorted(name for name in known if name.endswith((".safetensors", ".json")) and here.get(name) != known[name])
    if other:
        yield f"was trained on another base: {', '.join(other[:3])} differ"
    if at(record, "adapter.saved_rank") not in (None, at(record, "adapter.rank")):
        yield "began as a part of its base's matrices, and such an adapter cannot be trained on"
        return
    for name, value in (
        ("rank", settings.rank),
        ("alpha", settings.alpha),
        ("dora", settings.dora),
        ("rslora", settings.rslora),
        ("target_modules", sorted(settings.targets)),
        ("new_tokens", sorted(settings.new_tokens)),
    ):
        if (had := at(record, f"adapter.{name}")) is None:
            continue  # a record from before there was such a setting
        had = sorted(map(str, had)) if isinstance(had, list) else had
        if had != value:
            said = f"[{', '.join(had)}]" if isinstance(had, list) else had
            yield f"has another adapter: set adapter.{name}: {said}"
