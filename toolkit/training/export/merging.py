"""An adapter merged into the weights of its base, rounded once, and never into weights of 4 bits.

Into the 16-bit base: better weights than those trained over, and not quite the model that was trained. Faithfully: the
4-bit base is dequantised first, so the result is the model that was trained, up to one rounding. What PEFT offers beside
them, merging into 4-bit weights, rounds a small update away (64 % of what was learnt, where we measured it).
"""

from __future__ import annotations

import gc
import json
import struct
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOATS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}  # safetensors' names, and torch's


def merged_model(
    run: Path, base: Path, *, dtype: str, bits: int | None, device: str, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The base in folder `base` with the adapter of `run` in its weights, in main memory, in `dtype`.

    With `bits` the base is quantised as for training and dequantised before the adapter is merged; `device` is where
    that is done. Raises TkError when the adapter cannot be merged.
    """
    import torch

    from toolkit.training.adapters import load_adapter
    from toolkit.training.base import load_base

    if bits is not None:
        model = load_base(
            base, dtype=dtype, device=device, quantise=True, bits=bits, trust_remote_code=trust_remote_code
        )
        model = model.dequantize(dtype=getattr(torch, dtype)).to("cpu")
        _forget_how_it_was_stored(model)
    else:
        model = load_base(base, dtype=dtype, device="cpu", trust_remote_code=trust_remote_code)
    return merge(load_adapter(model, run / "adapter"))


def merge(adapted: Any) -> PreTrainedModel:
    """The model under a PEFT model, its adapter merged. Raises TkError for weights in 4 or 8 bits, whoever asks."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    weights = list(adapted.parameters())
    if any(hasattr(weight, "quant_state") or not weight.is_floating_point() for weight in weights):
        raise TkError(
            "an adapter is never merged into weights of 4 or 8 bits: it would be rounded away",
            hint="merge it into the 16-bit base, or dequantise first with --faithful",
        )
    try:
        for layer in [module for module in adapted.modules() if isinstance(module, BaseTunerLayer)]:
            _merge_in_float32(layer)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All adapters are already merged")  # so they are: above
            merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise TkError(f"PEFT cannot merge this adapter: {error}") from error
    return merged


def _forget_how_it_was_stored(model: Any) -> None:
    """Save a dequantised model as any other: transformers (5.23, core_model_loading.py, `revert_weight_conversion`) would
    pack the matrices of a base that came in 4 bits as they were read, and has no way to."""
    from transformers.integrations.bitsandbytes import Bnb4bitDeserialize

    kept = getattr(model, "_weight_conversions", None)
    if kept is not None:
        model._weight_conversions = [
            step
            for step in kept
            if not any(isinstance(part, Bnb4bitDeserialize) for part in getattr(step, "operations", ()))
        ]


def _merge_in_float32(layer: Any) -> None:
    """Merge one layer with its weights widened for as long as it takes, so that the sum is rounded once.

    PEFT (0.21) rounds the update to the weight's format before it adds it, and then rounds the sum.
    """
    if not hasattr(layer, "merge"):
        return
    held = [weight for weight in layer.get_base_layer().parameters(recurse=False) if weight.is_floating_point()]
    formats = [weight.dtype for weight in held]
    for weight in held:
        weight.data = weight.data.float()
    layer.merge(safe_merge=True)
    for weight, dtype in zip(held, formats, strict=True):
        weight.data = weight.data.to(dtype)


def save_merged(model: PreTrainedModel, tokenizer: Any, base: Path, stops: tuple[int, ...], folder: Path) -> None:
    """Write a merged model as its base is written: names and format of the weights, generation settings, tokenizer."""
    from safetensors import SafetensorError

    original = _json(base / "config.json")
    if "use_cache" in original:
        model.config.use_cache = original["use_cache"]  # switched off for training
    try:
        model.save_pretrained(folder, max_shard_size="5GB")
    except (OSError, SafetensorError) as error:  # a full disk, for one
        raise TkError(f"the merged weights cannot be written: {error}", where=str(folder.parent)) from error
    tokenizer.save_pretrained(folder)
    if (base / "generation_config.json").is_file():
        settings = {**_json(base / "generation_config.json"), "eos_token_id": list(stops)}
        if tokenizer.pad_token_id is not None:
            settings["pad_token_id"] = tokenizer.pad_token_id
        (folder / "generation_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for path in folder.glob("*.safetensors"):
        path.chmod((folder / "config.json").stat().st_mode)  # safetensors makes it readable by the owner alone


def stored_format(folder: Path) -> str:
    """The format of most of a base's weights, as torch calls it, from the heads of its files.

    Raises TkError for weights in 8 bits or fewer, which are no place to merge into.
    """
    sizes: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        for entry in _tensors(path):
            first, last = entry["data_offsets"]
            sizes[str(entry["dtype"])] += last - first
    if not sizes:
        raise TkError("holds no safetensors weights", where=str(folder))
    ((name, _),) = sizes.most_common(1)
    if name not in FLOATS:
        raise TkError(
            f"stores its weights as {name}; an adapter is merged into weights of 16 or 32 bits",
            where=str(folder),
            hint="--faithful dequantises a base that was quantised with bitsandbytes",
        )
    return FLOATS[name]


def merged_bytes(folder: Path) -> int:
    """Bytes that a base's weights take once merged: as on disk, and about four times that where they come in 4 bits."""
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return stored * (4 if stored_quantised(folder) else 1)


def stored_quantised(folder: Path) -> bool:
    """Whether a base comes quantised, so that there are no 16-bit weights to merge into."""
    path = folder / "config.json"
    return path.is_file() and _json(path).get("quantization_config") is not None


def free_memory() -> None:
    """Give back what a model held, before the next one is loaded."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _tensors(path: Path) -> list[Mapping[str, Any]]:
    """What the head of a safetensors file says of its tensors: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(length))
    return [entry for name, entry in head.items() if name != "__metadata__"]


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
